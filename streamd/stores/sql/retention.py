"""Retention: raising the floor, and removing what lies below it in small steps."""

import logging
from random import Random

from sqlalchemy import BindParameter, Table, bindparam, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamd.limits import Limits
from streamd.log import LogState
from streamd.stores.retention import Retention
from streamd.stores.sql.access import Access
from streamd.stores.sql.schema import BATCHES, INDEX, INSERT_IDS, LOG, STREAMS, SWEEPS
from streamd.types import Seq

__all__ = ["Sweeper"]

logger = logging.getLogger("streamd.stores.sql")

_STEP = 500
"""Entries, or insert ids, removed by one transaction: SQLite lets nobody else write meanwhile."""
_BATCH_LIFETIME = 30.0
"""Seconds that a batch is remembered at least, for whoever did not get its answer."""


class Sweeper(Retention):
    """Forget what is older than the limits.

    The floor goes up first, and hides what lies below at once. How far it is removed is a row of its
    own: whoever removes holds it, and not the head. Two workers that do the same do it once. What was
    found in one epoch is not done in another: its places may mean other entries.
    """

    def __init__(self, access: Access, limits: Limits, *, random: Random) -> None:
        super().__init__(access.dialect.name, logger, random)
        self._access = access
        self._max_events = limits.max_events
        self._max_age_ms = None if limits.max_age is None else max(1, int(limits.max_age * 1000))
        self._lifetimes = {
            INSERT_IDS: int(limits.insert_id_lifetime * 1000),
            BATCHES: int(max(limits.store_deadline * 2, _BATCH_LIFETIME) * 1000),
        }
        self._pause = min(10.0, limits.insert_id_lifetime / 10)
        if limits.max_events or limits.max_age:
            self._pause = min(self._pause, 1.0, (limits.max_age or 10.0) / 10)
        stream: BindParameter[int] = bindparam("stream")
        clock = access.dialect.later(STREAMS.c.time, access.dialect.now())
        self._clock = select(clock).where(STREAMS.c.id == stream)
        self._swept = select(SWEEPS.c.swept).where(SWEEPS.c.stream == stream)
        among = LOG.c.id.between(bindparam("first"), bindparam("last"))
        oldest = (
            select(LOG.c.id, LOG.c.time).where(among).order_by(LOG.c.id).limit(_STEP).subquery()
        )
        self._aged = select(func.max(oldest.c.id)).where(oldest.c.time < bindparam("oldest"))
        self._raise_floor = (
            update(STREAMS)
            .where(STREAMS.c.id == stream, STREAMS.c.floor < bindparam("new_floor"))
            .values(floor=bindparam("new_floor"))
        )
        self._claim = (
            update(SWEEPS)
            .where(SWEEPS.c.stream == bindparam("ours"), SWEEPS.c.swept == bindparam("before"))
            .values(swept=bindparam("upto"))
        )
        self._terms = select(LOG.c.terms).where(among)
        self._remove_entries = delete(LOG).where(among)
        self._remove_postings = delete(INDEX).where(
            INDEX.c.stream == stream,
            INDEX.c.term.in_(access.dialect.texts("terms")),
            INDEX.c.seq <= bindparam("upto"),
        )

    async def step(self) -> float | None:
        """Sweep, and at once again where there may be more."""
        return 0.0 if await self.sweep() else self._pause

    async def sweep(self) -> bool:
        """Take a step of everything that there is to forget; tell whether there may be more."""
        more = await self._hide()
        more = await self._remove() or more
        for table, lifetime in self._lifetimes.items():
            more = await self._expire(table, lifetime) or more
        return more

    async def _hide(self) -> bool:
        """Raise the floor over some entries that are too many or too old; tell whether it was raised."""
        access = self._access

        async def find(connection: AsyncConnection) -> tuple[LogState, Seq]:
            state = await access.state(connection)
            floor = state.floor
            if self._max_events:
                floor = max(floor, state.head - self._max_events + 1)
            if self._max_age_ms is not None:
                now = (
                    await connection.execute(self._clock, {"stream": access.stream})
                ).scalar_one()
                where = {
                    "first": access.id(floor),
                    "last": access.id(state.head),
                    "oldest": now - self._max_age_ms,
                }
                aged = (await connection.execute(self._aged, where)).scalar_one()
                if aged is not None:
                    floor = aged - access.id(0) + 1
            return state, floor

        found, new_floor = await access.read(find)
        if new_floor == found.floor:
            return False

        async def hide(connection: AsyncConnection) -> None:
            if (await access.state(connection)).chain != found.chain:
                return
            values = {"stream": access.stream, "new_floor": new_floor}
            await connection.execute(self._raise_floor, values)

        await access.write(hide)
        return True

    async def _remove(self) -> bool:
        """Remove some entries below the floor, with their postings; tell whether there were any."""
        access = self._access

        async def find(connection: AsyncConnection) -> tuple[LogState, Seq]:
            state = await access.state(connection)
            swept = await connection.execute(self._swept, {"stream": access.stream})
            return state, swept.scalar_one()

        found, swept = await access.read(find)
        if swept >= found.floor - 1:
            return False
        upto = min(swept + _STEP, found.floor - 1)

        async def remove(connection: AsyncConnection) -> None:
            if (await access.state(connection)).chain != found.chain:
                return
            values = {"ours": access.stream, "before": swept, "upto": upto}
            if (await connection.execute(self._claim, values)).rowcount == 0:
                return  # Another worker has done it.
            among = {"first": access.id(swept + 1), "last": access.id(upto)}
            packed = (await connection.execute(self._terms, among)).scalars()
            terms = sorted({term for each in packed for term in each.decode().split("\0")})
            where = {"stream": access.stream, "terms": access.dialect.pack(terms), "upto": upto}
            await connection.execute(self._remove_postings, where)
            await connection.execute(self._remove_entries, among)

        await access.write(remove)
        return True

    async def _expire(self, table: Table, lifetime: int) -> bool:
        """Remove some ids whose lifetime is over; tell whether there were any."""
        access = self._access
        expired = (
            select(table.c.id)
            .where(table.c.stream == bindparam("stream"), table.c.time < bindparam("oldest"))
            .order_by(table.c.time)
            .limit(_STEP)
        )

        async def find(connection: AsyncConnection) -> list[str]:
            await access.state(connection)
            now = (await connection.execute(self._clock, {"stream": access.stream})).scalar_one()
            where = {"stream": access.stream, "oldest": now - lifetime}
            return list((await connection.execute(expired, where)).scalars())

        ids = await access.read(find)
        if not ids:
            return False

        async def remove(connection: AsyncConnection) -> None:
            await access.state(connection)
            now = (await connection.execute(self._clock, {"stream": access.stream})).scalar_one()
            gone = delete(table).where(
                table.c.stream == bindparam("stream"),
                table.c.id.in_(access.dialect.texts("ids")),
                table.c.time < bindparam("oldest"),
            )
            where = {
                "stream": access.stream,
                "ids": access.dialect.pack(ids),
                "oldest": now - lifetime,
            }
            await connection.execute(gone, where)

        await access.write(remove)
        return True
