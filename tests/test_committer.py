"""streamd.committer: batches, order, and one outcome for each call whatever happens."""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

import streamd.stores.outage
from streamd.committer import Committer
from streamd.cursor import Chain
from streamd.errors import (
    CallError,
    InternalError,
    InvalidParams,
    StoreUnavailable,
    UnknownOutcome,
)
from streamd.log import Draft, Placed
from streamd.stores.base import Appended, Verdict
from streamd.stores.failure import Failure
from streamd.stores.memory import MemoryStore
from tests.parts import DEADLINE, draft, memory, turns


class Gated:
    """A memory store whose appends wait to be let in, and may fail."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.gate = asyncio.Event()
        self.gate.set()
        self.batches: list[tuple[list[int], str]] = []
        self.failure: BaseException | None = None

    async def append(self, calls: Sequence[Sequence[Draft]], batch: str) -> Appended:
        self.batches.append(([len(call) for call in calls], batch))
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return await self.store.append(calls, batch)


class Outcomes:
    """What was told to whom."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, Chain, Verdict]] = []
        self._changed = asyncio.Event()

    def of(self, name: Any) -> Callable[[Chain, Verdict], None]:
        def done(chain: Chain, verdict: Verdict) -> None:
            self.told.append((name, chain, verdict))
            self._changed.set()

        return done

    async def until(self, number: int) -> None:
        async with asyncio.timeout(DEADLINE):
            while len(self.told) < number:
                self._changed.clear()
                await self._changed.wait()

    @property
    def seqs(self) -> dict[Any, list[int]]:
        return {n: [p.seq for p in v] for n, _, v in self.told if not isinstance(v, CallError)}

    @property
    def errors(self) -> dict[Any, type[CallError]]:
        return {n: type(v) for n, _, v in self.told if isinstance(v, CallError)}


@asynccontextmanager
async def committing(deadline: float = 5.0) -> AsyncIterator[tuple[Committer, Gated, Outcomes]]:
    async with memory() as store:
        gated = Gated(store)
        ids = itertools.count()
        committer = Committer(gated, deadline, lambda: str(next(ids)))  # type: ignore[arg-type]
        committer.start()
        try:
            yield committer, gated, Outcomes()
        finally:
            await committer.aclose()


def events(number: int, **more: Any) -> list[Draft]:
    return [draft({"user": user, **more}) for user in range(number)]


async def test_what_waits_at_one_moment_is_one_batch_in_order() -> None:
    async with committing() as (committer, store, outcomes):
        store.gate.clear()
        committer.submit("me", events(1), outcomes.of("first"))
        await turns()
        for name in range(10):
            committer.submit("me", events(2), outcomes.of(name))
        await turns()
        store.gate.set()
        await outcomes.until(11)
        assert store.batches == [([1], "0"), ([2] * 10, "1")]
        assert [name for name, _, _ in outcomes.told] == ["first", *range(10)]
        assert outcomes.seqs == {"first": [1], **{n: [2 * n + 2, 2 * n + 3] for n in range(10)}}


async def test_a_batch_is_cut_between_calls_only() -> None:
    async with committing() as (committer, store, outcomes):
        store.gate.clear()
        committer.submit("me", events(1), outcomes.of("first"))
        await turns()
        for number, size in enumerate([600, 400, 1, 1_000, 1]):
            committer.submit("me", events(size), outcomes.of(number))
        store.gate.set()
        await outcomes.until(6)
        assert [sizes for sizes, _ in store.batches] == [[1], [600, 400], [1], [1_000], [1]]
        assert len({batch for _, batch in store.batches}) == 5


async def test_within_a_batch_calls_are_in_the_order_in_which_they_came() -> None:
    async with committing() as (committer, store, outcomes):
        store.gate.clear()
        committer.submit("first", events(1), outcomes.of(-1))
        await turns()
        # Three batches, the second of them cut where it is full.
        for number in range(1_200):
            committer.submit(number % 7, events(1 + number % 3), outcomes.of(number))
        store.gate.set()
        await outcomes.until(1_201)
        names = [int(str(name)) for name, _, _ in outcomes.told]
        assert sorted(names) == list(range(-1, 1_200))
        sizes = [len(batch) for batch, _ in store.batches]
        assert len(sizes) == 4
        for first, size in zip(itertools.accumulate(sizes, initial=0), sizes, strict=False):
            batch = names[first : first + size]
            assert batch == sorted(batch)
        for source in range(7):
            own = [name for name in names if name >= 0 and name % 7 == source]
            assert own == sorted(own)


