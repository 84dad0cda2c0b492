"""streamd.view: the window in front of the store, and reads that are never older than they may be."""

import asyncio

import pytest

from streamd.cursor import Chain, Cursor
from streamd.errors import PlaceLost, StoreUnavailable
from streamd.filters import EVERYTHING
from streamd.limits import Limits
from streamd.log import LogState, Run
from streamd.stores.base import Bounds
from streamd.view import SharedRead, View
from tests.parts import PLENTY, ScriptedStore, draft, memory, turns, wanted

OLD, NEW = Chain("aaaaaaaa"), Chain("bbbbbbbb", (("aaaaaaaa", 3),))


# Shared reads.


class Source:
    """Something to read: each read waits until it is let go, and says its number."""

    def __init__(self) -> None:
        self.begun = 0
        self.waiting: list[asyncio.Future[int]] = []

    async def read(self) -> int:
        self.begun += 1
        self.waiting.append(asyncio.get_running_loop().create_future())
        return await self.waiting[-1]

    def answer(self) -> None:
        self.waiting[-1].set_result(self.begun)


async def test_those_who_ask_before_it_is_sent_share_a_read() -> None:
    source = Source()
    shared = SharedRead(source.read)
    asked = [asyncio.create_task(shared()) for _ in range(5)]
    await turns()
    assert source.begun == 1
    source.answer()
    assert await asyncio.gather(*asked) == [1] * 5


async def test_who_comes_while_one_is_under_way_shares_the_next() -> None:
    source = Source()
    shared = SharedRead(source.read)
    first = asyncio.create_task(shared())
    await turns()
    later = [asyncio.create_task(shared()) for _ in range(3)]
    await turns()
    assert source.begun == 1
    source.answer()
    assert await first == 1
    await turns()
    assert source.begun == 2
    assert not any(task.done() for task in later)
    source.answer()
    assert await asyncio.gather(*later) == [2] * 3


async def test_one_who_gives_up_takes_nothing_from_the_others() -> None:
    source = Source()
    shared = SharedRead(source.read)
    one, other = (asyncio.create_task(shared()) for _ in range(2))
    await turns()
    one.cancel()
    await turns()
    source.answer()
    assert await other == 1


async def test_a_read_that_fails_fails_those_who_asked_for_it_and_no_later_one() -> None:
    source = Source()
    shared = SharedRead(source.read)
    first = asyncio.create_task(shared())
    await turns()
    second = asyncio.create_task(shared())
    await turns()
    source.waiting[-1].set_exception(StoreUnavailable())
    with pytest.raises(StoreUnavailable):
        await first
    await turns()
    source.answer()
    assert await second == 2


async def test_closing_refuses_those_who_wait_for_this_read_and_for_the_next() -> None:
    shared = SharedRead(Source().read)
    first = asyncio.create_task(shared())
    await turns()
    second = asyncio.create_task(shared())
    await turns()
    await shared.aclose()
    for task in (first, second):
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(task, 1)


# Loading.


async def filled(number: int, **limits: object) -> tuple[ScriptedStore, View]:
    store = ScriptedStore(OLD, [])
    store.add(*[{"user": user} for user in range(1, number + 1)])
    view = View(store, Limits(**limits))  # type: ignore[arg-type]
    await view.load()
    return store, view


async def test_the_window_is_filled_with_the_newest() -> None:
    _, view = await filled(2_500, window=1_200)
    assert view.position == 2_500
    assert (view.window.low, len(view.window)) == (1_301, 1_200)
    assert view.floor == 1


async def test_an_empty_store_gives_an_empty_view() -> None:
    _, view = await filled(0)
    assert (view.position, view.floor, len(view.window)) == (0, 1, 0)
    assert view.state == LogState(OLD, 0, 1)


async def test_a_store_that_retains_nothing_gives_an_empty_view_at_its_head() -> None:
    store = ScriptedStore(OLD, [])
    store.floor = 8
    view = View(store, Limits())
    await view.load()
    assert (view.position, view.floor, view.window.low) == (7, 8, 8)


