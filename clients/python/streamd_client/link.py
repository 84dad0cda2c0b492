"""
The lasting link to a server: one connection after another, and what must survive in between.

Calls without an answer are sent again, in their old order, when a new connection is open; each
subscriber is told and asks anew by itself. Where there is a token it comes first, and a connection
counts as open when the server has taken it. One task lives here (`_run`); whoever calls waits on
a future of his own. Everything that comes in is handled in plain functions, so that an answer
and the pushes behind it are seen in the order of the wire.
"""

import asyncio
import os
from typing import Any, Protocol

from streamd_client.attempts import Attempts
from streamd_client.backoff import Backoff
from streamd_client.calls import Answered, Calls
from streamd_client.connection import Connection, open_socket, tls_context
from streamd_client.errors import (
    ClientClosed,
    ConnectionLost,
    ConnectionRejected,
    LimitExceeded,
    MethodNotFound,
    RpcError,
    StreamdError,
    Unauthorized,
    Unreachable,
)
from streamd_client.protocol import (
    Answer,
    Closed,
    Failure,
    Message,
    Progress,
    Push,
    Shutdown,
)
from streamd_client.tokens import AsyncTokens
from streamd_client.values import Entry

__all__ = ["Link", "Subscriber"]


TOKEN_EXPIRED = 4001
"""The close code that means: come back with a new token."""
TOO_MANY = 4029
"""The close code that means: there are too many connections with this token."""
TOKEN_REFUSED = 4501
"""The close code that means: this token will not do."""


class Subscriber(Protocol):
    """What the link tells a feed. Plain functions, called in the order of the wire."""

    def connected(self) -> None:
        """A connection is open; nothing is subscribed on it yet."""

    def disconnected(self) -> None:
        """The connection is gone, and the subscription with it."""

    def received(self, entry: Entry, size: int) -> None:
        """An entry came, in a frame of so many bytes."""

    def progressed(self, cursor: str, live: bool) -> None:
        """Everything up to the cursor has been sent."""

    def closed_by_server(self, error: RpcError) -> None:
        """The server ended the subscription."""

    def stopped(self, error: StreamdError) -> None:
        """The link has ended for good."""