async def test_a_flood_of_large_calls_delays_no_small_one() -> None:
    async with committing() as (committer, store, outcomes):
        store.gate.clear()
        committer.submit("first", events(1), outcomes.of("first"))
        await turns()
        for number in range(50):
            committer.submit(f"flood {number}", events(1_000), outcomes.of(f"flood {number}"))
        for number in range(3):
            committer.submit("small", events(1), outcomes.of(f"small {number}"))
        store.gate.set()
        await outcomes.until(54)
        told = [str(name) for name, _, _ in outcomes.told]
        # One batch is for the oldest; then those come who ask for little.
        others = [f"flood {number}" for number in range(50)]
        small = [f"small {number}" for number in range(3)]
        assert told in (["first", *small, *others], ["first", others[0], *small, *others[1:]])


async def test_a_flood_of_small_calls_delays_no_large_one_for_ever() -> None:
    async with committing() as (committer, store, outcomes):
        store.gate.clear()
        committer.submit("first", events(1), outcomes.of("first"))
        await turns()
        committer.submit("large", events(1_000), outcomes.of("large"))
        for source in range(900):
            for number in range(5):
                committer.submit(source, events(1), outcomes.of(f"{source} {number}"))
        store.gate.set()
        await outcomes.until(4_502)
        place = [sizes for sizes, _ in store.batches].index([1_000])
        assert 1 <= place <= 2


async def test_a_batch_is_cut_by_its_bytes_too() -> None:
    async with committing() as (committer, store, outcomes):
        store.gate.clear()
        committer.submit("me", events(1), outcomes.of("first"))
        await turns()
        for number in range(20):
            committer.submit("me", events(2, text="x" * 60_000), outcomes.of(number))
        store.gate.set()
        await outcomes.until(21)
        assert [sum(sizes) for sizes, _ in store.batches] == [1, 16, 16, 8]


async def test_that_the_store_takes_no_inserts_is_told_once_and_once_that_it_does_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "streamd.committer")
    full = StoreUnavailable("the store is not available: Redis is out of memory")
    async with committing() as (committer, store, outcomes):
        number = 0
        for failure in (full, full, UnknownOutcome(), None, full, None):
            store.failure = failure
            number += 1
            committer.submit("me", events(1), outcomes.of(number))
            await outcomes.until(number)
        (begun,) = caplog.records
        assert begun.levelname == "WARNING"
        assert begun.getMessage() == f"inserts fail: {full.message}", (
            "and nothing of each that passes"
        )
        monkeypatch.setattr(streamd.stores.outage, "_CALM", 0)
        committer.submit("me", events(1), outcomes.of("last"))
        await outcomes.until(number + 1)
        assert [line.getMessage() for line in caplog.records[1:]] == ["inserts go on"]
        store.failure = UnknownOutcome()
        committer.submit("me", events(1), outcomes.of("unknown"))
        await outcomes.until(number + 2)
        assert caplog.messages[2:] == ["inserts fail: the store did not answer"]


async def test_it_is_told_why_an_outcome_is_unknown(caplog: pytest.LogCaptureFixture) -> None:
    async with committing() as (committer, store, outcomes):
        store.failure = UnknownOutcome()
        store.failure.__cause__ = Failure("IOERR", "the disk failed", repeat=False, executed=True)
        committer.submit("me", events(1), outcomes.of("unknown"))
        await outcomes.until(1)
        assert caplog.messages == ["inserts fail: the disk failed"]


async def test_one_refused_call_fails_alone() -> None:
    async with committing() as (committer, store, outcomes):
        store.gate.clear()
        committer.submit("me", [draft({"user": 1}, "a")], outcomes.of(1))
        await turns()
        committer.submit("me", [draft({"user": 2})], outcomes.of(2))
        committer.submit("me", [draft({"user": 3}), draft({"user": 4}, "a")], outcomes.of(3))
        committer.submit("me", [draft({"user": 5})], outcomes.of(5))
        store.gate.set()
        await outcomes.until(4)
        assert outcomes.errors == {3: InvalidParams}
        assert outcomes.seqs == {1: [1], 2: [2], 5: [3]}


@pytest.mark.parametrize("error", [StoreUnavailable(), UnknownOutcome()], ids=repr)
async def test_a_store_that_fails_fails_its_batch_and_no_later_one(error: CallError) -> None:
    async with committing() as (committer, store, outcomes):
        store.failure = error
        committer.submit("me", events(1), outcomes.of(1))
        committer.submit("me", events(1), outcomes.of(2))
        await outcomes.until(2)
        assert outcomes.errors == {1: type(error), 2: type(error)}
        store.failure = None
        committer.submit("me", events(1), outcomes.of(3))
        await outcomes.until(3)
        assert outcomes.seqs == {3: [1]}


