"""The contract of streamd.stores.base.Upkeep, held against every store."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from streamd.errors import StartupError
from streamd.event import Keys
from streamd.filters import EVERYTHING
from streamd.log import Draft, Entry
from streamd.stores.base import Posting, Store
from tests.stores.tampering import Tampering, tamper_with
from tests.stores.worlds import (
    KEYS,
    PLENTY,
    SHARED,
    Kind,
    Streams,
    draft,
    eventually,
    follow,
    numbered,
    places,
    put,
    put_one,
    read_all,
    wanted,
)

TIME = 1_442_016_000_000
"""A time long past, in which entries that are moved may be from."""


def entries_of(drafts: Sequence[Draft], first: int = 1, time: int = TIME) -> list[Entry]:
    """Return entries as another store may have had them."""
    return [
        Entry(first + number, time + 10 * number, each.terms, each.body)
        for number, each in enumerate(drafts)
    ]


async def index_of(store: Store) -> list[Posting]:
    """Return the whole index."""
    found: set[Posting] = set()
    async for some in store.upkeep().postings():
        assert 1 <= len(some) <= 1_000
        found.update(some)
    return sorted(found)


def postings_of(entries: Sequence[Entry]) -> list[Posting]:
    """Return the index that entries must have."""
    return sorted(Posting(term, entry.seq) for entry in entries for term in entry.terms)


# Restoring.


async def test_restored_entries_keep_place_time_and_text(store: Store) -> None:
    odd = {"user": "Ünï:{}*\n\"' \u2028 x", "kind": True, "tags": ["b", 1.5], "n": [None]}
    given = entries_of([draft(odd), *numbered([1, 2, 1], tags=["x", "y"]), draft({"none": 0})])
    assert await store.upkeep().restore(given)
    assert await read_all(store) == given
    assert (await store.newest(EVERYTHING, PLENTY)).entries == given[::-1]
    assert places(await read_all(store, wanted({"user": 1}))) == [2, 4]
    assert places(await read_all(store, wanted({"user": odd["user"], "tag": 1.5}))) == [1]
    state = await store.state()
    assert (state.head, state.floor) == (5, 1)
    assert await index_of(store) == postings_of(given)


async def test_restoring_goes_on_behind_the_head_and_appending_behind_that(store: Store) -> None:
    upkeep = store.upkeep()
    first, second = entries_of(numbered(range(10))), entries_of(numbered(range(7)), 11, TIME + 90)
    assert await upkeep.restore(first)
    assert await upkeep.restore(second)
    placed = await put_one(store, user=1)
    assert placed.seq == 18
    assert placed.time > second[-1].time
    later = entries_of(numbered([1]), 19, placed.time)
    assert await upkeep.restore(later)
    assert places(await read_all(store, wanted({"user": 1}))) == [2, 12, 18, 19]


async def test_a_time_to_come_is_kept_and_later_ones_are_no_less(store: Store) -> None:
    future = (await put_one(store, user=1)).time + 3_600_000
    assert await store.upkeep().restore(entries_of(numbered([2]), 2, future))
    assert (await put_one(store, user=3)).time == future
    times = [entry.time for entry in await read_all(store)]
    assert all(earlier <= later for earlier, later in pairwise(times))


@pytest.mark.parametrize("first", [1, 3, 4, 6, 7])
async def test_what_does_not_belong_behind_the_head_is_not_stored(store: Store, first: int) -> None:
    there = entries_of(numbered(range(4)))
    assert await store.upkeep().restore(there)
    assert not await store.upkeep().restore(entries_of(numbered([7, 8]), first, TIME + 100))
    assert await read_all(store) == there
    assert await index_of(store) == postings_of(there)


async def test_what_is_older_than_the_head_is_not_stored(store: Store) -> None:
    placed = await put_one(store, user=1)
    assert not await store.upkeep().restore(entries_of(numbered([2]), 2, placed.time - 1))
    assert (await store.state()).head == 1
    assert await store.upkeep().restore(entries_of(numbered([2]), 2, placed.time))


async def test_what_was_restored_may_be_restored_again(store: Store) -> None:
    upkeep = store.upkeep()
    given = entries_of(numbered(range(6)))
    for _ in range(2):
        assert await upkeep.restore(given[:3])
    assert await upkeep.restore(given[3:])
    assert await upkeep.restore(given[:3])
    assert await read_all(store) == given
    assert await index_of(store) == postings_of(given)


@pytest.mark.parametrize(
    "other",
    [
        Entry(3, TIME + 21, ("user:2",), b'{"user":2}'),
        Entry(3, TIME + 20, ("user:3",), b'{"user":2}'),
        Entry(3, TIME + 20, ("user:2",), b'{"user":2,"x":1}'),
    ],
)
async def test_what_is_not_to_the_letter_was_not_restored_before(
    store: Store, other: Entry
) -> None:
    given = entries_of(numbered(range(3)))
    assert await store.upkeep().restore(given)
    assert not await store.upkeep().restore([*given[:2], other])
    assert await read_all(store) == given


async def test_a_thousand_entries_of_many_terms_are_restored(store: Store) -> None:
    pad = "x" * 7_000
    drafts = [
        draft({"user": n, "kind": n % 3, "tags": [n % 7, n, "all"], "pad": pad})
        for n in range(1_000)
    ]
    given = entries_of(drafts)
    assert await store.upkeep().restore(given)
    assert await read_all(store) == given
    assert len(await read_all(store, wanted({"kind": 1, "tag": "all"}))) == 333
    assert await index_of(store) == postings_of(given)


async def test_restored_entries_come_through_the_tail(store: Store) -> None:
    async with follow(store) as followed:
        for first in range(1, 50, 10):
            given = entries_of(numbered(range(10), pad="x" * 40_000), first, TIME + 1_000 * first)
            assert await store.upkeep().restore(given)
        await followed.reach(50)
        assert followed.entries == await read_all(store)
        assert not followed.turns


async def test_restoring_raises_the_floor(open_new: Callable[..., Any]) -> None:
    store = await open_new(max_events=4)
    given = entries_of(numbered(range(10)))
    assert await store.upkeep().restore(given)
    assert (await store.state()).floor == 7
    assert await read_all(store) == given[6:]


async def test_of_racing_writers_each_place_has_one(store: Store) -> None:
    stored: list[int] = []
    time = (await put_one(store, user=0)).time + 3_600_000

    async def append() -> None:
        for _ in range(20):
            await put_one(store, user=1)

    async def restore() -> None:
        for _ in range(40):
            first = (await store.state()).head + 1
            if await store.upkeep().restore(entries_of(numbered([2, 2]), first, time)):
                stored.append(first)

    await asyncio.gather(append(), restore(), restore())
    entries = await read_all(store)
    assert places(entries) == list(range(1, 22 + 2 * len(set(stored))))
    assert places(await read_all(store, wanted({"user": 2})))[::2] == sorted(set(stored))
    assert await index_of(store) == postings_of(entries)


# Checking.


@pytest.fixture
async def tampering(store: Store) -> Tampering:
    """The means to tamper with a store of 30 events: user n % 10, tags n % 3 and `all`, at the place n."""
    drafts = [draft({"user": n % 10, "tags": [n % 3, "all"]}) for n in range(1, 31)]
    await put(store, drafts)
    return tamper_with(store)


async def test_some_places_are_read(open_new: Callable[..., Any]) -> None:
    store = await open_new(max_events=10)
    await put(store, numbered(range(20)))
    await tamper_with(store).erase(15)
    found = await store.upkeep().read([20, 3, 12, 10, 11, 15, 21, 4_000])
    assert found == [entry for entry in await read_all(store) if entry.seq in (11, 12, 20)]
    assert await store.upkeep().read([]) == []
    assert len(await store.upkeep().read(range(1, 1_001))) == 9


async def test_a_sound_index_lacks_nothing(store: Store, tampering: Tampering) -> None:
    del tampering
    entries = await read_all(store)
    assert await store.upkeep().missing(entries) == []
    assert await index_of(store) == postings_of(entries)
    assert await store.upkeep().missing([]) == []


async def test_what_the_index_lacks_is_found(store: Store, tampering: Tampering) -> None:
    gone = [
        Posting("tag:all", 7),
        Posting("tag:all", 30),
        Posting("user:1", 1),
        Posting("tag:1", 7),
    ]
    await tampering.unpost(gone)
    assert sorted(await store.upkeep().missing(await read_all(store))) == sorted(gone)
    (twelfth,) = await store.upkeep().read([12])
    assert await store.upkeep().missing([twelfth]) == []


async def test_many_terms_are_looked_up(store: Store) -> None:
    drafts = [draft({"user": n, "tags": [f"{n}-{tag}" for tag in range(20)]}) for n in range(500)]
    await put(store, drafts)
    gone = [Posting("user:499", 500), Posting("tag:250-19", 251)]
    await tamper_with(store).unpost(gone)
    entries = await read_all(store)
    assert sorted(await store.upkeep().missing(entries)) == sorted(gone)
    assert await index_of(store) == sorted(set(postings_of(entries)) - set(gone))


async def test_what_the_index_has_too_much_is_among_its_postings(
    store: Store, tampering: Tampering
) -> None:
    surplus = [Posting("user:5", 4), Posting("user:never", 4), Posting("tag:all", 31)]
    await tampering.post(surplus)
    right = postings_of(await read_all(store))
    assert await index_of(store) == sorted([*right, *surplus])


async def test_the_index_of_one_stream_is_not_that_of_another(kind: Kind) -> None:
    name = Streams(kind).name
    async with Streams(kind, f"{name}*").new() as ours, Streams(kind, f"{name}b").new() as theirs:
        await put_one(theirs, user=1)
        await put_one(ours, user=2)
        assert await index_of(ours) == [Posting("user:2", 1)]


async def test_a_long_list_is_read_whole_while_it_grows(store: Store) -> None:
    await put(store, numbered(range(2_500), kind="same"))
    found: set[Posting] = set()
    async for some in store.upkeep().postings():
        found.update(some)
        await put(store, numbered([0, 1], kind="same"))
    assert found >= {Posting("kind:same", seq) for seq in range(1, 2_501)}
    assert found >= {Posting(f"user:{user}", user + 1) for user in range(2_500)}


# Mending.


async def test_mending_makes_the_index_agree_with_the_log(
    store: Store, tampering: Tampering
) -> None:
    right = postings_of(await read_all(store))
    gone = [Posting("tag:all", 7), Posting("user:1", 1)]
    surplus = [Posting("user:5", 4), Posting("user:never", 4), Posting("tag:all", 31)]
    await tampering.unpost(gone)
    await tampering.post(surplus)
    for _ in range(2):
        await store.upkeep().mend([*gone, *surplus, Posting("user:2", 2), Posting("x:y", 9)])
        assert await index_of(store) == right
    await store.upkeep().mend([])
    assert places(await read_all(store, wanted({"user": 1}))) == [1, 11, 21]


async def test_mending_trusts_the_log_alone(store: Store, tampering: Tampering) -> None:
    await tampering.erase(7)
    wrong = Posting("user:not:7", 8)
    await tampering.write((await store.upkeep().read([8]))[0]._replace(terms=("user:not:7",)))
    await store.upkeep().mend([Posting("tag:all", 7), Posting("tag:all", 8), wrong])
    assert places(await read_all(store, wanted({"tag": "all"})))[:8] == [1, 2, 3, 4, 5, 6, 9, 10]
    assert wrong in await index_of(store)


async def test_a_thousand_postings_are_mended_at_once(store: Store) -> None:
    await put(store, [draft({"user": n, "kind": "k"}) for n in range(500)])
    right = postings_of(await read_all(store))
    await tamper_with(store).unpost(right)
    assert await index_of(store) == []
    await store.upkeep().mend(right)
    assert await index_of(store) == right


# Keys.


@pytest.mark.parametrize("kind", SHARED, indirect=True)
async def test_a_stream_is_opened_with_the_keys_that_it_has(open_new: Callable[..., Any]) -> None:
    first = await open_new()
    assert first.upkeep().keys == KEYS
    await put_one(first, user=1)
    second = await open_new(keys=Keys())
    assert second.upkeep().keys == KEYS
    assert await read_all(second) == await read_all(first)


async def test_a_stream_that_is_not_there_is_not_created_without_keys(kind: Kind) -> None:
    streams = Streams(kind)
    for _ in range(2):
        store = streams.new(keys=Keys())
        with pytest.raises(StartupError, match="there is no stream 't-"):
            await store.open()
        await store.aclose()
    async with streams.new(keys=Keys.parse("other")) as store:
        assert store.upkeep().keys == Keys.parse("other")


# With others.


@pytest.mark.parametrize("kind", SHARED, indirect=True)
async def test_a_tool_forgets_nothing(open_new: Callable[..., Any]) -> None:
    store = await open_new(forgets=False, max_age=0.1, insert_id_lifetime=0.2)
    first = await put_one(store, user=1)
    (once,) = await put(store, [draft({"user": 2}, "id")])
    assert once[0].seq == 2

    async def is_later() -> bool:
        return (await put_one(store, user=3)).time > first.time + 1_500

    await eventually(is_later)
    assert (await store.state()).floor == 1
    assert (await store.upkeep().read([1]))[0].time == first.time


@pytest.mark.parametrize("kind", SHARED, indirect=True)
async def test_what_a_tool_restores_comes_through_a_servers_tail(
    open_new: Callable[..., Any],
) -> None:
    server, tool = await open_new(), await open_new(keys=Keys())
    async with follow(server) as followed:
        given = entries_of(numbered(range(100)))
        assert await tool.upkeep().restore(given)
        await followed.reach(100)
        assert followed.entries == given
    placed = await put_one(server, user=1)
    assert placed.seq == 101
    assert await index_of(tool) == postings_of(await read_all(server))