# Following.


async def test_a_run_that_goes_on_where_the_view_ends_is_taken_in() -> None:
    store, view = await filled(3)
    new = store.add({"user": 4}, {"user": 5})
    run = Run(store.now, 3, new, 5)
    assert view.continues(run)
    view.advance(run)
    assert view.position == 5
    assert not view.continues(run)
    assert not view.continues(Run(LogState(NEW, 9, 1), 5, [], 9))


async def test_the_window_keeps_to_its_limit() -> None:
    store, view = await filled(3, window=4)
    view.advance(Run(store.now, 3, store.add(*[{"user": 1}] * 9), 12))
    assert (view.window.low, view.window.high) == (9, 12)
    assert view.floor == 1


async def test_the_window_keeps_to_its_bytes() -> None:
    store, view = await filled(0, window_bytes=4_000)
    view.advance(Run(store.now, 0, store.add(*[{"x": "y" * 492}] * 9), 9))
    assert len(view.window) == 5
    assert view.window.size <= 4_000


async def test_a_raised_floor_hides_what_is_below() -> None:
    store, view = await filled(5)
    store.floor = 4
    view.advance(Run(store.now, 5, store.add({"user": 6}), 6))
    page = await view.newest(EVERYTHING, PLENTY)
    assert [entry.seq for entry in page.entries] == [6, 5, 4]
    assert page.before is None


async def test_a_fork_inside_of_the_window_keeps_what_lies_before_it() -> None:
    store, view = await filled(5)
    store.fork(NEW, 3)
    view.rewind(store.now, 3)
    assert (view.position, view.chain, len(view.window)) == (3, NEW, 3)
    assert view.cursor(3) == OLD.cursor(3)
    assert view.cursor(4) != OLD.cursor(4)


async def test_a_fork_below_the_window_empties_it() -> None:
    store, view = await filled(9, window=2)
    store.fork(NEW, 3)
    view.rewind(store.now, 3)
    assert (view.position, view.window.low, len(view.window)) == (3, 4, 0)
    page = await view.newest(EVERYTHING, PLENTY)
    assert [entry.seq for entry in page.entries] == [3, 2, 1]


# Fresh reads.


async def test_a_fresh_view_has_what_the_head_has() -> None:
    store, view = await filled(3)
    await view.fresh()
    new = store.add({"user": 4})
    fresh = asyncio.create_task(view.fresh())
    await turns()
    assert not fresh.done()
    view.advance(Run(store.now, 3, new, 4))
    await asyncio.wait_for(fresh, 1)


async def test_a_tail_that_does_not_come_is_an_error_within_the_deadline() -> None:
    store, view = await filled(3, store_deadline=0.05)
    store.add({"user": 4})
    with pytest.raises(StoreUnavailable, match="newest entries did not arrive in time"):
        await view.fresh()


async def test_a_head_that_can_not_be_read_is_an_error_within_the_deadline() -> None:
    store, view = await filled(3, store_deadline=0.05)
    store.gate.clear()
    with pytest.raises(StoreUnavailable, match="the store did not answer in time"):
        await view.fresh()
    store.gate.set()
    await view.fresh()
    store.failures.append(StoreUnavailable("no"))
    with pytest.raises(StoreUnavailable) as caught:
        await view.fresh()
    assert caught.value.message == "no"
    await view.aclose()


async def test_those_who_wait_in_vain_leave_nothing_behind() -> None:
    store, view = await filled(3, store_deadline=0.02)
    store.add({"user": 4})
    results = await asyncio.gather(*[view.fresh() for _ in range(20)], return_exceptions=True)
    assert all(isinstance(result, StoreUnavailable) for result in results)
    assert not view._waiting


