"""The contract of streamd.stores.base, held against every store."""

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamd.cursor import Chain
from streamd.errors import InvalidParams
from streamd.filters import EVERYTHING, Filter
from streamd.log import Entry
from streamd.stores.base import Bounds, Store
from tests.stores.model import Append, Model, ReadAfter, ReadNewest, actions
from tests.stores.worlds import (
    PLENTY,
    SHARED,
    Kind,
    Streams,
    batch_id,
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

# State.


async def test_a_new_log_is_empty(store: Store) -> None:
    state = await store.state()
    assert (state.head, state.floor, state.chain.closed) == (0, 1, ())
    assert (await store.newest(EVERYTHING, PLENTY)) == (state, [], None, False)
    assert (await store.after(0, EVERYTHING, PLENTY)) == (state, 0, [], 0)
    assert (await store.newest(wanted({"user": 1}), PLENTY)).entries == []


async def test_open_tells_the_state(kind: Kind) -> None:
    store = Streams(kind).new()
    opened = await store.open()
    try:
        assert opened == await store.state()
    finally:
        await store.aclose()


async def test_aclose_is_idempotent_and_open_may_have_failed_before(kind: Kind) -> None:
    store = Streams(kind).new()
    await store.aclose()
    store = Streams(kind).new()
    await store.open()
    await store.aclose()
    await store.aclose()


# Appending.


async def test_places_have_no_holes_and_times_never_decrease(store: Store) -> None:
    placed = [
        p
        for n in range(5)
        for call in await put(store, numbered([n, n]), numbered([n]))
        for p in call
    ]
    assert [p.seq for p in placed] == list(range(1, 16))
    assert not any(p.duplicate for p in placed)
    assert all(earlier.time <= later.time for earlier, later in pairwise(placed))
    entries = await read_all(store)
    assert [(e.seq, e.time) for e in entries] == [(p.seq, p.time) for p in placed]


async def test_times_do_not_go_back_though_the_clock_does(store: Store) -> None:
    ahead = int(time.time() * 1000) + 3_600_000
    before = draft({"user": 1})
    assert await store.upkeep().restore([Entry(1, ahead, before.terms, before.body)])
    ((placed,),) = await put(store, [draft({"user": 2})])
    assert (placed.seq, placed.time) == (2, ahead)


async def test_what_was_appended_is_read_as_it_was(store: Store) -> None:
    event = {
        "user": "Ünï:{}*\n\"' \u2028 x",
        "kind": True,
        "tags": ["b", "a", 1.5],
        "n": {"m": [None]},
    }
    sent = draft(event)
    await put(store, [sent])
    (entry,) = (await store.newest(EVERYTHING, PLENTY)).entries
    assert (entry.body, entry.terms) == (sent.body, sent.terms)
    for filter_json in ({"user": event["user"]}, {"kind": True}, {"tag": "a"}, {"tag": 1.5}):
        assert (await store.newest(wanted(filter_json), PLENTY)).entries == [entry]
        assert (await store.after(0, wanted(filter_json), PLENTY)).entries == [entry]


async def test_an_event_may_be_large_and_may_have_no_terms(store: Store) -> None:
    large = draft({"text": "x" * 65_000})
    await put(store, [large, large])
    assert [entry.body for entry in await read_all(store)] == [large.body] * 2


async def test_equal_events_are_different_entries(store: Store) -> None:
    await put(store, numbered([7, 7, 7]))
    assert places(await read_all(store, wanted({"user": 7}))) == [1, 2, 3]


async def test_values_of_different_keys_do_not_meet(store: Store) -> None:
    await put(store, [draft({"user": "a", "kind": "b"}), draft({"user": "b", "kind": "a"})])
    assert places(await read_all(store, wanted({"user": "a"}))) == [1]
    assert places(await read_all(store, wanted({"user": "meta"}))) == []


async def test_a_batch_of_two_thousand_with_many_terms_is_stored(store: Store) -> None:
    drafts = [
        draft({"user": n, "kind": n % 3, "tags": [n % 7, n]}, f"id-{n}") for n in range(2_500)
    ]
    (placed,) = await put(store, drafts)
    assert [p.seq for p in placed] == list(range(1, 2_501))
    assert len(await read_all(store, wanted({"kind": 1}))) == 833
    (again,) = await put(store, drafts)
    assert again == [p._replace(duplicate=True) for p in placed]


async def test_an_insert_id_is_stored_once(store: Store) -> None:
    first = (await put(store, [draft({"user": 1}, "a")]))[0][0]
    (again,), (other,) = await put(store, [draft({"user": 1}, "a")], [draft({"user": 1}, "b")])
    assert again == first._replace(duplicate=True)
    assert (other.seq, other.duplicate) == (2, False)
    assert (await store.state()).head == 2


async def test_an_insert_id_is_stored_once_within_a_batch_and_a_call(store: Store) -> None:
    one = draft({"user": 1}, "a")
    (first, second), (third,) = await put(store, [one, one], [one])
    assert (first.seq, first.duplicate) == (1, False)
    assert second == third == first._replace(duplicate=True)
    assert places(await read_all(store)) == [1]


async def test_an_insert_id_of_another_event_refuses_its_call_alone(store: Store) -> None:
    await put(store, [draft({"user": 1}, "a")])
    calls = [
        [draft({"user": 2}, "b")],
        [draft({"user": 3}, "c"), draft({"user": 4}, "a"), draft({"user": 5}, "d")],
        [draft({"user": 6}, "e")],
        [draft({"user": 7}, "e")],
        [draft({"user": 8}, "c"), draft({"user": 1}, "a")],
    ]
    before, refused, neighbour, too_late, after = (await store.append(calls, batch_id())).verdicts
    for verdict in (refused, too_late):
        assert isinstance(verdict, InvalidParams)
        assert verdict.data == {"reason": "id_reused"}
    assert isinstance(before, list)
    assert isinstance(neighbour, list)
    assert isinstance(after, list)
    assert [p.seq for p in (*before, *neighbour, *after)] == [2, 3, 4, 1]
    assert [p.duplicate for p in after] == [False, True]
    assert [e.terms for e in await read_all(store)] == [(f"user:{user}",) for user in (1, 2, 6, 8)]


async def test_an_insert_id_is_forgotten_after_its_lifetime(open_new: Callable[..., Any]) -> None:
    store = await open_new(insert_id_lifetime=0.3)
    assert (await put(store, [draft({"user": 1}, "a")]))[0][0].seq == 1
    assert (await put(store, [draft({"user": 1}, "a")]))[0][0].duplicate

    async def is_forgotten() -> bool:
        return not (await put(store, [draft({"user": 1}, "a")]))[0][0].duplicate

    await eventually(is_forgotten)
    assert (await put(store, [draft({"user": 1}, "a")]))[0][0] == (
        await put(store, [draft({"user": 1}, "a")])
    )[0][0]


async def test_a_repeated_batch_is_answered_and_not_stored_again(store: Store) -> None:
    await put(store, [draft({"user": 0}, "a")])
    calls = [
        [draft({"user": 1}), draft({"user": 0}, "a")],
        [draft({"user": 9}, "a")],
        [draft({"user": 2}, "b"), draft({"user": 2}, "b")],
    ]
    batch = batch_id()
    first = await store.append(calls, batch)
    await put_one(store, user=3)
    again = await store.append(calls, batch)
    assert again.chain == first.chain
    assert repr(again.verdicts) == repr(first.verdicts)
    assert places(await read_all(store)) == [1, 2, 3, 4]


async def test_racing_appends_are_one_order(store: Store) -> None:
    async def write(user: int) -> list[int]:
        return [(await put(store, numbered([user] * 3)))[0][0].seq for _ in range(10)]

    seqs = await asyncio.gather(*map(write, range(8)))
    entries = await read_all(store)
    assert places(entries) == list(range(1, 241))
    for user, mine in enumerate(seqs):
        assert mine == sorted(mine)
        assert places(e for e in entries if e.terms == (f"user:{user}",))[::3] == mine


# Reading backwards.


@pytest.fixture
async def thirty(store: Store) -> Store:
    """Thirty events: user n % 10, kind n % 2, tags n % 3 and `all`, for the place n."""
    drafts = [draft({"user": n % 10, "kind": n % 2, "tags": [n % 3, "all"]}) for n in range(1, 31)]
    await put(store, drafts)
    return store


@pytest.mark.parametrize(
    ("filter_json", "expected"),
    [
        ({}, range(30, 0, -1)),
        ({"user": []}, []),
        ({"user": 3}, [23, 13, 3]),
        ({"user": "3"}, [23, 13, 3]),
        ({"user": [3, 4, 99]}, [24, 23, 14, 13, 4, 3]),
        ({"user": [3, 4], "kind": 0}, [24, 14, 4]),
        ({"kind": 0, "user": 3}, []),
        ({"kind": [0, 1], "user": [0]}, [30, 20, 10]),
        ({"tag": ["all", 0, 1, 2]}, range(30, 0, -1)),
        ({"tag": [0], "kind": 1, "user": [3, 5, 7, 9]}, [27, 15, 9, 3]),
        ({"user": "nobody"}, []),
    ],
)
async def test_filters_select(thirty: Store, filter_json: dict[str, Any], expected: Any) -> None:
    what = wanted(filter_json)
    assert places((await thirty.newest(what, PLENTY)).entries) == list(expected)
    assert places((await thirty.after(0, what, PLENTY)).entries) == sorted(expected)


async def test_several_clauses_are_an_or(thirty: Store) -> None:
    what = Filter(
        (
            (frozenset({"user:3", "user:4"}), frozenset({"kind:0"})),
            (frozenset({"user:4"}), frozenset({"tag:0"})),
            (frozenset({"tag:0"}), frozenset({"user:3"})),
            (frozenset(), frozenset({"user:5"})),
        )
    )
    expected = [24, 14, 4, 3]
    assert places((await thirty.newest(what, PLENTY)).entries) == expected
    assert places((await thirty.after(0, what, PLENTY)).entries) == expected[::-1]


async def test_one_key_may_stand_in_a_clause_twice(thirty: Store) -> None:
    # As grants make it: one value is wanted, and another one granted.
    tags = frozenset({"tag:0", "tag:2"}), frozenset({"tag:all", "tag:1"}), frozenset({"tag:2", "tag:all"})  # fmt: skip
    never = frozenset({"tag:1"}), frozenset({"tag:2"})
    what = Filter((tags, never, (*tags, frozenset({"user:3"}), frozenset({"user:3", "user:9"}))))
    expected = [n for n in range(30, 0, -1) if n % 3 != 1]
    assert places((await thirty.newest(what, PLENTY)).entries) == expected
    assert places((await thirty.newest(what, PLENTY, 12)).entries) == [e for e in expected if e < 12]  # fmt: skip
    assert places((await thirty.after(0, what, PLENTY)).entries) == expected[::-1]
    assert places((await thirty.newest(Filter((never,)), PLENTY)).entries) == []


async def test_a_page_starts_before_a_place_and_skips(thirty: Store) -> None:
    what = wanted({"kind": 0})
    page = await thirty.newest(what, PLENTY._replace(limit=2, skip=1), 21)
    assert places(page.entries) == [18, 16]
    assert page.before == 16
    page = await thirty.newest(EVERYTHING, PLENTY._replace(limit=2, skip=3), 21)
    assert places(page.entries) == [17, 16]
    assert (await thirty.newest(what, PLENTY, 1)).entries == []
    assert (await thirty.newest(what, PLENTY, 1)).before is None
    assert places((await thirty.newest(what, PLENTY._replace(limit=1), 1_000)).entries) == [30]
    assert (await thirty.newest(EVERYTHING, PLENTY._replace(skip=50))).entries == []


@pytest.mark.parametrize("filter_json", [{}, {"kind": 1}, {"user": list(range(9)), "kind": [0, 1]}])
async def test_pages_join(thirty: Store, filter_json: dict[str, Any]) -> None:
    what = wanted(filter_json)
    whole = (await thirty.newest(what, PLENTY)).entries
    joined, before = [], None
    for _ in range(31):
        page = await thirty.newest(what, PLENTY._replace(limit=4), before)
        assert len(page.entries) <= 4
        assert not page.exhausted
        joined += page.entries
        before = page.before
        if before is None:
            break
        assert len(page.entries) == 4
    assert before is None
    assert joined == whole


async def test_work_is_bounded_and_goes_on(thirty: Store) -> None:
    what = wanted({"user": [1], "kind": [0]})  # One driving list of three, and nothing matches.
    page = await thirty.newest(what, PLENTY._replace(work=2))
    assert page.exhausted
    assert page.before is not None
    assert page.entries == []
    page = await thirty.newest(what, PLENTY._replace(work=2), page.before)
    assert (page.entries, page.before, page.exhausted) == ([], None, False)


async def test_size_is_bounded_but_for_the_first(thirty: Store) -> None:
    size = len(draft({"user": 1, "kind": 1, "tags": [1, "all"]}).body)
    for what in (EVERYTHING, wanted({"tag": "all"})):
        for allowed, expected in ((1, 1), (size, 1), (size * 2, 2), (size * 3 - 1, 2)):
            page = await thirty.newest(what, PLENTY._replace(size=allowed))
            assert len(page.entries) == expected
            assert page.before == 31 - expected
            assert not page.exhausted
            run = await thirty.after(0, what, PLENTY._replace(size=allowed))
            assert len(run.entries) == expected
            assert run.upto == expected


async def test_ten_thousand_values_are_one_filter(store: Store) -> None:
    await put(store, [draft({"user": n, "kind": n % 5}) for n in range(1_000)])
    what = wanted({"user": list(range(0, 19_998, 2))})
    page = await store.newest(what, PLENTY._replace(limit=20))
    assert places(page.entries) == list(range(999, 959, -2))
    narrower = wanted({"user": list(range(0, 19_998, 2)), "kind": 1})
    assert places((await store.newest(narrower, PLENTY._replace(limit=3))).entries) == [
        997,
        987,
        977,
    ]
    assert places((await store.after(0, narrower, PLENTY._replace(limit=3))).entries) == [7, 17, 27]
    assert len(await read_all(store, what)) == 500


async def test_deep_skips_and_much_work_are_right(store: Store) -> None:
    for start in range(0, 12_000, 2_000):
        await put(
            store, [draft({"user": n % 2, "kind": n % 3}) for n in range(start, start + 2_000)]
        )
    what = wanted({"user": 0, "kind": 0})  # Every sixth; places are one more than the numbers.
    expected = [n + 1 for n in range(11_999, -1, -1) if n % 6 == 0]
    page = await store.newest(what, PLENTY._replace(limit=20, skip=1_500))
    assert places(page.entries) == expected[1_500:1_520]
    assert places(await read_all(store, what)) == expected[::-1]
    plain = await store.newest(wanted({"user": 1}), PLENTY._replace(limit=20, skip=5_900))
    assert places(plain.entries) == list(range(12_000, 0, -2))[5_900:5_920]
    nothing = await store.newest(wanted({"user": 0, "kind": "none"}), PLENTY)
    assert (nothing.entries, nothing.before) == ([], None)


# Reading forwards.


async def test_a_run_tells_how_far_it_is_complete(thirty: Store) -> None:
    what = wanted({"user": 3})
    run = await thirty.after(3, what, PLENTY._replace(limit=1))
    assert (places(run.entries), run.since, run.upto) == ([13], 3, 13)
    run = await thirty.after(23, what, PLENTY)
    assert (run.entries, run.upto) == ([], 30)
    run = await thirty.after(30, what, PLENTY)
    assert (run.entries, run.upto) == ([], 30)
    run = await thirty.after(3, Filter(()), PLENTY)
    assert (run.entries, run.upto) == ([], 30)


async def test_a_place_beyond_the_head_gives_an_empty_run(thirty: Store) -> None:
    for what in (EVERYTHING, wanted({"user": 3}), Filter(())):
        run = await thirty.after(31, what, PLENTY)
        assert (run.since, run.upto, run.entries, run.state.head) == (31, 31, [], 30)


async def test_work_bounds_a_run_which_still_moves(thirty: Store) -> None:
    what = wanted({"user": 1, "kind": 0})
    at, steps = 0, 0
    while at < 30:
        run = await thirty.after(at, what, PLENTY._replace(work=1))
        assert run.entries == []
        assert run.upto > at
        at = run.upto
        steps += 1
    assert steps >= 3


# The tail.


async def test_a_tail_brings_everything_in_order(store: Store) -> None:
    await put(store, numbered(range(5)))
    async with follow(store, 0) as all_of_it, follow(store, 3) as some, follow(store) as news:
        for n in range(20):
            await put(store, numbered([n] * (n + 1)))
        head = (await store.state()).head
        for followed, since in ((all_of_it, 0), (some, 3), (news, 5)):
            await followed.reach(head)
            assert followed.entries == await read_all(store, since=since)
            assert not followed.turns


async def test_runs_of_a_tail_are_bounded(store: Store) -> None:
    await put(store, numbered(range(2_200)))
    await put(store, [draft({"text": "x" * 60_000}) for _ in range(40)])
    async with follow(store, 0) as followed:
        await followed.reach(2_240)
        await put(store, [draft({"text": "x" * 60_000}) for _ in range(40)])
        await followed.reach(2_280)
        assert len(followed.runs) >= 7
        for run in followed.runs:
            assert sum(len(entry.body) for entry in run.entries) <= (1 << 20)


async def test_a_tail_that_nobody_reads_holds_up_nobody(store: Store) -> None:
    tail = store.tail(0, (await store.state()).chain)
    await put(store, numbered([1]))
    assert places((await anext(tail)).entries) == [1]
    for n in range(50):
        await put(store, numbered([n] * 100))
    at = 1
    while at < 5_001:
        run = await anext(tail)
        assert run.since == at
        at = run.upto
    await tail.aclose()


async def test_a_tail_of_an_unknown_chain_starts_over(store: Store) -> None:
    await put(store, numbered(range(3)))
    tail = store.tail(2, Chain("unknown0"))
    run = await anext(tail)
    assert (run.since, places(run.entries)) == (0, [1, 2, 3])
    assert run.state.chain == (await store.state()).chain
    await tail.aclose()


async def test_a_quiet_tail_gives_signs_of_life(store: Store) -> None:
    await put(store, numbered(range(3)))
    async with follow(store, 0) as followed:
        await followed.reach(3)

        def lives() -> bool:
            return sum(run.since == run.upto == 3 for run in followed.runs) >= 2

        await followed.until(lives)
        assert not followed.turns


# Retention.


async def test_max_events_raises_the_floor(open_new: Callable[..., Any]) -> None:
    store = await open_new(max_events=10)
    await put(store, [draft({"user": n, "kind": 1}) for n in range(25)])
    state = await store.state()
    assert (state.head, state.floor) == (25, 16)
    for what in (EVERYTHING, wanted({"kind": 1})):
        page = await store.newest(what, PLENTY)
        assert places(page.entries) == list(range(25, 15, -1))
        assert page.before is None
        assert places((await store.after(15, what, PLENTY)).entries) == list(range(16, 26))
        expired = await store.after(14, what, PLENTY)
        assert (expired.since, expired.upto, expired.entries) == (14, 14, [])
        assert expired.state.floor == 16
        assert (await store.newest(what, PLENTY, 12)).entries == []
        assert (await store.newest(what, PLENTY, 12)).before is None
    assert (await store.newest(wanted({"user": 3}), PLENTY)).entries == []


async def test_max_age_raises_the_floor(open_new: Callable[..., Any]) -> None:
    store = await open_new(max_age=0.4)
    await put(store, numbered(range(5)))
    assert places(await read_all(store)) == [1, 2, 3, 4, 5]

    async def is_empty() -> bool:
        return (await store.state()).floor == 6

    await eventually(is_empty)
    assert (await store.newest(EVERYTHING, PLENTY)).entries == []
    assert (await store.newest(wanted({"user": 1}), PLENTY)).entries == []
    assert (await store.after(5, EVERYTHING, PLENTY)).upto == 5
    assert (await put_one(store, user=9)).seq == 6
    assert places(await read_all(store)) == [6]


async def test_a_tail_overtaken_by_retention_goes_on_at_the_floor(
    open_new: Callable[..., Any],
) -> None:
    store = await open_new(max_events=10)
    await put(store, numbered(range(5)))
    tail = store.tail(0, (await store.state()).chain)
    assert (await anext(tail)).upto == 5
    for _ in range(10):
        await put(store, numbered(range(50)))
    run = await anext(tail)
    turned = False
    while run.upto < 505:
        turned = turned or run.since == run.state.floor - 1
        run = await anext(tail)
    assert run.upto == 505
    await tail.aclose()


# Several stores on one stream.


@pytest.mark.parametrize("kind", SHARED, indirect=True)
async def test_stores_on_one_stream_see_one_log(open_new: Callable[..., Any]) -> None:
    one, other = await open_new(), await open_new()
    async with follow(one) as first, follow(other) as second:
        for n in range(20):
            placed = await put_one((one, other)[n % 2], user=n)
            assert (await (other, one)[n % 2].state()).head == placed.seq
            page = await (other, one)[n % 2].newest(wanted({"user": n}), PLENTY)
            assert places(page.entries) == [placed.seq]
        await first.reach(20)
        await second.reach(20)
        assert first.entries == second.entries == await read_all(one)


@pytest.mark.parametrize("kind", SHARED, indirect=True)
async def test_one_id_from_two_stores_is_one_entry(open_new: Callable[..., Any]) -> None:
    stores = [await open_new(), await open_new()]
    race = [put(store, [draft({"user": n}, f"id-{n}")]) for n in range(20) for store in stores]
    placed = [calls[0][0] for calls in await asyncio.gather(*race)]
    assert sorted(p.seq for p in placed) == sorted([*range(1, 21), *range(1, 21)])
    assert sum(p.duplicate for p in placed) == 20
    assert len(await read_all(stores[0])) == 20


# Concurrency.


async def test_pages_do_not_shift_while_a_writer_runs(store: Store) -> None:
    await put(store, [draft({"user": n % 3}) for n in range(300)])
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            await put(store, [draft({"user": n % 3}) for n in range(30)])
            await asyncio.sleep(0)  # The memory store would never let go of the loop.

    writer = asyncio.create_task(write())
    try:
        for what in (EVERYTHING, wanted({"user": [0, 1]})):
            found, before = [], None
            page = await store.newest(what, PLENTY._replace(limit=7))
            head = page.state.head
            while True:
                found += page.entries
                before = page.before
                if before is None:
                    break
                page = await store.newest(what, PLENTY._replace(limit=7), before)
                await asyncio.sleep(0)
            everything = await read_all(store, what)
            assert places(found) == [s for s in reversed(places(everything)) if s <= head]
    finally:
        stop.set()
        await writer


async def test_cancelled_calls_leave_the_store_usable(store: Store) -> None:
    await put(store, numbered(range(50)))
    what = wanted({"user": list(range(50))})
    for delay in range(40):
        calls = [
            asyncio.create_task(store.newest(what, PLENTY)),
            asyncio.create_task(store.after(0, EVERYTHING, PLENTY)),
            asyncio.create_task(store.state()),
            asyncio.create_task(put(store, numbered([delay]))),
        ]
        await asyncio.sleep(delay / 20_000)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    page = await store.newest(what, Bounds(5, 1_000, 1 << 20))
    # An append that nobody waits for any more may come through meanwhile.
    entries = [entry for entry in await read_all(store) if entry.seq <= page.state.head]
    assert places(entries) == list(range(1, page.state.head + 1))
    assert page.entries == entries[:-6:-1]


async def test_a_cancelled_tail_can_be_followed_again(store: Store) -> None:
    for n in range(5):
        async with follow(store) as followed:
            placed = await put_one(store, user=n)
            await followed.reach(placed.seq)


# All of it at once.


@settings(
    max_examples=60,
    deadline=None,
    # The fixture only says which kind of store it is; each example has a stream of its own.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(done=actions, most=st.sampled_from([None, None, 7]))
def test_a_store_is_a_list(kind: Kind, done: list[Any], most: int | None) -> None:
    async def act(store: Store, model: Model, action: Any) -> None:
        match action:
            case Append(calls=calls, repeat=repeat):
                batch = batch_id()
                appended = await store.append(calls, batch)
                action.check(model, appended.verdicts)
                if repeat:
                    assert repr(await store.append(calls, batch)) == repr(appended)
            case ReadNewest():
                action.check(model, await store.newest(action.wanted, action.bounds, action.before))
            case ReadAfter():
                action.check(model, await store.after(action.since, action.wanted, action.bounds))

    async def run() -> None:
        model = Model(most=most)
        async with Streams(kind).new(max_events=most) as store:
            async with follow(store, 0) as followed:
                for action in done:
                    await act(store, model, action)
                await followed.reach(len(model.drafts))
                assert [entry.body for entry in followed.entries[-7:]] == [
                    draft.body for draft in model.drafts[-7:]
                ]

    asyncio.run(run())
