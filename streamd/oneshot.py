"""Calls of somebody who can't be pushed to: over HTTP, or from inside."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from streamd import jsonrpc
from streamd.access import Access
from streamd.errors import CallError
from streamd.exchange import Exchange, Reply
from streamd.limits import Limits
from streamd.methods import Methods
from streamd.rates import Rates
from streamd.subscription import Peer
from streamd.turns import Turns

__all__ = ["OneShot"]


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

    def done(self, result: bytes) -> None:
        self.result(result)

    def error(self, error: CallError) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def check(self) -> None:
        """There is one answer, and room for it."""


class OneShot:
    """Call methods for somebody who can't be pushed to."""

    peer: Peer | None = None

    def __init__(
        self,
        methods: Methods,
        limits: Limits,
        turns: Turns,
        access: Access,
        rates: Rates | None = None,
    ) -> None:
        self.access = access
        """What it may do."""
        self.rates = rates
        """What holds it to the rates that are set."""
        self._methods = methods
        self._limits = limits
        self._turns = turns
        self._lane = asyncio.Lock()

    async def call(self, call: jsonrpc.Call) -> bytes:
        """Return the result of one call as JSON, or raise its CallError."""
        outcome = _Outcome()
        work = await self._turns.do(self._methods.start, call, self, outcome)
        if work is not None:
            await work
        return await outcome.future

    async def post(self, body: bytes) -> bytes:
        """Return the answer to a message; nothing if it has only notifications."""
        incoming = await self._turns.read(self._methods.parse, body)
        if self.rates is not None:
            self.rates.take_faults(len(incoming.faults))
        sent: list[bytes] = []
        answered = asyncio.Semaphore(0)
        exchange = Exchange(incoming, self._limits.answer_bytes, sent.append, answered.release)
        # All are begun before the first is waited for: as on a connection.
        tasks = await self._turns.each(partial(self._begin, exchange), incoming.calls)
        try:
            for _ in tasks:
                await answered.acquire()
        finally:
            for task in tasks:
                if task is not None:
                    task.cancel()
        return sent[0] if sent else b""

    def _begin(self, exchange: Exchange, call: jsonrpc.Call) -> asyncio.Task[None] | None:
        work = self._methods.start(call, self, Reply(exchange, call.id))
        return None if work is None else asyncio.create_task(work, name="one shot: call")

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until the batch's other calls have read what they answer: one page is held at a time."""
        async with self._lane:
            yield