class Link:
    """
    Args:
        url: A `ws://` or `wss://` URL.
        ca_file: Certificates to trust in place of the system's.
        message_bytes: The longest frame to send; None for any.
        backoff: Where the delays between connections come from.
        ping_interval: Seconds of silence after which a connection is tried.
        ping_timeout: Seconds it then has to show a sign of life.
        compression: Whether to ask for it.
        tokens: Where tokens come from; None if there are none.
        timeout: Seconds that the server has to take one.
    """

    def __init__(
        self,
        url: str,
        *,
        ca_file: str | os.PathLike[str] | None,
        message_bytes: int | None,
        backoff: Backoff,
        ping_interval: float,
        ping_timeout: float,
        compression: bool,
        tokens: AsyncTokens | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._url = url
        self._tls = tls_context(url, ca_file)
        self._compression = compression
        self._backoff = backoff
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._calls = Calls(message_bytes)
        self._subscribers: dict[Subscriber, None] = {}
        self._routes: dict[int, Subscriber] = {}
        self._tokens = tokens
        self._timeout = timeout
        self._connection: Connection | None = None
        """The one that is open."""
        self._attempted: Connection | None = None
        """The one that is, or is about to be."""
        self._patience: asyncio.TimerHandle | None = None
        """Runs while the server looks at the token."""
        self._task: asyncio.Task[None] | None = None
        self._end: StreamdError | None = None
        self._trouble: ConnectionLost | None = None
        self._loss: ConnectionLost | None = None

    # Life.

    def start(self) -> None:
        """
        Begin to connect, in the background.
        """
        if self._task is not None:
            raise RuntimeError("a client can be entered only once")
        self._task = asyncio.create_task(self._run(), name="streamd-client")

    async def close(self) -> None:
        """
        End for good: every waiter gets `ClientClosed`. Idempotent.
        """
        self._stop(ClientClosed())
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled() and (exc := self._task.exception()) is not None:
                raise exc

    @property
    def connected(self) -> bool:
        """Whether a connection is open now."""
        return self._connection is not None

    @property
    def trouble(self) -> StreamdError | None:
        """Why there is no connection now, if that is known."""
        return self._trouble

    async def _run(self) -> None:
        ending: StreamdError = ClientClosed()
        try:
            ending = await self._connect_again_and_again()
        finally:
            self._stop(ending)

    async def _connect_again_and_again(self) -> StreamdError:
        while isinstance(ending := self._judge(await self._attempt()), ConnectionLost):
            self._trouble = ending
            if self._tokens is not None and ending.code == TOKEN_EXPIRED:
                self._tokens.drop()
            if not isinstance(ending, Unreachable):
                self._loss = ending
            await asyncio.sleep(self._backoff.next())
        return ending

    async def _attempt(self) -> StreamdError:
        """Hold one connection as long as it lasts; return why it ended."""
        try:
            token = None if self._tokens is None else await self._tokens.get()
            socket = await open_socket(self._url, tls=self._tls, compression=self._compression)
        except StreamdError as exc:
            return exc
        connection = Connection(
            socket,
            self._receive,
            ping_interval=self._ping_interval,
            ping_timeout=self._ping_timeout,
        )
        self._attempted = connection
        if token is None:
            self._opened(connection)
        else:
            self._authenticate(connection, token)
        try:
            return await connection.run()
        finally:
            self._lost()

    def _opened(self, connection: Connection) -> None:
        self._backoff.opened()
        self._trouble = None
        self._connection = connection
        for id, frame in self._calls.frames():
            connection.send(id, frame)
        for subscriber in list(self._subscribers):
            subscriber.connected()

    def _lost(self) -> None:
        was_open = self._connection is not None
        self._connection = self._attempted = None
        self._patience_over()
        self._routes.clear()
        self._calls.forget_passing()
        if not was_open:
            return
        for subscriber in list(self._subscribers):
            subscriber.disconnected()

    def _stop(self, error: StreamdError) -> None:
        if self._end is not None:
            return
        self._end = error
        self._calls.fail(error)
        for subscriber in list(self._subscribers):
            subscriber.stopped(error)

    # Tokens.

    def _authenticate(self, connection: Connection, token: str) -> None:
        """Show the token, before anything else is sent."""

        def answered(outcome: Answer | StreamdError, _size: int) -> None:
            self._patience_over()
            if isinstance(outcome, (Answer, MethodNotFound)):  # which has no need of tokens
                self._opened(connection)
            elif isinstance(outcome, RpcError) and outcome.retryable:
                if outcome.retry_after is not None:
                    self._backoff.told(outcome.retry_after)
                connection.abandon(ConnectionLost(outcome.message))
            elif isinstance(outcome, LimitExceeded):
                connection.abandon(ConnectionLost(outcome.message, TOO_MANY))
            else:
                connection.abandon(outcome)

        late = ConnectionLost("the server did not answer to the token")
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(self._timeout, connection.abandon, late)
        id, frame = self._calls.add("authenticate", {"token": token}, answered, lasting=False)
        connection.send(id, frame)

    def _patience_over(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _judge(self, ending: StreamdError) -> StreamdError:
        """Return why a connection ended: that a token is refused may mean no more than that it is old."""
        refused = isinstance(ending, Unauthorized) or (
            isinstance(ending, ConnectionRejected) and ending.code == TOKEN_REFUSED
        )
        if self._tokens is None or not refused:
            return ending
        if self._tokens.fresh and not self._backoff.stable:
            return ending  # A new one that is refused says that none will do.
        expired = ConnectionLost("the token has expired", TOKEN_EXPIRED)
        expired.__cause__ = ending
        return expired

    # Calls.

    async def call(self, method: str, params: dict[str, Any], timeout: float) -> Any:
        """
        Call a method and return its result, through reconnects and passing errors of the server.

        Raises:
            RpcError: The server's answer, or its last one when the time was up.
            CallTimeout: No answer came in time.
            ClientStopped: The client has ended.
        """
        attempts = Attempts(method, timeout, clock=asyncio.get_running_loop().time)
        loss = self._loss
        while True:
            try:
                return await self._once(method, params, attempts.deadline)
            except (RpcError, TimeoutError) as exc:
                failure = exc
            if self._loss is not loss:  # it was sent more than once
                attempts.lost(self._loss)
            if isinstance(failure, TimeoutError):
                attempts.lost(self._trouble)
                raise attempts.verdict()
            await asyncio.sleep(attempts.pause(failure))

    async def _once(self, method: str, params: dict[str, Any], deadline: float) -> Any:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def answered(outcome: Answer | StreamdError, _size: int) -> None:
            if future.done():
                return
            if isinstance(outcome, Answer):
                future.set_result(outcome.result)
            else:
                future.set_exception(outcome)

        id = self.post(method, params, answered, lasting=True)
        # A timer of the call's own: asyncio.timeout would take longer than the rest of the call.
        timer = loop.call_at(deadline, _expire, future)
        try:
            return await future
        finally:
            timer.cancel()
            self._forget(id)
            if future.done() and not future.cancelled():
                future.exception()  # seen, also when the caller was cancelled at that moment

    def post(
        self, method: str, params: dict[str, Any], answered: Answered, *, lasting: bool = False
    ) -> int:
        """
        Send a call and have `answered` called with its outcome and the size of the frame.

        A lasting call outlives the connection; any other is forgotten with it.

        Raises:
            LimitExceeded: The frame is longer than the server would take.
            ClientStopped: The client has ended.
        """
        if (end := self.end_error()) is not None:
            raise end
        id, frame = self._calls.add(method, params, answered, lasting=lasting)
        if self._connection is not None:
            self._connection.send(id, frame)
        return id

    def end_error(self) -> StreamdError | None:
        """
        Return a new error saying why the link has ended; None while it lives.
        """
        return None if self._end is None else self._end.again()

    def _forget(self, id: int) -> None:
        self._calls.forget(id)
        if self._connection is not None:
            self._connection.withdraw(id)

    # Subscribers.

    def attach(self, subscriber: Subscriber) -> None:
        """
        Keep a subscriber informed, from now on.

        Raises:
            ClientStopped: The client has ended.
        """
        if (end := self.end_error()) is not None:
            raise end
        self._subscribers[subscriber] = None
        if self._connection is not None:
            subscriber.connected()

    def detach(self, subscriber: Subscriber) -> None:
        """
        Leave a subscriber alone, from now on. Idempotent.
        """
        self._subscribers.pop(subscriber, None)

    def route(self, number: int, subscriber: Subscriber) -> None:
        """
        Hand what comes for subscription `number` of this connection to a subscriber.
        """
        self._routes[number] = subscriber

    def unsubscribe(self, number: int) -> None:
        """
        End a subscription; what still comes for its number is ignored.
        """
        self._routes.pop(number, None)
        if self._connection is not None and self._end is None:
            self.post("unsubscribe", {"subscription": number}, lambda _outcome, _size: None)

    # What comes in.

    def _receive(self, message: Message, size: int) -> None:
        match message:
            case Push(number, entry):
                if (reader := self._routes.get(number)) is not None:
                    reader.received(entry, size)
            case Answer(id):
                self._calls.settle(id, message, size)
            case Failure(_, Unauthorized() as error) if self._tokens and self._attempted:
                self._attempted.abandon(error)
            case Failure(id, error):
                self._calls.settle(id, error, size)
            case Progress(cursor, number, live):
                self._progress(cursor, number, live)
            case Closed(number, error):
                if (reader := self._routes.pop(number, None)) is not None:
                    reader.closed_by_server(error)
            case Shutdown(reconnect_after_ms):
                self._backoff.told(reconnect_after_ms / 1000)

    def _progress(self, cursor: str, number: int | None, live: bool) -> None:
        if number is None:
            for reader in self._routes.values():
                reader.progressed(cursor, live=True)
        elif number in self._routes:
            self._routes[number].progressed(cursor, live)


def _expire(future: "asyncio.Future[Any]") -> None:
    if not future.done():
        future.set_exception(TimeoutError())
