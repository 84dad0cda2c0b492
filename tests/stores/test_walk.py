"""streamd.walk: the log as it was when the walk began, whatever happens meanwhile."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from streamd.cursor import Chain
from streamd.errors import CallError, StoreUnavailable, UnknownOutcome, UpkeepError
from streamd.filters import EVERYTHING, Filter
from streamd.limits import Limits
from streamd.log import Entry, LogState, Run
from streamd.stores.base import Bounds, Store, Stream
from streamd.stores.memory import MemoryStore
from streamd.walk import Patience, Walk
from tests.stores.worlds import KEYS, LIMITS, draft, numbered, places, put, read_all, wanted


def patience(seconds: float = 5.0) -> Patience:
    return Patience(seconds, lambda error: None, pause=0.01)


async def walked(store: Store, what: Filter = EVERYTHING) -> list[Entry]:
    return [entry async for run in Walk(store, what, patience()).runs() for entry in run.entries]


# The way.


async def test_all_that_is_there_at_the_beginning_is_read(store: Store) -> None:
    await put(store, [draft({"user": n % 3, "text": "x" * 9_000}) for n in range(2_500)])
    before = await read_all(store)
    walk = Walk(store, EVERYTHING, patience())
    entries: list[Entry] = []
    at = 0
    async for run in walk.runs():
        assert run.since == at
        assert walk.done == run.upto
        assert walk.total == 2_500
        entries += run.entries
        at = run.upto
        await put(store, numbered([0, 1]))
    assert entries == before
    assert walk.overtaken == 0


async def test_a_filter_selects(store: Store) -> None:
    await put(store, [draft({"user": n % 500, "kind": n % 2}) for n in range(2_000)])
    what = wanted({"user": [3, 250], "kind": 1})
    assert places(await walked(store, what)) == [4, 504, 1_004, 1_504]
    assert await walked(store, wanted({"user": "nobody"})) == []


async def test_an_empty_log_is_no_way(store: Store) -> None:
    walk = Walk(store, EVERYTHING, patience())
    assert [run async for run in walk.runs()] == []
    assert (walk.done, walk.total) == (0, 0)


async def test_the_way_begins_at_the_floor(open_new: Callable[..., Any]) -> None:
    store = await open_new(max_events=7)
    await put(store, numbered(range(20)))
    assert places(await walked(store)) == list(range(14, 21))


async def test_what_retention_takes_first_is_left_out(open_new: Callable[..., Any]) -> None:
    store = await open_new(max_events=3_000)
    await put(store, numbered(range(3_000)))
    walk = Walk(store, EVERYTHING, patience())
    seen: list[int] = []
    async for run in walk.runs():
        seen += places(run.entries)
        if run.upto == 1_000:
            await put(store, numbered(range(1_500)))
    assert seen == [*range(1, 1_001), *range(1_501, 3_001)]
    assert walk.overtaken == 500
    assert walk.done == walk.total == 3_000


async def test_a_way_that_retention_takes_whole_ends(open_new: Callable[..., Any]) -> None:
    store = await open_new(max_events=1_500)
    await put(store, numbered(range(1_500)))
    walk = Walk(store, EVERYTHING, patience())
    seen: list[int] = []
    async for run in walk.runs():
        seen += places(run.entries)
        await put(store, numbered(range(1_500)))
    assert seen == list(range(1, 1_001))
    assert walk.overtaken == 500


class Busy(MemoryStore):
    """A memory store that forgets something before each read."""

    async def after(self, since: int, wanted: Filter, bounds: Bounds) -> Run:
        await put(self, numbered(range(100)))
        return await super().after(since, wanted, bounds)


async def test_a_walk_comes_through_a_log_that_is_forgotten_all_the_time() -> None:
    store = Busy("memory:", Stream("s", KEYS, Limits(max_events=5_000)))
    await put(store, numbered(range(5_000)))
    walk = Walk(store, EVERYTHING, patience())
    seen = [entry.seq async for run in walk.runs() for entry in run.entries]
    assert len(seen) > 4_000
    assert seen == list(range(seen[0], 5_001))
    assert walk.overtaken == seen[0] - 1


# A log that is replaced.


def forked(store: MemoryStore, last: int) -> None:
    """Let a store's log be the same only up to a place."""
    store._chain = Chain("B" * 8, ((store._chain.epoch, last),))


async def in_memory() -> MemoryStore:
    store = MemoryStore("memory:", Stream("s", KEYS, LIMITS))
    await put(store, numbered(range(3_000)))
    return store


async def test_a_new_epoch_behind_the_last_place_is_no_loss() -> None:
    store = await in_memory()
    seen: list[int] = []
    async for run in Walk(store, EVERYTHING, patience()).runs():
        seen += places(run.entries)
        forked(store, 3_000)
    assert seen == list(range(1, 3_001))


async def test_a_log_that_lost_its_newest_places_is_read_up_to_these() -> None:
    store = await in_memory()
    walk = Walk(store, EVERYTHING, patience())
    seen: list[int] = []
    async for run in walk.runs():
        seen += places(run.entries)
        forked(store, 1_700)
    assert seen == list(range(1, 1_701))


@pytest.mark.parametrize("chain", [Chain("C" * 8), None])
async def test_a_log_that_lost_places_which_were_read_ends_the_walk(chain: Chain | None) -> None:
    store = await in_memory()
    seen: list[int] = []
    with pytest.raises(UpkeepError, match="begin again"):  # noqa: PT012 - it begins well
        async for run in Walk(store, EVERYTHING, patience()).runs():
            seen += places(run.entries)
            if chain:
                store._chain = chain
            else:
                forked(store, 900)
    assert seen == list(range(1, 1_001))


# Patience.


class Away(MemoryStore):
    """A memory store that is away for some calls."""

    def __init__(self, calls: int) -> None:
        super().__init__("memory:", Stream("s", KEYS, LIMITS))
        self.left = calls

    async def _come(self) -> None:
        self.left -= 1
        if self.left >= 0:
            raise StoreUnavailable("it is away")

    async def state(self) -> LogState:
        await self._come()
        return await super().state()

    async def after(self, since: int, wanted: Filter, bounds: Bounds) -> Run:
        await self._come()
        return await super().after(since, wanted, bounds)


async def test_a_store_that_is_away_is_waited_for_and_told_of_once_a_time() -> None:
    store = Away(0)
    await put(store, numbered(range(1_500)))
    told: list[CallError] = []
    walk = Walk(store, EVERYTHING, Patience(5.0, told.append, pause=0.001))
    store.left = 3
    seen: list[int] = []
    async for run in walk.runs():
        seen += places(run.entries)
        store.left = 4
    assert seen == list(range(1, 1_501))
    assert [error.message for error in told] == ["it is away"] * 2


async def test_patience_ends() -> None:
    store = Away(1_000_000)
    clock = asyncio.get_running_loop().time
    started = clock()
    with pytest.raises(StoreUnavailable, match="it is away"):
        await Patience(0.2, lambda error: None, pause=0.01)(store.state)
    assert 0.2 <= clock() - started < 2


@pytest.mark.parametrize(
    ("error", "attempts"),
    [(StoreUnavailable(), 2), (UnknownOutcome(), 2), (UpkeepError("no"), 1), (ValueError(), 1)],
)
async def test_only_what_passes_is_waited_for(error: Exception, attempts: int) -> None:
    made = 0

    async def call() -> str:
        nonlocal made
        made += 1
        if made == 1:
            raise error
        return "done"

    if attempts == 1:
        with pytest.raises(type(error)):
            await patience()(call)
    else:
        assert await patience()(call) == "done"
    assert made == attempts