async def test_a_head_of_another_chain_waits_for_the_tail_to_bring_it() -> None:
    store, view = await filled(5)
    store.fork(NEW, 3)
    new = store.add({"user": 44})
    fresh = asyncio.create_task(view.fresh())
    await turns()
    assert not fresh.done()
    view.rewind(store.now, 3)
    await turns()
    assert not fresh.done(), "there is an entry that is not here yet"
    view.advance(Run(store.now, 3, new, 4))
    await asyncio.wait_for(fresh, 1)


async def test_a_head_read_before_a_fork_that_the_tail_was_faster_to_bring_is_read_again() -> None:
    store, view = await filled(5)
    store.gate.clear()
    fresh = asyncio.create_task(view.fresh())
    await turns()
    store.fork(NEW, 3)
    view.rewind(store.now, 3)
    store.gate.set()
    await asyncio.wait_for(fresh, 1)
    assert store.reads.count("state") == 3  # load, the one that was too old, the next


# Reading.


async def test_the_window_answers_alone_where_it_can() -> None:
    store, view = await filled(50, window=20)
    loaded = len(store.reads)
    page = await view.newest(EVERYTHING, PLENTY._replace(limit=20))
    assert [entry.seq for entry in page.entries] == list(range(50, 30, -1))
    assert page.before == 31
    assert len(store.reads) == loaded


async def test_the_store_is_asked_for_what_lies_below() -> None:
    _, view = await filled(50, window=20)
    page = await view.newest(wanted({"user": [1, 2, 40, 49]}), PLENTY._replace(limit=3))
    assert [entry.seq for entry in page.entries] == [49, 40, 2]
    assert page.state.head == 50
    page = await view.newest(wanted({"user": [1, 2, 40, 49]}), PLENTY._replace(limit=5, skip=1))
    assert [entry.seq for entry in page.entries] == [40, 2, 1]
    assert page.before is None


@pytest.mark.parametrize("limit", [1, 3, 7, 20, 60])
@pytest.mark.parametrize("skip", [0, 1, 19, 20, 21, 45])
async def test_pages_across_the_windows_edge_are_those_of_the_log(limit: int, skip: int) -> None:
    _, view = await filled(50, window=20)
    everybody = wanted({"user": list(range(0, 60, 2))})
    log = list(range(50, 0, -2))
    page = await view.newest(everybody, PLENTY._replace(limit=limit, skip=skip))
    assert [entry.seq for entry in page.entries] == log[skip : skip + limit]
    pages: list[int] = []
    before: int | None = None
    while True:
        page = await view.newest(everybody, PLENTY._replace(limit=limit), before)
        pages += [entry.seq for entry in page.entries]
        if page.before is None:
            break
        before = page.before
    assert pages == log


async def test_a_page_of_which_the_older_part_was_read_on_another_chain_is_read_again() -> None:
    store, view = await filled(9, window=2)
    store.fork(NEW, 3)
    store.add({"user": 44})
    reading = asyncio.create_task(view.newest(EVERYTHING, PLENTY))
    await turns()
    assert not reading.done()
    view.rewind(store.now, 3)
    view.advance(Run(store.now, 3, store.log[3:], 4))
    page = await asyncio.wait_for(reading, 1)
    assert page.state.chain == NEW
    assert [entry.terms for entry in page.entries] == [("user:44",), ("user:3",), ("user:2",), ("user:1",)]  # fmt: skip


async def test_a_search_that_a_fork_interrupts_begins_again() -> None:
    store, view = await filled(0, window=30_000)
    log = store.add(*[{"user": 1, "kind": "x"}] * 15_000)
    view.advance(Run(store.now, 0, log, 15_000))
    never = wanted({"user": [1, 2], "kind": ["y", "x"], "repo": []})
    assert (await view.newest(never, PLENTY)).entries == []
    rare = wanted({"user": 1, "kind": "rare"})
    both = wanted({"user": [1, 2], "kind": ["rare", "x"], "tag": "none"})
    assert (await view.newest(rare, PLENTY)).entries == (await view.newest(both, PLENTY)).entries == []  # fmt: skip
    # Every entry is looked at: rounds with others' turns between.
    slow = wanted({"user": list(range(2)), "kind": ["x", "y"]})
    reading = asyncio.create_task(view.newest(slow, Bounds(10_001, 200_000, 1 << 30)))
    await asyncio.sleep(0)
    assert not reading.done()
    chain = Chain("bbbbbbbb", (("aaaaaaaa", 10),))
    store.fork(chain, 10)
    view.rewind(store.now, 10)
    page = await reading
    assert page.state == LogState(chain, 10, 1)
    assert [entry.seq for entry in page.entries] == list(range(10, 0, -1))


