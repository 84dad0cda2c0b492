"""Upkeep: entries put back in their places, and the index read, compared and mended."""

from collections.abc import AsyncGenerator, Iterator, Sequence

from sqlalchemy import BindParameter, bindparam, delete, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from streamd.errors import StoreUnavailable, UnknownOutcome
from streamd.event import Keys
from streamd.log import Entry
from streamd.stores.base import Posting, Upkeep
from streamd.stores.sql.access import Access
from streamd.stores.sql.appending import Appender
from streamd.stores.sql.reading import Reader
from streamd.stores.sql.schema import INDEX, STREAMS, SWEEPS
from streamd.types import Seq, Term

__all__ = ["SqlUpkeep"]

_PAGE = 1_000
"""Postings read by one transaction."""


class SqlUpkeep(Upkeep):
    """Do upkeep by transactions that are as short as those of serving."""

    def __init__(self, access: Access, appender: Appender, reader: Reader) -> None:
        self._access = access
        self._appender = appender
        self._reader = reader
        stream: BindParameter[int] = bindparam("stream")
        self._hold_head = select(STREAMS.c.time).where(STREAMS.c.id == stream).with_for_update()
        self._hold_sweep = select(SWEEPS.c.swept).where(SWEEPS.c.stream == stream).with_for_update()
        self._places = access.dialect.heads(forward=True)
        behind = tuple_(INDEX.c.term, INDEX.c.seq) > tuple_(
            bindparam("term", type_=INDEX.c.term.type), bindparam("seq", type_=INDEX.c.seq.type)
        )
        self._page = (
            select(INDEX.c.term, INDEX.c.seq)
            .where(INDEX.c.stream == stream, behind)
            .order_by(INDEX.c.term, INDEX.c.seq)
            .limit(_PAGE)
        )
        self._remove = delete(INDEX).where(
            INDEX.c.stream == bindparam("of"),
            INDEX.c.term == bindparam("term"),
            INDEX.c.seq == bindparam("seq"),
        )

    @property
    def keys(self) -> Keys:
        return self._access.keys

    # Moving.

    async def restore(self, entries: Sequence[Entry]) -> bool:
        return await self._access.write(lambda connection: self._restore(connection, entries))

    async def _restore(self, connection: AsyncConnection, entries: Sequence[Entry]) -> bool:
        held = await connection.execute(self._hold_head, {"stream": self._access.stream})
        time = held.scalar_one_or_none()
        state = await self._access.state(connection)
        oldest, newest = entries[0], entries[-1]
        if oldest.seq != state.head + 1 or time is None or oldest.time < time:
            return await self._reader.entries(connection, [newest.seq]) == [newest]
        await self._appender.add(connection, state, entries)
        return True

    # Checking.

    async def read(self, seqs: Sequence[Seq]) -> list[Entry]:
        async def work(connection: AsyncConnection) -> list[Entry]:
            state = await self._access.state(connection)
            retained = sorted(seq for seq in seqs if state.floor <= seq <= state.head)
            return await self._reader.entries(connection, retained)

        return await self._access.read(work)

    async def missing(self, entries: Sequence[Entry]) -> list[Posting]:
        async def work(connection: AsyncConnection) -> list[Posting]:
            await self._access.state(connection)
            return [
                posting
                for some in _consecutive(entries)
                for posting in await self._missing(connection, some)
            ]

        return await self._access.read(work)

    async def _missing(
        self, connection: AsyncConnection, entries: Sequence[Entry]
    ) -> list[Posting]:
        """Compare consecutive entries with the parts of their terms' lists between them."""
        before, last = entries[0].seq - 1, entries[-1].seq
        where = {"stream": self._access.stream, "stop": last, "count": len(entries)}
        terms = {term for entry in entries for term in entry.terms}
        lists = self._access.dialect.pack_pairs([(term, before) for term in terms])
        rows = await connection.execute(self._places, where | lists)
        read_places = self._access.dialect.read_places
        there: dict[Term, set[Seq]] = {term: set(read_places(told)) for term, told in rows}
        return [
            Posting(term, entry.seq)
            for entry in entries
            for term in entry.terms
            if entry.seq not in there[term]
        ]

    async def postings(self) -> AsyncGenerator[list[Posting]]:
        last = Posting("", 0)

        async def work(connection: AsyncConnection) -> list[Posting]:
            await self._access.state(connection)
            where = {"stream": self._access.stream, "term": last.term, "seq": last.seq}
            return [Posting(*row) for row in await connection.execute(self._page, where)]

        while page := await self._access.read(work):
            last = page[-1]
            yield page

    # Mending.

    async def mend(self, postings: Sequence[Posting]) -> None:
        try:
            await self._access.write(lambda connection: self._mend(connection, postings))
        except UnknownOutcome as error:
            raise StoreUnavailable from error  # Mended or not, it is to be repeated.

    async def _mend(self, connection: AsyncConnection, postings: Sequence[Posting]) -> None:
        stream = self._access.stream
        # What retention removes of the log while we look at it, it must find in the index.
        await connection.execute(self._hold_sweep, {"stream": stream})
        await self._access.state(connection)
        terms = await self._reader.terms(connection, sorted({seq for _, seq in postings}))
        right = [posting for posting in set(postings) if posting.term in terms.get(posting.seq, ())]
        if postings:
            gone = [{"of": stream, "term": term, "seq": seq} for term, seq in postings]
            await connection.execute(self._remove, gone)
        if right:
            rows = [{"stream": stream, "term": term, "seq": seq} for term, seq in right]
            await connection.execute(insert(INDEX), rows)


def _consecutive(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Cut entries, which ascend, where a place lies between two."""
    first = 0
    for at in range(1, len(entries) + 1):
        if at == len(entries) or entries[at].seq != entries[at - 1].seq + 1:
            yield entries[first:at]
            first = at
