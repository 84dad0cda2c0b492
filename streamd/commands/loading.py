"""Loading: numbered lines become inserted events, in their order, and the bad ones are told of."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import orjson
from streamd_client import Client, Event, Inserted, RpcError

from streamd.commands.lines import Line
from streamd.event import kind_of

__all__ = ["Loader", "Tally", "check_event"]

_TIMEOUT = 30.0  # seconds for each call
_FRAME = 1_024
"""What a call is longer than its events and their ids, at the most."""


@dataclass(slots=True)
class Tally:
    """What has become of the lines so far."""

    inserted: int = 0
    known: int = 0
    """Those whose ids the server knew: they were inserted before."""
    refused: int = 0


@dataclass(frozen=True, slots=True)
class _Candidate:
    number: int
    event: Event
    id: str
    size: int


def check_event(text: bytes) -> Event:
    """Return the event that a text is, to be sent as it is; raise ValueError with what is wrong.

    The server reads the text itself: an integer that is too large for this reader is not made a
    float on the way, but refused there.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    if not isinstance(value, dict):
        raise ValueError(f"not an object: {kind_of(value)}")
    return cast("Event", orjson.Fragment(text))


class Loader:
    """Insert lines, as many with one call as are there and may be.

    One call is under way at a time, so that the log has the order of the lines even where some of
    them are refused: a call is all or nothing, what is in a refused one is inserted event by event.

    Args:
        client: Where to insert them.
        limits: The server's limits.
        id: What the ids of the inserts begin with; each ends with the number of its line.
        refused: Told the number of a line that can't be inserted, and why.
    """

    def __init__(
        self,
        client: Client,
        limits: dict[str, Any],
        id: str,
        refused: Callable[[int, str], None],
    ) -> None:
        self.tally = Tally()
        self._client = client
        self._id = id
        self._refused = refused
        self._events: int = limits["insert_many"]
        self._bytes: int = limits["message_bytes"] - _FRAME

    @property
    def longest(self) -> int:
        """The longest line that can be inserted, in bytes."""
        return self._bytes - len(orjson.dumps(self._id)) - 32

    async def load(self, lines: Iterable[Line]) -> None:
        """Insert what the lines say; raise StreamdError if the server does not answer."""
        for batch in self._batches(filter(None, map(self._read, lines))):
            await self._insert(batch)

    def _read(self, line: Line) -> _Candidate | None:
        if line.text is None:
            self._refuse(line.number, f"longer than {self.longest} bytes")
            return None
        try:
            event = check_event(line.text)
        except ValueError as error:
            self._refuse(line.number, str(error))
            return None
        id = f"{self._id}:{line.number}"
        return _Candidate(line.number, event, id, len(line.text) + len(orjson.dumps(id)) + 8)

    def _batches(self, candidates: Iterable[_Candidate]) -> Iterator[list[_Candidate]]:
        batch: list[_Candidate] = []
        size = 0
        for candidate in candidates:
            size += candidate.size
            if batch and (len(batch) == self._events or size > self._bytes):
                yield batch
                batch, size = [], candidate.size
            batch.append(candidate)
        if batch:
            yield batch

    async def _insert(self, batch: list[_Candidate]) -> None:
        events, ids = [each.event for each in batch], [each.id for each in batch]
        try:
            answers = await self._client.insert_many(events, ids, timeout=_TIMEOUT)
        except RpcError as error:
            if error.retryable:  # the client has done so, in vain
                raise
            await self._insert_each(batch)
        else:
            self._count(answers)

    async def _insert_each(self, batch: list[_Candidate]) -> None:
        # Each task sends its call as it starts, so that they keep their order.
        tasks = [asyncio.create_task(self._insert_one(candidate)) for candidate in batch]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _insert_one(self, candidate: _Candidate) -> None:
        try:
            answer = await self._client.insert(candidate.event, candidate.id, timeout=_TIMEOUT)
        except RpcError as error:
            if error.retryable:
                raise
            self._refuse(candidate.number, error.message)
        else:
            self._count([answer])

    def _count(self, answers: list[Inserted]) -> None:
        known = sum(answer.duplicate for answer in answers)
        self.tally.known += known
        self.tally.inserted += len(answers) - known

    def _refuse(self, number: int, reason: str) -> None:
        self.tally.refused += 1
        self._refused(number, reason)
