"""What tests of stores are made of: events of a small world, and stores of any kind to put them in."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from streamd.event import Keys, draft_event
from streamd.filters import EVERYTHING, Filter, parse_filter
from streamd.limits import Limits
from streamd.log import Draft, Entry, LogState, Placed, Run
from streamd.stores import open_store
from streamd.stores.base import Bounds, Observer, Store, Stream

KEYS = Keys.parse("user,kind,tag=tags")
LIMITS = Limits()
PLENTY = Bounds(limit=1_000, work=200_000, size=1 << 30)
"""Bounds that no ordinary test meets."""
DEADLINE = 10.0
"""Seconds that a test waits for what must come."""


REDIS = pytest.param("redis", id="redis", marks=pytest.mark.redis)
SQLITE = pytest.param("sqlite", id="sqlite")
POSTGRES = pytest.param("postgres", id="postgres", marks=pytest.mark.postgres)
STORES = [pytest.param("memory", id="memory"), SQLITE, POSTGRES, REDIS]
"""All kinds of stores; `x_url` is the fixture that tells where one is."""
SHARED = [SQLITE, POSTGRES, REDIS]
"""Stores that several processes may open on one stream."""


class Kind(NamedTuple):
    """A kind of store, as the table lists them."""

    name: str
    url: str


class Streams:
    """Open stores of one kind on one stream."""

    def __init__(self, kind: Kind, name: str | None = None) -> None:
        self.kind = kind
        self.name = name or "t-" + secrets.token_hex(6)

    def new(self, keys: Keys = KEYS, forgets: bool = True, **limits: Any) -> Store:
        """Return a store that is not yet open."""
        return open_store(self.kind.url, Stream(self.name, keys, Limits(**limits), forgets))


def draft(event: dict[str, Any], insert_id: str | None = None, keys: Keys = KEYS) -> Draft:
    """Return an event's draft."""
    return draft_event(event, insert_id, keys, LIMITS)


def numbered(numbers: Iterable[int], **more: Any) -> list[Draft]:
    """Return one draft for each number, which is its user."""
    return [draft({"user": number, **more}) for number in numbers]


def wanted(value: dict[str, Any]) -> Filter:
    """Return the filter of that JSON."""
    return parse_filter(value, KEYS, LIMITS)


def batch_id() -> str:
    """Return a batch id that no other has."""
    return secrets.token_urlsafe(12)


async def put(store: Store, *calls: Sequence[Draft]) -> list[list[Placed]]:
    """Append calls of which none may be refused."""
    verdicts = (await store.append(calls, batch_id())).verdicts
    assert all(isinstance(verdict, list) for verdict in verdicts), verdicts
    return [verdict for verdict in verdicts if isinstance(verdict, list)]


async def put_one(store: Store, **event: Any) -> Placed:
    """Append one event."""
    return (await put(store, [draft(event)]))[0][0]


async def read_all(
    store: Store, what: Filter = EVERYTHING, since: int | None = None
) -> list[Entry]:
    """Read forward to the head, whatever a single run may hold."""
    state = await store.state()
    at = state.floor - 1 if since is None else since
    entries: list[Entry] = []
    while at < state.head:
        run = await store.after(at, what, PLENTY)
        assert run.since == at
        assert run.upto > at
        entries += run.entries
        at = run.upto
    return entries


def places(entries: Iterable[Entry]) -> list[int]:
    """Return the places alone."""
    return [entry.seq for entry in entries]


class Followed:
    """What a tail has yielded, checked to be without gap and repeat, and its task."""

    def __init__(self, store: Store, since: int, state: LogState) -> None:
        self.runs: list[Run] = []
        self.entries: list[Entry] = []
        """What is valid: entries that a fork made void are taken off again."""
        self.turns: list[Run] = []
        """Runs that did not go on where the last one ended."""
        self._upto = since
        self._chain = state.chain
        self._news = asyncio.Event()
        self.tail = store.tail(since, state.chain)
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for run in self.tail:
            self._check(run)
            self.runs.append(run)
            self.entries = [entry for entry in self.entries if entry.seq <= run.since]
            self.entries += run.entries
            self._upto, self._chain = run.upto, run.state.chain
            self._news.set()

    def _check(self, run: Run) -> None:
        if run.since != self._upto or run.state.chain != self._chain:
            self.turns.append(run)
            assert run.state.chain != self._chain or run.since == run.state.floor - 1
        else:
            assert run.entries or run.since == run.upto
        assert len(run.entries) <= 1_000
        assert places(run.entries) == list(range(run.since + 1, run.upto + 1))
        assert run.state.head >= run.upto

    async def until(self, condition: Callable[[], bool], deadline: float = DEADLINE) -> None:
        """Wait until the condition holds."""
        async with asyncio.timeout(deadline):
            while not condition():
                if self.task.done():
                    self.task.result()
                self._news.clear()
                waiting = asyncio.create_task(self._news.wait())
                await asyncio.wait({waiting, self.task}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()

    async def reach(self, seq: int, deadline: float = DEADLINE) -> None:
        """Wait until the tail has come to a place."""
        await self.until(lambda: self._upto >= seq, deadline)


@asynccontextmanager
async def follow(store: Store, since: int | None = None) -> AsyncIterator[Followed]:
    """Follow a store's tail, from its head on if no place is given."""
    state = await store.state()
    followed = Followed(store, state.head if since is None else since, state)
    try:
        yield followed
    finally:
        followed.task.cancel()
        await asyncio.gather(followed.task, return_exceptions=True)
        await followed.tail.aclose()


async def eventually(condition: Callable[[], Any], deadline: float = DEADLINE) -> None:
    """Wait until what an async condition returns is true."""
    async with asyncio.timeout(deadline):
        while not await condition():
            await asyncio.sleep(0.01)


class Told(Observer):
    """What a tail has told, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def lost(self) -> None:
        self.told.append("lost")

    def found(self) -> None:
        self.told.append("found")

    def repaired(self) -> None:
        self.told.append("repaired")
