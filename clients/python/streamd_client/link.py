"""
The lasting link to a server: one connection after another, and what must survive in between.

Calls without an answer are sent again, in their old order, when a new connection is open; each
subscriber is told and asks anew by itself. Where there is a token it comes first, and a connection
counts as open when the server has taken it. One task lives here (`_run`). Everything that comes in
is handled in plain functions, so that an answer and the pushes behind it are seen in the order of
the wire.
"""

import asyncio
import os
from functools import partial
from typing import Any

from streamd_client.admission import Admission
from streamd_client.backoff import Backoff
from streamd_client.calls import Answered, Calls
from streamd_client.connection import Connection, open_socket, tls_context
from streamd_client.errors import (
    ClientClosed,
    ConnectionLost,
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
from streamd_client.routes import Routes, Subscriber
from streamd_client.tokens import AsyncTokens

__all__ = ["Link"]


class Link:
    """
    One connection after another to a server, until it is closed or a server says not to come back.

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
        self._routes = Routes()
        self._admission = (
            None if tokens is None else Admission(tokens, self._calls, backoff, timeout=timeout)
        )
        self._connection: Connection | None = None
        """The one that is open."""
        self._attempted: Connection | None = None
        """The one that is, or is about to be."""
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
    def trouble(self) -> ConnectionLost | None:
        """Why there is no connection now, if that is known."""
        return self._trouble

    @property
    def loss(self) -> ConnectionLost | None:
        """Why the last connection that was open ended; None while none did."""
        return self._loss

    async def _run(self) -> None:
        ending: StreamdError = ClientClosed()
        try:
            ending = await self._connect_again_and_again()
        finally:
            self._stop(ending)

    async def _connect_again_and_again(self) -> StreamdError:
        while isinstance(ending := await self._attempt(), ConnectionLost):
            self._trouble = ending
            if not isinstance(ending, Unreachable):
                self._loss = ending
            await asyncio.sleep(self._backoff.next())
        return ending

    async def _attempt(self) -> StreamdError:
        """Hold one connection as long as it lasts; return what its end means."""
        ending = await self._hold_connection()
        return ending if self._admission is None else self._admission.judge(ending)

    async def _hold_connection(self) -> StreamdError:
        try:
            token = None if self._admission is None else await self._admission.token()
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
        if self._admission is None or token is None:
            self._opened(connection)
        else:
            self._admission.show(token, connection, partial(self._opened, connection))
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
        if self._admission is not None:
            self._admission.leave()
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

    # Calls.

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

    def forget(self, id: int) -> None:
        """
        Drop a call whose caller waits no more. Idempotent.
        """
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
        self._routes.add(number, subscriber)

    def unsubscribe(self, number: int) -> None:
        """
        End a subscription; what still comes for its number is ignored.
        """
        self._routes.remove(number)
        if self._connection is not None and self._end is None:
            self.post("unsubscribe", {"subscription": number}, lambda _outcome, _size: None)

    # What comes in.

    def _receive(self, message: Message, size: int) -> None:
        match message:
            case Push() | Progress() | Closed():
                self._routes.receive(message, size)
            case Answer(id):
                self._calls.settle(id, message, size)
            case Failure(_, Unauthorized() as error) if self._admission and self._attempted:
                self._attempted.abandon(error)
            case Failure(id, error):
                self._calls.settle(id, error, size)
            case Shutdown(reconnect_after_ms):
                self._backoff.told(reconnect_after_ms / 1000)
