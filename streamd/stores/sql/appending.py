"""Appending: one transaction for each batch."""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import BindParameter, bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamd.limits import Limits
from streamd.log import Draft, Entry, LogState, Placed
from streamd.stores.base import Appended, Verdict, id_reused
from streamd.stores.placing import Known, Placing
from streamd.stores.sql.access import Access, Head
from streamd.stores.sql.schema import BATCHES, INDEX, INSERT_IDS, LOG, STREAMS
from streamd.types import Seq

__all__ = ["Appender"]

Calls = Sequence[Sequence[Draft]]


class Appender:
    """Store batches.

    The head row is held first, so everything that is looked up then is as of the moment before this
    batch, and nothing that another worker stores can come between.
    """

    def __init__(self, access: Access, limits: Limits) -> None:
        self._access = access
        self._max_events = limits.max_events
        self._id_lifetime_ms = int(limits.insert_id_lifetime * 1000)
        dialect = access.dialect
        stream: BindParameter[int] = bindparam("stream")
        self._find_batch = select(BATCHES.c.record).where(
            BATCHES.c.stream == stream, BATCHES.c.id == bindparam("batch")
        )
        self._find_ids = select(
            INSERT_IDS.c.id, INSERT_IDS.c.seq, INSERT_IDS.c.time, INSERT_IDS.c.digest
        ).where(INSERT_IDS.c.stream == stream, INSERT_IDS.c.id.in_(dialect.texts("ids")))
        self._forget_ids = delete(INSERT_IDS).where(
            INSERT_IDS.c.stream == stream, INSERT_IDS.c.id.in_(dialect.texts("ids"))
        )
        # They may be sixty times as many as the entries: too many to go row by row.
        postings = dialect.pairs().add_columns(stream)
        self._add_postings = insert(INDEX).from_select(["term", "seq", "stream"], postings)
        self._set_head = (
            update(STREAMS)
            .where(STREAMS.c.id == stream)
            .values(
                head=bindparam("new_head"), floor=bindparam("new_floor"), time=bindparam("new_time")
            )
        )
        announcement = dialect.announcement()
        if announcement:
            self._set_head = self._set_head.returning(*announcement)

    async def append(self, calls: Calls, batch: str) -> Appended:
        """See stores.base.Store.append."""
        return await self._access.write(lambda connection: self._append(connection, calls, batch))

    async def _append(self, connection: AsyncConnection, calls: Calls, batch: str) -> Appended:
        head = await self._access.hold(connection)
        stream = {"stream": self._access.stream}
        found = await connection.execute(self._find_batch, stream | {"batch": batch})
        record = found.scalar_one_or_none()
        if record is not None:
            return Appended(head.state.chain, _read_record(record, calls))
        known, stale = await self._known(connection, calls, head.time)
        placing = Placing(head.state.head, head.time, known.get)
        verdicts = [placing.place(call) for call in calls]
        if placing.entries:
            fresh = placing.fresh
            if stale := [ident for ident in stale if ident in fresh]:
                ids = self._access.dialect.pack(stale)
                await connection.execute(self._forget_ids, stream | {"ids": ids})
            if fresh:
                rows = [_id_row(stream, ident, *what) for ident, what in fresh.items()]
                await connection.execute(insert(INSERT_IDS), rows)
            record = _write_record(head, verdicts)
            row = stream | {"id": batch, "time": head.time, "record": record}
            await connection.execute(insert(BATCHES), row)
            await self.add(connection, head.state, placing.entries)
        return Appended(head.state.chain, verdicts)

    async def add(
        self, connection: AsyncConnection, state: LogState, entries: Sequence[Entry]
    ) -> None:
        """Write entries that belong behind the head, which is held, to log and index."""
        stream = self._access.stream
        log = [
            {
                "id": self._access.id(entry.seq),
                "time": entry.time,
                "terms": "\0".join(entry.terms).encode(),
                "body": entry.body,
            }
            for entry in entries
        ]
        postings = [(term, entry.seq) for entry in entries for term in entry.terms]
        await connection.execute(insert(LOG), log)
        if postings:
            packed = self._access.dialect.pack_pairs(postings)
            await connection.execute(self._add_postings, {"stream": stream} | packed)
        head = entries[-1].seq
        floor = max(state.floor, head - self._max_events + 1) if self._max_events else state.floor
        values = {"new_head": head, "new_floor": floor, "new_time": entries[-1].time}
        await connection.execute(self._set_head, {"stream": stream} | values)

    async def _known(
        self, connection: AsyncConnection, calls: Calls, now: int
    ) -> tuple[dict[str, Known], list[str]]:
        """Return what is remembered of the ids of these calls, and those whose lifetime is over."""
        ids = [draft.id for call in calls for draft in call if draft.id is not None]
        if not ids:
            return {}, []
        known: dict[str, Known] = {}
        stale: list[str] = []
        asked = {"stream": self._access.stream, "ids": self._access.dialect.pack(ids)}
        for ident, seq, time, digest in await connection.execute(self._find_ids, asked):
            if time <= now - self._id_lifetime_ms:
                stale.append(ident)
            else:
                known[ident] = (Placed(seq, time, duplicate=True), digest)
        return known, stale


def _id_row(stream: dict[str, int], ident: str, placed: Placed, digest: bytes) -> dict[str, Any]:
    return stream | {"id": ident, "seq": placed.seq, "time": placed.time, "digest": digest}


# The record of a batch: the head before it, its time, and for each call null if it was refused, 0 if
# all of it was new, else for each draft 0 if it was new, or seq and time of what it repeats.


def _write_record(head: Head, verdicts: Sequence[Verdict]) -> bytes:
    told: list[Any] = []
    for verdict in verdicts:
        if not isinstance(verdict, list):
            told.append(None)
        elif not any(placed.duplicate for placed in verdict):
            told.append(0)
        else:
            told.append([[p.seq, p.time] if p.duplicate else 0 for p in verdict])
    return orjson.dumps([head.state.head, head.time, told])


def _read_record(record: bytes, calls: Calls) -> list[Verdict]:
    seq: Seq
    seq, time, told = orjson.loads(record)
    verdicts: list[Verdict] = []
    for call, what in zip(calls, told, strict=True):
        if what is None:
            verdicts.append(id_reused())
            continue
        placed: list[Placed] = []
        for each in what or [0] * len(call):
            if each:
                placed.append(Placed(each[0], each[1], duplicate=True))
            else:
                seq += 1
                placed.append(Placed(seq, time, duplicate=False))
        verdicts.append(placed)
    return verdicts
