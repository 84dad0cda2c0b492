"""Reading the log: pages backwards and runs forwards, each in one transaction, as of one moment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BindParameter, Row, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from streamd.filters import Clause, Filter, Terms
from streamd.log import Entry, LogState, Page, Run
from streamd.stores.base import Bounds
from streamd.stores.sql.access import Access
from streamd.stores.sql.merging import Merge
from streamd.stores.sql.schema import LOG
from streamd.types import Seq, Term

__all__ = ["Reader"]

_CHUNK = 128
"""Bodies read at a time: they may be large, and the bound on their size is kept between two chunks."""
_CANDIDATES = 1_024
"""Candidates whose terms are read at a time."""
_BACKWARD, _FORWARD = -1, 1


@dataclass(slots=True)
class _Reading:
    """How far a read has got, and what it has found."""

    state: LogState
    bounds: Bounds
    sign: int
    reached: Seq
    """The last place that is done with; looking back the floor, looking forward the head at its end."""
    entries: list[Entry] = field(default_factory=list)
    looked: int = 0
    skipped: int = 0
    size: int = 0
    full: bool = False

    @property
    def last(self) -> Seq:
        """The last place that there is to read."""
        return self.state.head if self.sign == _FORWARD else self.state.floor

    @property
    def room(self) -> int:
        """Entries that may still be looked at."""
        return self.bounds.work - self.looked

    @property
    def wanted(self) -> int:
        """Matching entries that are still to be found, those to be skipped among them."""
        return self.bounds.limit - len(self.entries) + self.bounds.skip - self.skipped

    def skip(self, seqs: Sequence[Seq]) -> Sequence[Seq]:
        """Pass over matches that are to be skipped; return the others."""
        passed = min(len(seqs), self.bounds.skip - self.skipped)
        if passed:
            self.skipped += passed
            self.reached = seqs[passed - 1]
        return seqs[passed:]

    def add(self, entry: Entry) -> None:
        """Add a match, unless the read is full without it."""
        self.size += len(entry.body)
        if self.entries and self.size > self.bounds.size:
            self.full = True
            return
        self.entries.append(entry)
        self.reached = entry.seq
        self.full = len(self.entries) == self.bounds.limit


class Reader:
    """Answer what has happened."""

    def __init__(self, access: Access) -> None:
        self._access = access
        dialect = access.dialect
        whole = (LOG.c.id, LOG.c.time, LOG.c.terms, LOG.c.body)
        start: BindParameter[int] = bindparam("start")
        stop: BindParameter[int] = bindparam("stop")
        count: BindParameter[int] = bindparam("count")
        skip: BindParameter[int] = bindparam("skip")
        backward = select(*whole).where(LOG.c.id < start, LOG.c.id >= stop)
        forward = select(*whole).where(LOG.c.id > start, LOG.c.id <= stop)
        self._scan = {
            _BACKWARD: backward.order_by(LOG.c.id.desc()).limit(count).offset(skip),
            _FORWARD: forward.order_by(LOG.c.id).limit(count).offset(skip),
        }
        self._heads = {
            _BACKWARD: dialect.heads(forward=False),
            _FORWARD: dialect.heads(forward=True),
        }
        among = LOG.c.id.in_(dialect.numbers("ids"))
        self._terms = select(LOG.c.id, LOG.c.terms).where(among)
        self._entries = select(*whole).where(among)

    async def state(self) -> LogState:
        """Return the log's state."""
        return await self._access.ask(self._access.state)

    async def newest(self, wanted: Filter, bounds: Bounds, before: Seq | None) -> Page:
        """See stores.base.Store.newest."""

        async def work(connection: AsyncConnection) -> _Reading:
            state = await self._access.state(connection)
            start = state.head + 1 if before is None else min(before, state.head + 1)
            reading = _Reading(state, bounds, _BACKWARD, max(start, state.floor))
            await self._read(connection, reading, wanted)
            return reading

        reading = await self._access.read(work)
        if reading.reached <= reading.state.floor:
            return Page(reading.state, reading.entries, None)
        exhausted = reading.room <= 0 and not reading.full
        return Page(reading.state, reading.entries, reading.reached, exhausted)

    async def after(self, since: Seq, wanted: Filter, bounds: Bounds) -> Run:
        """See stores.base.Store.after."""

        async def work(connection: AsyncConnection) -> Run:
            state = await self._access.state(connection)
            reading = _Reading(state, bounds, _FORWARD, since)
            if state.floor - 1 <= since <= state.head:
                await self._read(connection, reading, wanted)
            return Run(state, since, reading.entries, reading.reached)

        return await self._access.read(work)

    async def entries(self, connection: AsyncConnection, seqs: Sequence[Seq]) -> list[Entry]:
        """Return the entries at some places, in their order; those that are there."""
        ids = self._access.dialect.pack([self._access.id(seq) for seq in seqs])
        rows = await connection.execute(self._entries, {"ids": ids})
        found = {entry.seq: entry for entry in map(self._entry, rows)}
        return [found[seq] for seq in seqs if seq in found]

    async def terms(
        self, connection: AsyncConnection, seqs: Sequence[Seq]
    ) -> dict[Seq, tuple[Term, ...]]:
        """Return the terms of the entries at some places; of those that are there."""
        ids = self._access.dialect.pack([self._access.id(seq) for seq in seqs])
        rows = await connection.execute(self._terms, {"ids": ids})
        first = self._access.id(0)
        return {ident - first: _read_terms(packed) for ident, packed in rows}

    def _entry(self, row: Row[Any, Any, Any, Any]) -> Entry:
        ident, time, terms, body = row
        if type(time) is not int or type(body) is not bytes:
            raise ValueError("an entry that is none")
        return Entry(ident - self._access.id(0), time, _read_terms(terms), body)

    async def _read(self, connection: AsyncConnection, reading: _Reading, wanted: Filter) -> None:
        if reading.bounds.limit <= 0:
            return
        near = reading.sign == _FORWARD and reading.last - reading.reached <= wanted.num_values
        if wanted.everything or near:
            await self._read_all(connection, reading, wanted)
        else:
            await self._search(connection, reading, wanted)

    # Of everything.

    async def _read_all(
        self, connection: AsyncConnection, reading: _Reading, wanted: Filter
    ) -> None:
        """Read consecutive entries, and keep those that match."""
        skip, matches = 0, wanted.test()
        if wanted.everything and reading.bounds.skip < reading.room:
            reading.skipped = reading.looked = skip = reading.bounds.skip
        while not reading.full and reading.room > 0:
            count = min(_CHUNK, reading.room)
            if wanted.everything:
                count = min(count, reading.wanted)
            where = {
                "start": self._access.id(reading.reached),
                "stop": self._access.id(reading.last),
                "count": count,
                "skip": skip,
            }
            skip = 0
            rows = (await connection.execute(self._scan[reading.sign], where)).all()
            for row in rows:
                entry = self._entry(row)
                if not wanted.everything and not matches(entry.terms):
                    reading.reached = entry.seq
                elif reading.skip([entry.seq]):
                    reading.add(entry)
                if reading.full:
                    return
                reading.looked += 1
            if len(rows) < count:
                reading.reached = reading.last
                return

    # Of what matches.

    async def _search(self, connection: AsyncConnection, reading: _Reading, wanted: Filter) -> None:
        """Read the candidates of each clause's rarest key, and keep those that match."""
        merge = await self._merge(connection, reading, wanted)
        # One list of values is judged by the index alone.
        plain = len(wanted.clauses) == 1 and len(wanted.clauses[0]) == 1
        count = reading.wanted
        while not reading.full and reading.room > 0:
            count = min(count, _CANDIDATES, reading.room)
            candidates = await merge.take(count)
            if plain:
                matching: Sequence[Seq] = candidates
            else:
                matching = await self._judge(connection, candidates, wanted)
            await self._collect(connection, reading, matching)
            reading.looked += len(candidates)
            if reading.full:
                return
            if len(candidates) < count:
                reading.reached = reading.last
                return
            reading.reached = candidates[-1]
            count *= 2

    async def _merge(self, connection: AsyncConnection, reading: _Reading, wanted: Filter) -> Merge:
        async def read(lists: list[tuple[Term, Seq]], count: int) -> dict[Term, list[Seq]]:
            where = {"stream": self._access.stream, "stop": reading.last, "count": count}
            pairs = self._access.dialect.pack_pairs(lists)
            rows = await connection.execute(self._heads[reading.sign], where | pairs)
            read_places = self._access.dialect.read_places
            return {term: read_places(told) for term, told in rows}

        def merge(terms: Terms) -> Merge:
            return Merge(read, terms, reading.reached, reading.sign)

        span = abs(reading.last - reading.reached)
        drivers = [await _rarest(clause, merge, span) for clause in wanted.clauses]
        return merge(()).join(drivers)

    async def _judge(
        self, connection: AsyncConnection, candidates: Sequence[Seq], wanted: Filter
    ) -> list[Seq]:
        """Return the candidates that match, by the terms which the log has of them."""
        terms, matches = await self.terms(connection, candidates), wanted.test()
        return [seq for seq in candidates if seq in terms and matches(terms[seq])]

    async def _collect(
        self, connection: AsyncConnection, reading: _Reading, matching: Sequence[Seq]
    ) -> None:
        """Read the entries that match, until the bounds are met."""
        left = reading.skip(matching)
        while left and not reading.full:
            count = min(_CHUNK, reading.wanted)
            for entry in await self.entries(connection, left[:count]):
                reading.add(entry)
                if reading.full:
                    return
            left = left[count:]


async def _rarest(clause: Clause, merge: Callable[[Terms], Merge], span: int) -> Merge:
    """Return the merge of the clause's key that seems to have the fewest candidates."""
    merges = [merge(terms) for terms in clause]
    if len(merges) == 1:
        return merges[0]
    estimates = [await each.estimate(span) for each in merges]
    return merges[estimates.index(min(estimates))]


def _read_terms(packed: bytes) -> tuple[Term, ...]:
    if type(packed) is not bytes:
        raise ValueError("terms that are none")
    return tuple(packed.decode().split("\0")) if packed else ()
