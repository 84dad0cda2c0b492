"""The memory store: a log that lives and ends with its process. The reference for the others."""

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Generic, TypeVar

from streamd.cursor import EPOCH_BYTES, Chain
from streamd.event import Keys
from streamd.filters import EVERYTHING, Filter
from streamd.log import Draft, Entry, LogState, Page, Run
from streamd.search import search
from streamd.stores.base import (
    Appended,
    Bounds,
    Posting,
    Store,
    Stream,
    Upkeep,
    no_stream,
)
from streamd.stores.placing import Known, Placing
from streamd.turns import Turns
from streamd.types import Seq
from streamd.window import Window

__all__ = ["MemoryStore"]

_MAX_EVENTS = 1_000_000
_RUN_ENTRIES = 1_000
_RUN_BYTES = 1 << 20
_QUIET = 1.0
"""Seconds without news until a tail gives a sign of life."""
_FORGET = 1_000
"""Entries forgotten between two looks at what else the event loop has to do."""

V = TypeVar("V")


class _Memory(Generic[V]):
    """Remember values by a text for a number of seconds."""

    def __init__(self, lifetime: float, clock: Callable[[], float]) -> None:
        self._lifetime = lifetime
        self._clock = clock
        self._values: dict[str, V] = {}
        self._ends: deque[tuple[float, str]] = deque()

    def get(self, key: str) -> V | None:
        self._forget()
        return self._values.get(key)

    def put(self, key: str, value: V) -> None:
        self._values[key] = value
        self._ends.append((self._clock() + self._lifetime, key))

    def _forget(self) -> None:
        now = self._clock()
        while self._ends and self._ends[0][0] <= now:
            del self._values[self._ends.popleft()[1]]


