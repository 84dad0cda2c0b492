"""Walking through a log from its floor to its head, as tools do, whatever happens to it meanwhile."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

from streamd.cursor import Chain
from streamd.errors import CallError, StoreUnavailable, UnknownOutcome, UpkeepError
from streamd.filters import Filter
from streamd.log import Run
from streamd.stores.base import Bounds, Store
from streamd.types import Seq

__all__ = ["Patience", "Walk", "check_same"]

_BOUNDS = Bounds(limit=1_000, work=10_000, size=4 << 20)
"""What one step reads: little enough for servers that use the store as well."""

_LEAD = 64

T = TypeVar("T")


class Patience:
    """Repeat calls of a store that may be repeated, where it is away, for some seconds each.

    Args:
        seconds: How long, since the first failure of a call.
        told: Is given the error when waiting begins.
        pause: Seconds between two attempts.
    """

    def __init__(
        self, seconds: float, told: Callable[[CallError], None], *, pause: float = 0.5
    ) -> None:
        self.seconds = seconds
        self._told = told
        self._pause = pause

    async def __call__(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what the call returns; raise its last error when patience ends."""
        clock = asyncio.get_running_loop().time
        end: float | None = None
        while True:
            try:
                return await call()
            except (StoreUnavailable, UnknownOutcome) as error:
                if end is None:
                    end = clock() + self.seconds
                    self._told(error)
                if clock() >= end:
                    raise
            await asyncio.sleep(self._pause)


def check_same(before: Chain, now: Chain, upto: Seq) -> None:
    """Raise UpkeepError if the places up to `upto` may mean other entries now than before."""
    shared = now.shared(before)
    if shared is None or shared < upto:
        raise UpkeepError("the log was replaced by an older copy of it meanwhile: begin again")


class Walk:
    """Read the matching entries, oldest first, of the log as it is when the walk begins.

    What is appended later is not read, and what retention takes before its turn is left out.
    Where retention is faster than the walk, some of what it is about to take is passed over.
    """

    def __init__(self, store: Store, wanted: Filter, patience: Patience) -> None:
        self._store = store
        self._wanted = wanted
        self._patience = patience
        self._since: Seq = 0
        self._first: Seq = 1
        self._head: Seq = 0
        self._lead = 0
        self.overtaken = 0
        """Places that were no longer retained at their turn."""

    @property
    def total(self) -> int:
        """The number of places there are to walk through, once the first run is there."""
        return self._head + 1 - self._first

    @property
    def done(self) -> int:
        """The number of places that are behind."""
        return self._since + 1 - self._first

    async def runs(self) -> AsyncGenerator[Run]:
        """Yield what there is, a run of some entries (or none) after the other, without gap.

        Where retention overtakes the walk, a run begins at the floor. Raise UpkeepError if the log
        loses places which were read already, StoreUnavailable if the store does not come back.
        """
        state = await self._patience(self._store.state)
        self._first, self._head = state.floor, state.head
        self._since = state.floor - 1
        while self._since < self._head:
            run = await self._patience(self._step)
            self._keep_to(state.chain, run.state.chain)
            state = run.state
            if self._since < state.floor - 1:
                self._overtaken(state.floor)
                continue
            self._lead = 0
            entries = [entry for entry in run.entries if entry.seq <= self._head]
            since, self._since = self._since, min(run.upto, self._head)
            yield Run(state, since, entries, self._since)

    async def _step(self) -> Run:
        return await self._store.after(self._since, self._wanted, _BOUNDS)

    def _keep_to(self, before: Chain, now: Chain) -> None:
        """Go on only where the log is the one that was begun with: as far as both are the same."""
        if now != before:
            check_same(before, now, self._since)
            self._head = min(self._head, now.shared(before) or 0)

    def _overtaken(self, floor: Seq) -> None:
        """Go on at the floor; or some way beyond it, if it is always gone by the time we get there."""
        since = min(floor - 1 + self._lead, self._head)
        self._lead = max(_LEAD, 2 * self._lead)
        self.overtaken += since - self._since
        self._since = since
