"""What no store does by itself: logs and indexes that say different things, for the tests of upkeep."""

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import Delete, Insert, Update, delete, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamd.log import Draft, Entry, pack
from streamd.stores.base import Posting, Store
from streamd.stores.memory import MemoryStore
from streamd.stores.sql.schema import INDEX, LOG
from streamd.types import Seq

__all__ = ["Tampering", "tamper_with"]


class Tampering(Protocol):
    """Changes log and index of a store, each without the other."""

    async def post(self, postings: Sequence[Posting]) -> None:
        """Add to the index."""

    async def unpost(self, postings: Sequence[Posting]) -> None:
        """Take from the index."""

    async def write(self, entry: Entry) -> None:
        """Put an entry in the place of another, in the log alone."""

    async def erase(self, seq: Seq) -> None:
        """Leave a place of the log empty."""


class _Memory:
    def __init__(self, store: MemoryStore) -> None:
        self._log = store._log

    async def post(self, postings: Sequence[Posting]) -> None:
        for posting in postings:
            self._log.index.post(*posting)

    async def unpost(self, postings: Sequence[Posting]) -> None:
        for posting in postings:
            self._log.index.unpost(*posting)

    async def write(self, entry: Entry) -> None:
        self._log._entries[entry.seq] = entry

    async def erase(self, seq: Seq) -> None:
        del self._log._entries[seq]


class _Redis:
    def __init__(self, store: Store) -> None:
        self._link = store._link  # type: ignore[attr-defined]
        self._names = store._names  # type: ignore[attr-defined]

    async def post(self, postings: Sequence[Posting]) -> None:
        for term, seq in postings:
            await self._call("ZADD", self._names.term(term), seq, seq)

    async def unpost(self, postings: Sequence[Posting]) -> None:
        for term, seq in postings:
            assert await self._call("ZREM", self._names.term(term), seq)

    async def write(self, entry: Entry) -> None:
        await self._call("ZREMRANGEBYSCORE", self._names.log, entry.seq, entry.seq)
        packed = pack(Draft(entry.body, entry.terms))
        member = f"{entry.seq} {entry.time} ".encode() + packed
        await self._call("ZADD", self._names.log, entry.seq, member)

    async def erase(self, seq: Seq) -> None:
        assert await self._call("ZREMRANGEBYSCORE", self._names.log, seq, seq)

    async def _call(self, *command: str | bytes | int) -> object:
        return await self._link.call(command, timeout=5.0)


class _Sql:
    def __init__(self, store: Store) -> None:
        self._access = store._access  # type: ignore[attr-defined]

    async def post(self, postings: Sequence[Posting]) -> None:
        rows = [{"stream": self._access.stream, "term": term, "seq": n} for term, n in postings]
        await self._do(insert(INDEX).values(rows))

    async def unpost(self, postings: Sequence[Posting]) -> None:
        mine = INDEX.c.stream == self._access.stream
        await self._do(
            *(
                delete(INDEX).where(mine, INDEX.c.term == term, INDEX.c.seq == seq)
                for term, seq in postings
            )
        )

    async def write(self, entry: Entry) -> None:
        values = {
            "time": entry.time,
            "terms": "\0".join(entry.terms).encode(),
            "body": entry.body,
        }
        await self._do(update(LOG).where(LOG.c.id == self._access.id(entry.seq)).values(values))

    async def erase(self, seq: Seq) -> None:
        await self._do(delete(LOG).where(LOG.c.id == self._access.id(seq)))

    async def _do(self, *statements: Insert | Update | Delete) -> None:
        async def work(connection: AsyncConnection) -> None:
            for statement in statements:
                assert (await connection.execute(statement)).rowcount

        await self._access.write(work)


def tamper_with(store: Store) -> Tampering:
    """Return the means to tamper with an open store."""
    match type(store).__name__:
        case "MemoryStore":
            assert isinstance(store, MemoryStore)
            return _Memory(store)
        case "RedisStore":
            return _Redis(store)
        case "SqliteStore" | "PostgresqlStore":
            return _Sql(store)
    raise AssertionError(f"nobody has said how to tamper with a {type(store).__name__}")
