"""One peer's conversation: messages in, messages out, no socket."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from streamd import jsonrpc
from streamd.access import NOBODY, Access
from streamd.calls import Answer, Work
from streamd.closing import Closing
from streamd.errors import (
    CallError,
    InvalidRequest,
    LimitExceeded,
    StoreUnavailable,
    Unauthorized,
)
from streamd.exchange import Exchange, Reply
from streamd.guard import Guard, read_bearer
from streamd.hub import Hub
from streamd.limits import Limits
from streamd.methods import Methods
from streamd.outbox import Outbox
from streamd.rates import Rates
from streamd.subscription import Peer
from streamd.turns import MUCH, Line, Turns

__all__ = ["Session"]

_TOKEN_MESSAGE = 2
"""A message may have so many times the bytes of a token while nothing else is to be said."""

_TASK = 50e-6
"""Seconds that the first step of a call's task takes, roughly: the loop does it after all those that began one."""


class Session:
    """Answer one peer's messages, and let the hub push to it.

    Calls are begun in the order they came. While too many are unanswered, or the peer does not
    take what it was sent, nothing more is begun and reading stops. What comes behind a token waits
    until that is judged.
    """

    __slots__ = (
        "_backlog", "_calls", "_closed", "_draining", "_end", "_guard", "_hub", "_judging", "_lane", "_limits",
        "_methods", "_outbox", "_scheduled", "_set_reading", "_tasks", "_turns", "access", "in_flight", "is_new", "peer", "rates",
    )  # fmt: skip

    def __init__(
        self,
        methods: Methods,
        hub: Hub,
        limits: Limits,
        outbox: Outbox,
        set_reading: Callable[[bool], None],
        turns: Turns,
        guard: Guard,
        end: Callable[[int, str], None],
        rates: Rates | None = None,
    ) -> None:
        """Begin; `end` closes the connection with a code and a reason."""
        self._methods = methods
        self._hub = hub
        self._limits = limits
        self._outbox = outbox
        self._set_reading = set_reading
        self._turns = turns
        self._guard = guard
        self._end = end
        self.access = guard.newcomer
        """What it may do now."""
        self.rates = rates
        """What holds it to the rates that are set."""
        # Most peers never wait for anything: what they would need for it is made when they do.
        self._backlog: deque[bytes] | None = None
        self._calls: deque[tuple[jsonrpc.Call, Exchange]] | None = None
        self._lane: asyncio.Lock | None = None
        self._tasks: set[asyncio.Task[None]] | None = None
        self._scheduled = False
        self._draining = False
        self._closed = False
        self._judging = False
        self.in_flight = 0
        """Calls that are not answered yet."""
        self.is_new = True
        """Whether none was answered yet: the peer's work stands in the newcomers' line."""
        self.peer: Peer = hub.join(outbox)
        outbox.on_drained = self._drained
        if guard.required:
            guard.deadlines.set(self, limits.authenticate_deadline)

    # What the transport tells.

    def receive(self, message: bytes) -> None:
        """Take one text message; whatever it is, the answer is an answer. After `close`: none."""
        if self._closed:
            return
        waits = self._backlog is not None or self._is_full() or self._scheduled
        if not waits and len(message) <= MUCH:
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

    def unfinished(self, size: int) -> None:
        """Take note that so many bytes are kept of a message that is not complete: before a token, that are few."""
        if self._backlog is None and self._is_too_large(size):
            self._refuse_large()
            self._hang_up(Closing.NO_TOKEN_IN_TIME, "a token must come first")

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
        self._guard.deadlines.forget(self)
        self._guard.leave(self.access)
        self._outbox.close()
        # When thousands go at once, those who stay do not wait until all are let go of.
        self._turns.add(partial(self._hub.leave, self.peer), Line.NEWCOMERS)
        # Each may begin first: the work of a task that never does would be a coroutine never awaited.
        for task in self._tasks or ():
            asyncio.get_running_loop().call_soon(task.cancel)

    # Calls.

    def _is_full(self) -> bool:
        full = self.in_flight >= self._limits.calls_in_flight
        return full or self._outbox.paused or self._judging

    @property
    def _line(self) -> Line:
        """Where it waits: among newcomers, or by the size of what is to be read next."""
        if self.is_new:
            return Line.NEWCOMERS
        much = not self._calls and self._backlog and len(self._backlog[0]) > MUCH
        return Line.BULK if much else Line.FIRST

    def _drained(self) -> None:
        self._hub.drained(self.peer)
        self._schedule()

    def _schedule(self) -> None:
        waiting = self._backlog is not None or self._calls is not None
        if waiting and not (self._scheduled or self._judging or self._outbox.paused):
            self._scheduled = True
            self._turns.add(self._work_off, self._line)

    def _work_off(self) -> bool:
        """Begin the next of what waits; tell whether the one after it may be begun, too."""
        if not (self._outbox.paused or self._judging):
            if self._calls:
                self._begin(*self._calls.popleft())
            elif self._backlog and not self._is_full():
                self._open(self._backlog.popleft())
        more = bool(self._calls or (self._backlog and not self._is_full()))
        self._scheduled = more and not (self._outbox.paused or self._judging)
        if not self._calls and not self._backlog and not self._closed:
            self._backlog = self._calls = None
            self._set_reading(True)
        return self._scheduled

    def _open(self, message: bytes) -> None:
        """Begin the call of a message; those of a batch are begun in turns."""
        if self._is_too_large(len(message)):
            self._refuse_large()
            return
        incoming = self._methods.parse(message)
        self.in_flight += len(incoming.calls)
        exchange = Exchange(incoming, self._limits.answer_bytes, self._outbox.send, self._settled)
        if incoming.faults:
            self._blame(len(incoming.faults))
        if self._closed:
            return
        if not incoming.batch:
            for call in incoming.calls:
                self._begin(call, exchange)
        elif incoming.calls:
            self._calls = deque((call, exchange) for call in incoming.calls)

    def _is_too_large(self, size: int) -> bool:
        most = _TOKEN_MESSAGE * self._limits.token_bytes
        return self.access is NOBODY and not self._judging and size > most

    def _refuse_large(self) -> None:
        most = self._limits.token_bytes
        error = Unauthorized(
            f"come with a token first, of at most {most} bytes, in a message of its own"
        )
        self._outbox.send(self._methods.refuse(error))
        self._blame(1)

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
        if self.rates is not None and self.rates.barred():
            self._hang_up(Closing.TOO_MANY, "too many calls")

    def _blame(self, faults: int) -> None:
        """Count what was no call as if it had been some."""
        if self.rates is not None:
            self.rates.take_faults(faults)
            if self.rates.barred():
                self._hang_up(Closing.TOO_MANY, "too many calls")

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

    # Tokens.

    def authenticate(self, token: str, answer: Answer) -> Work:
        """Begin to judge a token: what comes behind it waits until that is done."""
        self._judging = True
        return self._authenticate(token, answer)

    async def _authenticate(self, token: str, answer: Answer) -> None:
        try:
            access = await self._judge(token)
        except (Unauthorized, LimitExceeded) as error:
            answer.error(error)
            self._refuse(error)
        else:
            await self._admit(access)
            answer.done(access.to_json())
        finally:
            self._judging = False
            self._schedule()

    def take_header(self, headers: Sequence[str]) -> None:
        """Take the token from the handshake's `Authorization` headers: as if it had been called with."""
        if headers and self._guard.looks:
            self._judging = True
            self._spawn(self._take_header(headers))

    async def _take_header(self, headers: Sequence[str]) -> None:
        try:
            await self._admit(await self._judge(read_bearer(headers)))
        except (Unauthorized, LimitExceeded) as error:
            self._refuse(error)
        except CallError:
            self._hang_up(Closing.TRY_AGAIN_LATER, "the token can't be judged now")
        finally:
            self._judging = False
            self._schedule()

    async def _judge(self, token: str) -> Access:
        try:
            access = await self._guard.judge(token)
        except StoreUnavailable:
            # It did come in time; that it can't be judged is not the peer's fault.
            if self.access is NOBODY and not self._closed:
                self._guard.deadlines.set(self, self._limits.authenticate_deadline)
            raise
        if not self._closed:
            self._guard.enter(access, self.access)
        return access

    async def _admit(self, access: Access) -> None:
        """Let it count from now on, for what is subscribed too."""
        self.access = access
        left = self._guard.left(access)
        if self._closed:
            return
        if left is None:
            self._guard.deadlines.forget(self)
        else:
            self._guard.deadlines.set(self, left)
        await self._hub.judge_again(self.peer, access)

    def _refuse(self, error: Unauthorized | LimitExceeded) -> None:
        if isinstance(error, LimitExceeded):
            self._hang_up(Closing.TOO_MANY, "too many connections of this subject")
        elif error.data is not None and error.data.get("reason") == "expired":
            self._hang_up(Closing.TOKEN_EXPIRED, "token expired")
        else:
            self._hang_up(Closing.TOKEN_REFUSED, error.why)

    def _hang_up(self, code: int, reason: str) -> None:
        if not self._closed:
            self._end(code, reason)

    def expire(self) -> None:
        """Take note that the time is over: that of the token, or the time for one to come."""
        if self.access is not NOBODY:
            self._hang_up(Closing.TOKEN_EXPIRED, "token expired")
        elif self._judging:
            self._guard.deadlines.set(self, self._limits.authenticate_deadline)
        else:
            self._hang_up(Closing.NO_TOKEN_IN_TIME, "no token in time")

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until this peer may be given one more large answer: one is held at a time."""
        if self._lane is None:
            self._lane = asyncio.Lock()
        async with self._lane:
            await self._outbox.writable()
            yield