async def test_a_defect_in_the_store_is_an_internal_error_and_not_the_end() -> None:
    async with committing() as (committer, store, outcomes):
        store.failure = ZeroDivisionError()
        committer.submit("me", events(1), outcomes.of(1))
        await outcomes.until(1)
        store.failure = None
        committer.submit("me", events(1), outcomes.of(2))
        await outcomes.until(2)
        assert outcomes.errors == {1: InternalError}
        assert outcomes.seqs == {2: [1]}


async def test_one_who_can_not_be_told_does_not_keep_the_others_from_being_told() -> None:
    def broken(chain: Chain, verdict: Verdict) -> None:
        raise RuntimeError("the transport is closed")

    async with committing() as (committer, store, outcomes):
        store.gate.clear()
        committer.submit("me", events(1), outcomes.of(1))
        await turns()
        committer.submit("me", events(1), broken)
        committer.submit("me", events(1), outcomes.of(2))
        store.gate.set()
        await outcomes.until(2)
        committer.submit("me", events(1), outcomes.of(3))
        await outcomes.until(3)
        assert outcomes.seqs == {1: [1], 2: [3], 3: [4]}


async def test_what_may_wait_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamd.committer, "_WAITING_BYTES", 100_000)
    async with committing() as (committer, store, outcomes):
        store.gate.clear()
        committer.submit("me", events(1), outcomes.of(0))
        await turns()
        committer.submit("me", events(1, text="x" * 60_000), outcomes.of(1))
        with pytest.raises(StoreUnavailable):
            committer.submit("me", events(1, text="x" * 40_000), outcomes.of(2))
        committer.submit("me", events(1), outcomes.of(3))
        store.gate.set()
        await outcomes.until(3)
        committer.submit("me", events(1, text="x" * 60_000), outcomes.of(4))
        await outcomes.until(4)
        assert set(outcomes.seqs) == {0, 1, 3, 4}


async def test_small_events_count_with_what_they_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamd.committer, "_WAITING_BYTES", 100_000)
    async with committing() as (committer, store, outcomes):
        store.gate.clear()
        for number in range(200):
            committer.submit("me", [draft({})], outcomes.of(number))
        with pytest.raises(StoreUnavailable):
            committer.submit("me", [draft({})] * 100, outcomes.of("over"))


async def test_closing_tells_everybody_what_is_known() -> None:
    async with committing() as (committer, store, outcomes):
        store.gate.clear()
        committer.submit("me", events(1), outcomes.of("sent"))
        await turns()
        committer.submit("me", events(1), outcomes.of("waiting"))
        await committer.aclose()
        await committer.aclose()
        assert outcomes.errors == {"sent": UnknownOutcome, "waiting": StoreUnavailable}


async def test_after_closing_nothing_is_taken() -> None:
    async with committing() as (committer, _, outcomes):
        await committer.aclose()
        with pytest.raises(StoreUnavailable):
            committer.submit("me", events(1), outcomes.of(1))
        assert outcomes.told == []


async def test_the_outcome_names_places_by_the_chain_of_the_append() -> None:
    async with committing() as (committer, store, outcomes):
        committer.submit("me", events(2), outcomes.of(1))
        await outcomes.until(1)
        ((_, chain, placed),) = outcomes.told
        assert chain == (await store.store.state()).chain
        assert isinstance(placed, list)
        assert placed == [Placed(1, placed[0].time, duplicate=False), Placed(2, placed[0].time, duplicate=False)]  # fmt: skip


async def test_what_waited_too_long_is_refused_and_the_rest_is_stored() -> None:
    async with committing(deadline=0.05) as (committer, store, outcomes):
        store.gate.clear()
        committer.submit("me", events(1), outcomes.of("first"))
        await turns()
        committer.submit("me", events(1), outcomes.of("late"))
        await asyncio.sleep(0.1)
        committer.submit("me", events(1), outcomes.of("in time"))
        store.gate.set()
        await outcomes.until(3)
        assert outcomes.seqs == {"first": [1], "in time": [2]}
        assert outcomes.errors == {"late": StoreUnavailable}


async def test_what_was_added_is_counted_and_nothing_else() -> None:
    async with committing() as (committer, _, outcomes):
        committer.submit("me", events(3), outcomes.of("three"))
        committer.submit("me", [draft({"user": 1}, "one")], outcomes.of("one"))
        committer.submit("me", [draft({"user": 1}, "one")], outcomes.of("again"))
        committer.submit("me", [draft({"user": 2}, "one")], outcomes.of("another"))
        await outcomes.until(4)
        assert outcomes.errors == {"another": InvalidParams}
        assert committer._inserted._cells[committer._inserted._at] == 4
