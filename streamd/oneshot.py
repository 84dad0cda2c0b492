"""Calls of somebody who can't be pushed to: over HTTP, or from inside."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from streamd import jsonrpc
from streamd.errors import CallError
from streamd.exchange import Exchange, Reply
from streamd.limits import Limits
from streamd.methods import Methods
from streamd.subscription import Peer

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
        answer = Reply(exchange, call.id)
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