class MemoryStore(Store):
    """Keep the log in this process: durable until it ends, one worker only."""

    def __init__(
        self,
        url: str,
        stream: Stream,
        *,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        random: Callable[[int], str] = secrets.token_urlsafe,
    ) -> None:
        del url  # There is nothing to say about where memory is.
        limits = stream.limits
        self._stream = stream
        self._turns = Turns()
        self._max_events = limits.max_events or _MAX_EVENTS
        self._max_age_ms = None if limits.max_age is None else int(limits.max_age * 1000)
        self._clock = clock
        self._chain = Chain(random(EPOCH_BYTES))
        self._log = Window()
        self._time = 0
        self._ids: _Memory[Known] = _Memory(limits.insert_id_lifetime, timer)
        self._batches: _Memory[Appended] = _Memory(limits.store_deadline * 2, timer)
        self._waiting: set[asyncio.Event] = set()
        self._retention: asyncio.Task[None] | None = None

    async def open(self) -> LogState:
        if not self._stream.keys:
            raise no_stream(self._stream.name, "the memory of a new process")
        if self._stream.forgets:
            self._retention = asyncio.create_task(self._retain(), name="memory store: retention")
        return self._state()

    async def aclose(self) -> None:
        if self._retention is not None:
            self._retention.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._retention
            self._retention = None

    async def state(self) -> LogState:
        return self._state()

    def _state(self) -> LogState:
        return LogState(self._chain, self._log.high, self._log.low)

    # Writing.

    async def append(self, calls: Sequence[Sequence[Draft]], batch: str) -> Appended:
        known = self._batches.get(batch)
        if known is None:
            self._time = max(self._time, int(self._clock() * 1000))
            placing = Placing(self._log.high, self._time, self._ids.get)
            known = Appended(self._chain, [placing.place(call) for call in calls])
            for entry in placing.entries:
                self._log.append(entry)
            for ident, what in placing.fresh.items():
                self._ids.put(ident, what)
            self._batches.put(batch, known)
            self._grown(sum(map(len, calls)))
        return known

    def _grown(self, by: int) -> None:
        """Forget what is too much now, and tell the tails."""
        self._log.forget_below(self._log.high + 1 - self._max_events)
        self._log.sweep(2 * by)
        for changed in self._waiting:
            changed.set()

    async def _retain(self) -> None:
        age_ms = self._max_age_ms
        if age_ms is None:
            return
        pause = min(1.0, age_ms / 10_000)
        while True:
            more = self._forget_aged(age_ms)
            more = self._log.sweep(_FORGET) or more
            await asyncio.sleep(0 if more else pause)

    def _forget_aged(self, age_ms: int) -> bool:
        """Forget some entries of more than this age; tell whether there may be more."""
        oldest = int(self._clock() * 1000) - age_ms
        log = self._log
        some = log.forward(EVERYTHING, log.low - 1, limit=_FORGET, work=_FORGET, size=1 << 40)
        fresh = next((entry.seq for entry in some.entries if entry.time >= oldest), some.upto + 1)
        log.forget_below(fresh)
        return some.upto < log.high and fresh > some.upto

    # Reading.

    async def newest(self, wanted: Filter, bounds: Bounds, before: Seq | None = None) -> Page:
        state = self._state()
        before = state.head + 1 if before is None else before
        found = await search(self._log, wanted, before, bounds, self._turns)
        # The page is as of its beginning, but for what retention hid meanwhile.
        entries = [entry for entry in found.entries if entry.seq >= self._log.low]
        left = found.reached > self._log.low
        return Page(
            state._replace(floor=self._log.low),
            entries,
            found.reached if left else None,
            exhausted=left and found.looked >= bounds.work and len(found.entries) < bounds.limit,
        )

    async def after(self, since: Seq, wanted: Filter, bounds: Bounds) -> Run:
        if not self._log.low - 1 <= since <= self._log.high:
            return Run(self._state(), since, [], since)
        found = self._log.forward(
            wanted, since, limit=bounds.limit, work=bounds.work, size=bounds.size
        )
        return Run(self._state(), since, found.entries, found.upto)

    async def tail(self, since: Seq, chain: Chain) -> AsyncGenerator[Run]:
        # Numbers of this log start with this process: a chain from before says nothing about it.
        since = since if chain == self._chain else self._log.low - 1
        changed = asyncio.Event()
        self._waiting.add(changed)
        try:
            while True:
                changed.clear()
                if since < self._log.low - 1:
                    since = self._log.low - 1
                    yield Run(self._state(), since, [], since)
                elif since < self._log.high:
                    found = self._log.forward(
                        EVERYTHING, since, limit=_RUN_ENTRIES, work=_RUN_ENTRIES, size=_RUN_BYTES
                    )
                    yield Run(self._state(), since, found.entries, found.upto)
                    since = found.upto
                else:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_QUIET):
                            await changed.wait()
                            continue
                    yield Run(self._state(), since, [], since)
        finally:
            self._waiting.discard(changed)

    # Upkeep.

    def upkeep(self) -> Upkeep:
        return _MemoryUpkeep(self, self._log, self._stream.keys)

    def restore(self, entries: Sequence[Entry]) -> bool:
        """See stores.base.Upkeep.restore."""
        if entries[0].seq != self._log.high + 1 or entries[0].time < self._time:
            return self._log.get(entries[-1].seq) == entries[-1]
        for entry in entries:
            self._log.append(entry)
        self._time = entries[-1].time
        self._grown(len(entries))
        return True


class _MemoryUpkeep(Upkeep):
    def __init__(self, store: MemoryStore, log: Window, keys: Keys) -> None:
        self._store = store
        self._log = log
        self._keys = keys

    @property
    def keys(self) -> Keys:
        return self._keys

    async def restore(self, entries: Sequence[Entry]) -> bool:
        return self._store.restore(entries)

    async def read(self, seqs: Sequence[Seq]) -> list[Entry]:
        return [entry for entry in map(self._log.get, sorted(seqs)) if entry is not None]

    async def missing(self, entries: Sequence[Entry]) -> list[Posting]:
        return [
            Posting(term, entry.seq)
            for entry in entries
            for term in entry.terms
            if not self._log.index.posted(term, entry.seq)
        ]

    async def postings(self) -> AsyncGenerator[list[Posting]]:
        some: list[Posting] = []
        for term in self._log.index.terms():
            for seq in list(self._log.index.places(term)):
                some.append(Posting(term, seq))
                if len(some) == _RUN_ENTRIES:
                    yield some
                    some = []
        if some:
            yield some

    async def mend(self, postings: Sequence[Posting]) -> None:
        for term, seq in postings:
            entry = self._log.get(seq)
            if entry is not None and term in entry.terms:
                self._log.index.post(term, seq)
            else:
                self._log.index.unpost(term, seq)
