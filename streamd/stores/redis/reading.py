"""Reading the log: pages backwards and runs forwards, in rounds that Redis can afford."""

from dataclasses import dataclass, field
from functools import lru_cache

from streamd.filters import Filter
from streamd.log import Entry, LogState, Page, Run
from streamd.stores.base import Bounds
from streamd.stores.redis.access import Access
from streamd.stores.redis.link import Argument
from streamd.stores.redis.replies import list_clauses, read_entries
from streamd.stores.redis.scripts import SCAN, SEARCH, STATE
from streamd.types import Seq

__all__ = ["Reader"]

_STEPS = 5_000
"""Steps of one script, some 2 µs each: Redis serves nobody else meanwhile. Passing over a place is
one, reading an entry three."""

_BACKWARD, _FORWARD = -1, 1


@dataclass(slots=True)
class _Search:
    """A search under way, over several scripts."""

    wanted: Filter
    bounds: Bounds
    direction: int
    reached: Seq | None
    entries: list[Entry] = field(default_factory=list)
    looked: int = 0
    skipped: int = 0
    size: int = 0
    more: bool = True
    """Whether the last script ended for no other reason than its share of the work."""


class Reader:
    """Answer what has happened."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._log = (access.names.meta, access.names.log)
        # A filter of 10,000 values takes milliseconds to write out, and comes again with each round.
        self._written = lru_cache(maxsize=8)(self._write)

    async def state(self) -> LogState:
        """Return the log's state."""
        return (await self._access.run(STATE, self._log[:1])).state

    # Backwards.

    async def newest(self, wanted: Filter, bounds: Bounds, before: Seq | None) -> Page:
        """See stores.base.Store.newest."""
        if wanted.everything:
            return await self._newest_of_all(bounds, before)
        if bounds.limit <= 0:
            return await self._newest_of_all(bounds._replace(limit=0, skip=0), before)
        if not self._written(wanted)[1]:
            return Page(await self.state(), [], None)
        search = _Search(wanted, bounds, _BACKWARD, before)
        first = state = await self._search(search)
        # Each further script opens all lists again: that is work too.
        reopening = len(self._written(wanted)[1])
        while search.more and search.looked + reopening < bounds.work:
            search.looked += reopening
            state = await self._search(search)
            if state.chain != first.chain:
                return await self.newest(wanted, bounds, before)
        # The page is as of its beginning, but for what retention hid meanwhile.
        entries = [entry for entry in search.entries if entry.seq >= state.floor]
        return self._page(first._replace(floor=state.floor), entries, search.reached, search.more)

    async def _newest_of_all(self, bounds: Bounds, before: Seq | None) -> Page:
        skip = min(bounds.skip, bounds.work)
        limit = min(bounds.limit, bounds.work - skip)
        arguments = (_BACKWARD, "" if before is None else before, limit, bounds.size, skip)
        state, (reached, *members) = await self._access.run(SCAN, self._log, arguments)
        entries = read_entries(members)
        exhausted = len(entries) == limit < bounds.limit
        return self._page(state, entries, reached, exhausted)

    @staticmethod
    def _page(state: LogState, entries: list[Entry], reached: Seq | None, exhausted: bool) -> Page:
        if reached is None or reached <= state.floor:
            return Page(state, entries, None)
        return Page(state, entries, reached, exhausted)

    # Forwards.

    async def after(self, since: Seq, wanted: Filter, bounds: Bounds) -> Run:
        """See stores.base.Store.after; of one script, so that all of it is of one moment."""
        if wanted.everything:
            limit = min(bounds.limit, bounds.work)
            arguments = (_FORWARD, since, limit, bounds.size, 0)
            state, (reached, *members) = await self._access.run(SCAN, self._log, arguments)
            return Run(state, since, read_entries(members), reached)
        if bounds.limit <= 0 or not self._written(wanted)[1]:
            state = await self.state()
            gone = not state.floor - 1 <= since <= state.head
            return Run(state, since, [], since if gone or bounds.limit <= 0 else state.head)
        search = _Search(wanted, bounds, _FORWARD, since)
        state = await self._search(search)
        assert search.reached is not None
        return Run(state, since, search.entries, search.reached)

    # Searching.

    def _write(self, wanted: Filter) -> tuple[list[Argument], list[str]]:
        form, terms = list_clauses(wanted)
        return form, [self._access.names.term(term) for term in terms]

    async def _search(self, search: _Search) -> LogState:
        """Go on with a search by one script."""
        bounds = search.bounds
        form, lists = self._written(search.wanted)
        arguments = (
            search.direction,
            "" if search.reached is None else search.reached,
            bounds.limit - len(search.entries),
            bounds.size - search.size,
            bounds.skip - search.skipped,
            bounds.work - search.looked,
            _STEPS,
            len(search.entries),
            *form,
        )
        reply = await self._access.run(SEARCH, (*self._log, *lists), arguments)
        reached, looked, skipped, why, *members = reply.rest
        entries = read_entries(members)
        search.entries += entries
        search.reached = reached
        search.looked += looked
        search.skipped += skipped
        search.size += sum(len(entry.body) for entry in entries)
        search.more = why == b"more"
        return reply.state
