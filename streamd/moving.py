"""Moving a log from one store to another: entries as lines of JSON, and back into an empty stream."""

from collections.abc import Iterable, Sequence

from streamd.cursor import Chain
from streamd.errors import CallError, ParseError, UnknownOutcome, UpkeepError
from streamd.event import draft_event, kind_of
from streamd.jsonrpc import from_json
from streamd.limits import Limits
from streamd.log import Entry
from streamd.stores.base import Store
from streamd.types import Json, Seq
from streamd.walk import Patience

__all__ = ["Import", "export_line"]

_BATCH_ENTRIES = 1_000
_BATCH_BYTES = 8 << 20
_LAST_TIME = 253_402_300_799_999
"""The end of the year 9999. A time in micro- or nanoseconds would lie beyond it, and since times never
decrease, all that comes later would have it as well."""


def export_line(chain: Chain, entry: Entry) -> bytes:
    """Return an entry as a line of JSON: `{"cursor": …, "time": …, "event": …}`, the event as it is stored."""
    cursor = chain.cursor(entry.seq).encode()
    return b'{"cursor":"%b","time":%d,"event":%b}\n' % (cursor, entry.time, entry.body)


class Import:
    """Write lines into a stream: the n-th is the entry at place n, with its own time.

    The stream is empty, or has what an earlier import of the same lines has written until it was
    interrupted: then those lines are passed over, and the last of them is compared.
    """

    def __init__(self, store: Store, limits: Limits, patience: Patience) -> None:
        self._store = store
        self._upkeep = store.upkeep()
        self._limits = limits
        self._patience = patience
        self._seq = 0
        self._time = 0
        self._batch: list[Entry] = []
        self._size = 0
        self.known = 0
        """Entries that were there already."""
        self.stored = 0
        """Entries that are there now, beside those."""

    async def begin(self) -> None:
        """Look at what is there."""
        self.known = (await self._patience(self._store.state)).head

    async def load(self, lines: Iterable[tuple[int, bytes | None]]) -> None:
        """Take the next lines: their numbers, for people, and their text (None if it is too long).

        Raise UpkeepError for a line that is none of ours, with all before it stored; for a stream
        that has other entries; and where somebody else writes into it.
        """
        for number, text in lines:
            self._seq += 1
            if self._seq < self.known:
                continue
            try:
                entry = self._read(text)
            except ValueError as error:
                await self._store_batch()
                raise UpkeepError(f"line {number}: {error}") from None
            if self._seq == self.known:
                await self._compare(entry, number)
            else:
                await self._take(entry)

    async def finish(self) -> None:
        """Store what is left; raise UpkeepError as `load` does."""
        await self._store_batch()
        if self._seq < self.known:
            raise UpkeepError(
                f"the stream has {self.known:,} entries already, and the input only {self._seq:,}: "
                "it is not what an earlier import of this input has left; import into an empty stream"
            )

    # Reading.

    def _read(self, text: bytes | None) -> Entry:
        """Return the entry that a line says, or raise ValueError with the reason why it is none."""
        if text is None:
            raise ValueError("too long")
        try:
            value = from_json(text)
        except ParseError:
            raise ValueError("not JSON") from None
        if not isinstance(value, dict):
            raise ValueError(f"not an object: {kind_of(value)}")
        time = self._read_time(value)
        if "event" not in value:
            raise ValueError('it has no "event"')
        try:
            draft = draft_event(value["event"], None, self._upkeep.keys, self._limits)
        except CallError as error:
            raise ValueError(error.message) from None
        self._time = time
        return Entry(self._seq, time, draft.terms, draft.body)

    def _read_time(self, value: dict[str, Json]) -> int:
        time = value.get("time")
        if "time" not in value:
            raise ValueError('it has no "time"')
        if isinstance(time, bool) or not isinstance(time, int):
            raise ValueError(f'"time" must be a whole number of milliseconds, got {kind_of(time)}')
        if not 0 <= time <= _LAST_TIME:
            raise ValueError('"time" must be milliseconds since 1970, and before the year 10000')
        if time < self._time:
            raise ValueError('its "time" is before that of the line above')
        return time

    # Writing.

    async def _compare(self, entry: Entry, number: int) -> None:
        there: Sequence[Entry] = await self._patience(lambda: self._upkeep.read([entry.seq]))
        if not there:
            raise UpkeepError(
                "the stream is not empty, and its newest entry is gone, so that nothing tells "
                "where it comes from: import into an empty stream"
            )
        if (there[0].time, there[0].body) != (entry.time, entry.body):
            raise UpkeepError(
                f"the stream is not empty, and its newest entry is not that of line {number}: "
                "import into an empty stream"
            )

    async def _take(self, entry: Entry) -> None:
        self._batch.append(entry)
        self._size += len(entry.body) + sum(map(len, entry.terms))
        if len(self._batch) >= _BATCH_ENTRIES or self._size >= _BATCH_BYTES:
            await self._store_batch()

    async def _store_batch(self) -> None:
        batch, self._batch, self._size = self._batch, [], 0
        if not batch:
            return
        try:
            stored = await self._patience(lambda: self._upkeep.restore(batch))
        except UnknownOutcome:
            raise UpkeepError(
                "the store was given entries and does not answer any more: repeat the import, "
                "it goes on where it stopped"
            ) from None
        if not stored:
            raise await self._displaced(batch[0].seq - 1)
        self.stored += len(batch)

    async def _displaced(self, expected: Seq) -> UpkeepError:
        """Return why the newest entry is not the one that we have stored last."""
        if (await self._patience(self._store.state)).head < expected:
            return UpkeepError(
                "the store has lost entries that it had: repeat the import, it goes on behind those that are left"
            )
        return UpkeepError(
            f"somebody else has written into the stream, behind entry {expected:,}: "
            "import into an empty stream that no server has clients for yet"
        )
