"""One peer's conversation: messages in, messages out, no socket."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from streamd import jsonrpc
from streamd.errors import CallError, InvalidRequest, LimitExceeded, StoreUnavailable
from streamd.hub import Hub
from streamd.limits import Limits
from streamd.methods import Methods
from streamd.outbox import Outbox
from streamd.subscription import Peer

__all__ = ["Exchange", "OneShot", "Session"]

_AT_A_TIME = 32
_BYTES_AT_A_TIME = 64 << 10
"""Messages of one peer that are begun before others have their turn, and their bytes."""


class Exchange:
    """Gather the answers to the calls of one message, and send them when the last is there."""

    __slots__ = ("_answers", "_batch", "_left", "_limit", "_send", "_settled", "_size", "_then")

    def __init__(
        self,
        incoming: jsonrpc.Incoming,
        limit: int,
        send: Callable[[bytes], None],
        settled: Callable[[], None],
    ) -> None:
        self._batch = incoming.batch
        self._answers = incoming.faults
        self._left = len(incoming.calls)
        self._limit = limit
        self._size = 0
        self._send = send
        self._settled = settled
        self._then: list[Callable[[], None]] = []
        if not self._left:
            self._flush()

    def settle(
        self,
        ident: bytes | None,
        answer: Callable[[bytes], bytes],
        then: Callable[[], None] | None = None,
        undo: Callable[[], None] | None = None,
    ) -> None:
        """Take the outcome of one call; an answer that is too large becomes an error."""
        if ident is not None:
            text = answer(ident)
            if self._size + len(text) > self._limit:
                text = self._too_large(ident, len(text))
                then, undo = undo, None
            self._size += len(text)
            self._answers.append(text)
        if then is not None:
            self._then.append(then)
        self._left -= 1
        if not self._left:
            self._flush()
        self._settled()

    def _too_large(self, ident: bytes, size: int) -> bytes:
        return jsonrpc.error_answer(
            ident, LimitExceeded("answer_bytes", self._limit, self._size + size)
        )

    def _flush(self) -> None:
        if self._answers:
            self._send(jsonrpc.join_answers(self._answers) if self._batch else self._answers[0])
        for then in self._then:
            then()


class _Answer:
    """The way back for one call of an exchange."""

    __slots__ = ("_exchange", "_ident")

    def __init__(self, exchange: Exchange, ident: bytes | None) -> None:
        self._exchange = exchange
        self._ident = ident

    def result(
        self,
        result: bytes,
        then: Callable[[], None] | None = None,
        undo: Callable[[], None] | None = None,
    ) -> None:
        self._exchange.settle(
            self._ident, lambda ident: jsonrpc.result_answer(ident, result), then, undo
        )

    def error(self, error: CallError) -> None:
        self._exchange.settle(self._ident, lambda ident: jsonrpc.error_answer(ident, error))


class Session:
    """Answer one peer's messages, and let the hub push to it.

    Calls are begun in the order they came. While too many are unanswered, or the peer does not
    take what it was sent, nothing more is begun and reading stops.
    """

    __slots__ = (
        "_backlog", "_closed", "_draining", "_hub", "_lane", "_limits", "_methods", "_outbox",
        "_scheduled", "_set_reading", "_tasks", "in_flight", "peer",
    )  # fmt: skip

    def __init__(
        self,
        methods: Methods,
        hub: Hub,
        limits: Limits,
        outbox: Outbox,
        set_reading: Callable[[bool], None],
    ) -> None:
        self._methods = methods
        self._hub = hub
        self._limits = limits
        self._outbox = outbox
        self._set_reading = set_reading
        self._backlog: deque[bytes] | None = None
        self._lane: asyncio.Lock | None = None
        self._tasks: set[asyncio.Task[None]] | None = None
        self._scheduled = False
        self._draining = False
        self._closed = False
        self.in_flight = 0
        """Calls that are not answered yet."""
        self.peer: Peer = hub.join(outbox)
        outbox.on_drained = self._drained

    # What the transport tells.

    def receive(self, message: bytes) -> None:
        """Take one text message; whatever it is, the answer is an answer. After `close`: none."""
        if self._closed:
            return
        if self._backlog is None:
            if not self._is_full() and not self._scheduled:
                self._begin(message)
                return
            self._backlog = deque()
        self._backlog.append(message)
        self._set_reading(False)
        self._schedule()

    def receive_binary(self) -> None:
        """Answer a binary message, which this wire does not have."""
        error = InvalidRequest("messages must be text, not binary")
        self._outbox.send(jsonrpc.error_answer(b"null", error))

    def drain(self, reconnect_after_ms: int) -> None:
        """Say that the server stops; calls from now on are refused, those begun are answered."""
        self._draining = True
        self.in_flight += 1
        self._spawn(self._say_goodbye(reconnect_after_ms))

    def close(self) -> None:
        """Let go of everything: the connection is gone. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._backlog = None
        self._outbox.close()
        self._hub.leave(self.peer)
        # Each may begin first: the work of a task that never does would be a coroutine never awaited.
        for task in self._tasks or ():
            asyncio.get_running_loop().call_soon(task.cancel)

    # Calls.

    def _is_full(self) -> bool:
        return self.in_flight >= self._limits.calls_in_flight or self._outbox.paused

    def _drained(self) -> None:
        self._hub.drained(self.peer)
        self._schedule()

    def _schedule(self) -> None:
        if self._backlog is not None and not self._scheduled and not self._is_full():
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._work_off)

    def _work_off(self) -> None:
        self._scheduled = False
        begun = size = 0
        while self._backlog and not self._is_full():
            if begun >= _AT_A_TIME or size >= _BYTES_AT_A_TIME:
                break
            message = self._backlog.popleft()
            begun += 1
            size += len(message)
            self._begin(message)
        if self._backlog:
            self._schedule()
        elif not self._closed:
            self._backlog = None
            self._set_reading(True)

    def _begin(self, message: bytes) -> None:
        incoming = jsonrpc.parse(message, self._limits)
        self.in_flight += len(incoming.calls)
        exchange = Exchange(incoming, self._limits.answer_bytes, self._outbox.send, self._settled)
        for call in incoming.calls:
            answer = _Answer(exchange, call.id)
            if self._draining:
                answer.error(StoreUnavailable("the server is shutting down"))
            elif call.id is None and call.method == "subscribe":
                exchange.settle(None, bytes)  # Nobody would know its number.
            else:
                self._start(call, answer)

    def _start(self, call: jsonrpc.Call, answer: _Answer) -> None:
        work = self._methods.start(call, self, answer)
        if work is not None:
            self._spawn(work)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._tasks is None:
            self._tasks = set()
        task = asyncio.create_task(work, name="session: call")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _say_goodbye(self, reconnect_after_ms: int) -> None:
        await self._hub.say_goodbye(self.peer, reconnect_after_ms)
        self._settled()

    def _settled(self) -> None:
        self.in_flight -= 1
        self._schedule()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until this peer may be given one more large answer: one is held at a time."""
        if self._lane is None:
            self._lane = asyncio.Lock()
        async with self._lane:
            await self._outbox.writable()
            yield


class _Outcome:
    """The outcome of one call, for somebody who waits for it."""

    __slots__ = ("future",)

    def __init__(self) -> None:
        self.future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def result(
        self,
        result: bytes,
        then: Callable[[], None] | None = None,
        undo: Callable[[], None] | None = None,
    ) -> None:
        if not self.future.done():
            self.future.set_result(result)

    def error(self, error: CallError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class OneShot:
    """Call methods for somebody who can't be pushed to."""

    peer: Peer | None = None

    def __init__(self, methods: Methods, limits: Limits) -> None:
        self._methods = methods
        self._limits = limits
        self._lane = asyncio.Lock()

    async def call(self, call: jsonrpc.Call) -> bytes:
        """Return the result of one call as JSON, or raise its CallError."""
        outcome = _Outcome()
        work = self._methods.start(call, self, outcome)
        if work is not None:
            await work
        return await outcome.future

    async def post(self, body: bytes) -> bytes:
        """Return the answer to a message; nothing if it has only notifications."""
        incoming = jsonrpc.parse(body, self._limits)
        sent: list[bytes] = []
        exchange = Exchange(incoming, self._limits.answer_bytes, sent.append, lambda: None)
        # All are begun before the first is waited for: as on a connection.
        await asyncio.gather(*[self._settle(exchange, call) for call in incoming.calls])
        return sent[0] if sent else b""

    async def _settle(self, exchange: Exchange, call: jsonrpc.Call) -> None:
        answer = _Answer(exchange, call.id)
        try:
            result = await self.call(call)
        except CallError as error:
            answer.error(error)
        else:
            answer.result(result)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until the batch's other calls have read what they answer: one page is held at a time."""
        async with self._lane:
            yield