async def test_used_up_work_is_said() -> None:
    store, view = await filled(0)
    view.advance(Run(store.now, 0, store.add(*[{"user": 1, "kind": "x"}, {"kind": "y"}] * 5), 10))
    rare = wanted({"user": [1, 2], "kind": "y"})
    page = await view.newest(rare, Bounds(5, 3, 1 << 20))
    assert page.exhausted
    assert page.before is not None
    page = await view.newest(rare, Bounds(5, 100, 1 << 20))
    assert not page.exhausted
    assert page.before is None


# Cursors.


async def test_a_known_place_needs_no_question() -> None:
    store, view = await filled(5)
    loaded = len(store.reads)
    for seq in range(6):
        assert await view.resolve(Cursor("aaaaaaaa", seq)) == seq
    assert len(store.reads) == loaded


async def test_a_place_ahead_of_this_tail_alone_is_waited_for() -> None:
    store, view = await filled(5)
    new = store.add({"user": 6})
    resolving = asyncio.create_task(view.resolve(Cursor("aaaaaaaa", 6)))
    await turns()
    assert not resolving.done()
    view.advance(Run(store.now, 5, new, 6))
    assert await asyncio.wait_for(resolving, 1) == 6


async def test_a_place_of_an_epoch_that_is_news_here_is_waited_for() -> None:
    store, view = await filled(5)
    store.fork(NEW, 3)
    new = store.add({"user": 44})
    resolving = asyncio.create_task(view.resolve(Cursor("bbbbbbbb", 4)))
    await turns()
    view.rewind(store.now, 3)
    view.advance(Run(store.now, 3, new, 4))
    assert await asyncio.wait_for(resolving, 1) == 4


@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        (Cursor("aaaaaaaa", 1), "expired"),
        (Cursor("aaaaaaaa", 0), "expired"),
        (Cursor("aaaaaaaa", 6), "epoch"),
        (Cursor("aaaaaaaa", 2**56 - 1), "epoch"),
        (Cursor("zzzzzzzz", 4), "epoch"),
    ],
)
async def test_a_place_that_is_gone_is_lost(cursor: Cursor, reason: str) -> None:
    store, view = await filled(5)
    store.floor = 3
    await view.fresh()
    assert await view.resolve(Cursor("aaaaaaaa", 2)) == 2, "all after it is retained"
    with pytest.raises(PlaceLost) as caught:
        await view.resolve(cursor)
    assert caught.value.reason == reason


async def test_before_a_place_is_called_lost_the_store_is_asked() -> None:
    store, view = await filled(5)
    store.failures.append(StoreUnavailable())
    with pytest.raises(StoreUnavailable):
        await view.resolve(Cursor("aaaaaaaa", 6))


# On the memory store.


async def test_it_follows_a_real_store() -> None:
    async with memory(max_events=5) as store:
        view = View(store, Limits())
        await view.load()
        for number in range(8):
            await store.append([[draft({"user": number})]], str(number))
        tail = view.follow()
        while view.position < 8:
            run = await anext(tail)
            if not view.continues(run):
                view.rewind(run.state, run.since)
            view.advance(run)
        await tail.aclose()
        await view.fresh()
        page = await view.newest(EVERYTHING, PLENTY)
        assert [entry.seq for entry in page.entries] == [8, 7, 6, 5, 4]
        assert view.floor == 4
