"""One peer's conversation: messages in, messages out, no socket."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from streamd import jsonrpc
from streamd.access import OPEN, Access
from streamd.errors import InvalidRequest, StoreUnavailable
from streamd.exchange import Exchange, Reply
from streamd.hub import Hub
from streamd.limits import Limits
from streamd.methods import Methods
from streamd.outbox import Outbox
from streamd.subscription import Peer
from streamd.turns import Turns

__all__ = ["Session"]

_TASK = 50e-6
"""Seconds that the first step of a call's task takes, roughly: the loop does it after all those that began one."""


class Session:
    """Answer one peer's messages, and let the hub push to it.

    Calls are begun in the order they came. While too many are unanswered, or the peer does not
    take what it was sent, nothing more is begun and reading stops.
    """

    __slots__ = (
        "_backlog", "_calls", "_closed", "_draining", "_hub", "_lane", "_limits", "_methods", "_outbox",
        "_scheduled", "_set_reading", "_tasks", "_turns", "access", "in_flight", "is_new", "peer",
    )  # fmt: skip

    def __init__(
        self,
        methods: Methods,
        hub: Hub,
        limits: Limits,
        outbox: Outbox,
        set_reading: Callable[[bool], None],
        turns: Turns,
        access: Access = OPEN,
    ) -> None:
        self._methods = methods
        self._hub = hub
        self._limits = limits
        self._outbox = outbox
        self._set_reading = set_reading
        self._turns = turns
        self.access = access
        """What it may do now."""
        # Most peers never wait for anything: what they would need for it is made when they do.
        self._backlog: deque[bytes] | None = None
        self._calls: deque[tuple[jsonrpc.Call, Exchange]] | None = None
        self._lane: asyncio.Lock | None = None
        self._tasks: set[asyncio.Task[None]] | None = None
        self._scheduled = False
        self._draining = False
        self._closed = False
        self.in_flight = 0
        """Calls that are not answered yet."""
        self.is_new = True
        """Whether none was answered yet: the peer's work stands in the newcomers' line (see Turns)."""
        self.peer: Peer = hub.join(outbox)
        outbox.on_drained = self._drained

    # What the transport tells.

    def receive(self, message: bytes) -> None:
        """Take one text message; whatever it is, the answer is an answer. After `close`: none."""
        if self._closed:
            return
        if self._backlog is None and not self._is_full() and not self._scheduled:
            self._open(message)
        else:
            if self._backlog is None:
                self._backlog = deque()
            self._backlog.append(message)
        if self._backlog or self._calls:
            self._set_reading(False)
            self._schedule()

    def receive_binary(self) -> None:
        """Answer a binary message, which this wire does not have."""
        error = InvalidRequest("messages must be text, not binary")
        self._outbox.send(self._methods.refuse(error))

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
        self._backlog = self._calls = None
        self._outbox.close()
        # When thousands go at once, those who stay do not wait until all are let go of.
        self._turns.add(partial(self._hub.leave, self.peer), new=True)
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
        waiting = self._backlog is not None or self._calls is not None
        if waiting and not self._scheduled and not self._outbox.paused:
            self._scheduled = True
            self._turns.add(self._work_off, new=self.is_new)

    def _work_off(self) -> bool:
        """Begin the next of what waits; tell whether the one after it may be begun, too."""
        if not self._outbox.paused:
            if self._calls:
                self._begin(*self._calls.popleft())
            elif self._backlog and not self._is_full():
                self._open(self._backlog.popleft())
        more = bool(self._calls or (self._backlog and not self._is_full()))
        self._scheduled = more and not self._outbox.paused
        if not more and not self._backlog and not self._closed:
            self._backlog = self._calls = None
            self._set_reading(True)
        return self._scheduled

    def _open(self, message: bytes) -> None:
        """Begin the call of a message; those of a batch are begun in turns."""
        incoming = self._methods.parse(message)
        self.in_flight += len(incoming.calls)
        exchange = Exchange(incoming, self._limits.answer_bytes, self._outbox.send, self._settled)
        if not incoming.batch:
            for call in incoming.calls:
                self._begin(call, exchange)
        elif incoming.calls:
            self._calls = deque((call, exchange) for call in incoming.calls)

    def _begin(self, call: jsonrpc.Call, exchange: Exchange) -> None:
        answer = Reply(exchange, call.id)
        if self._draining:
            answer.error(StoreUnavailable("the server is shutting down"))
        elif call.id is None and call.method == "subscribe":
            exchange.settle(None, None)  # Nobody would know its number.
        else:
            self._start(call, answer)

    def _start(self, call: jsonrpc.Call, answer: Reply) -> None:
        work = self._methods.start(call, self, answer)
        if work is not None:
            self._turns.spend(_TASK)
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
        self.is_new = False
        self._schedule()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until this peer may be given one more large answer: one is held at a time."""
        if self._lane is None:
            self._lane = asyncio.Lock()
        async with self._lane:
            await self._outbox.writable()
            yield
