"""streamd.window against a plain list."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamd.columns
import streamd.index
from streamd.filters import EVERYTHING, Clause, Filter
from streamd.log import Entry
from streamd.window import Window

MANY = 1 << 40
ENTRY, TERM, LIST = 230, 95, 140
"""What an entry, a term of one and a posting list cost, beside texts."""

TERMS = st.sets(st.sampled_from(["user:1", "user:2", "user:3", "kind:1", "kind:2", "tag:1"]))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), TERMS),
        st.tuples(st.just("append"), TERMS),
        st.tuples(st.just("append many"), st.tuples(TERMS, st.integers(1, 100))),
        st.tuples(st.just("skip"), st.integers(0, 3)),
        st.tuples(st.just("forget"), st.integers(0, 150)),
        st.tuples(st.just("sweep"), st.integers(0, 20)),
        st.tuples(st.just("trim"), st.integers(0, 150)),
        st.tuples(st.just("rewind"), st.integers(0, 60)),
    ),
    max_size=20,
)


def _clause(user: set[str], kind: set[str], granted: set[str]) -> Clause:
    return tuple(frozenset(terms) for terms in (user, kind, granted) if terms)


FILTERS = st.lists(
    st.builds(
        _clause,
        st.sets(st.sampled_from(["user:1", "user:2", "user:3", "user:9"])),
        st.sets(st.sampled_from(["kind:1", "kind:2", "kind:9"])),
        st.sets(st.sampled_from(["user:1", "user:3"])),
    ),
    max_size=3,
).map(lambda some: Filter(tuple(some)))


WAYS = st.tuples(st.sampled_from([0, 1, 32]), st.sampled_from([1, 2, 5, 512]), st.integers(0, 20))
"""From how many values on columns are looked at, how many rows at a time, and until when."""


@contextmanager
def going(way: tuple[int, int, int]) -> Iterator[None]:
    """Find candidates by columns, by posting lists, or first by these and then by those."""
    with pytest.MonkeyPatch.context() as patch:
        few, stretch, hopeless = way
        patch.setattr(streamd.index, "_FEW", few)
        patch.setattr(streamd.index, "_HOPELESS", hopeless)
        patch.setattr(streamd.columns, "_STRETCH", stretch)
        yield


@dataclass
class Model:
    """What a window says, as a list."""

    entries: list[Entry] = field(default_factory=list)
    low: int = 1
    high: int = 0

    def matching(self, wanted: Filter, least: int = 0) -> list[Entry]:
        return [
            e for e in self.entries if e.seq >= max(self.low, least) and wanted.matches(e.terms)
        ]


def play(steps: list[tuple[str, Any]], after: int = 0) -> tuple[Window, Model]:
    window, model = Window(after), Model(low=after + 1, high=after)

    def append(terms: set[str]) -> None:
        model.high += 1
        body = b"x" * (model.high % 7)
        model.entries.append(Entry(model.high, 0, tuple(sorted(terms)), body))
        window.append(model.entries[-1])

    for step, given_ in steps:
        match step:
            case "append":
                append(given_)
            case "append many":
                for _ in range(given_[1]):
                    append(given_[0])
            case "skip":
                window.skip_to(model.high + given_)
                model.high += given_
            case "forget":
                floor = model.high + 1 - given_
                window.forget_below(floor)
                model.low = max(model.low, floor)
            case "sweep":
                window.sweep(given_)
            case "trim":
                window.trim(given_, MANY, 1 + given_ % 10)
                model.low = max(model.low, model.high + 1 - given_)
            case "rewind":
                to = max(model.high - given_, model.low - 1)
                window.rewind(to)
                model.high = to
                model.entries = [e for e in model.entries if e.seq <= to]
        assert (window.low, window.high) == (model.low, model.high)
    return window, model


@given(
    STEPS,
    FILTERS,
    st.integers(0, 3),
    st.integers(0, 300),
    st.integers(1, 9),
    st.integers(0, 9),
    WAYS,
)
@settings(max_examples=300, deadline=None)
def test_looking_backward_is_looking_at_the_list_from_its_end(
    steps: list[tuple[str, Any]],
    wanted: Filter,
    after: int,
    back: int,
    limit: int,
    skip: int,
    way: tuple[int, int, int],
) -> None:
    window, model = play(steps, after)
    before = model.high + 2 - back
    expected = [e for e in reversed(model.matching(wanted)) if e.seq < before]
    with going(way):
        found = window.backward(wanted, before, limit=limit, work=MANY, size=MANY, skip=skip)
    assert found.entries == expected[skip : skip + limit]
    assert found.skipped == min(skip, len(expected))
    if len(found.entries) == limit:
        assert found.reached == found.entries[-1].seq
    else:
        assert found.reached == model.low


@given(STEPS, FILTERS, st.integers(1, 9), st.integers(1, 20), st.integers(1, 30), WAYS)
@settings(max_examples=200, deadline=None)
def test_pages_backward_join_without_gap_or_repeat(
    steps: list[tuple[str, Any]],
    wanted: Filter,
    limit: int,
    work: int,
    size: int,
    way: tuple[int, int, int],
) -> None:
    window, model = play(steps)
    before, entries, pages = model.high + 1, list[Entry](), 0
    while True:
        with going(way):
            found = window.backward(wanted, before, limit=limit, work=work, size=size)
        pages += 1
        assert len(found.entries) <= limit
        assert found.looked <= work
        assert len(found.entries) <= 1 or sum(len(e.body) for e in found.entries) <= size
        entries += found.entries
        if found.reached <= model.low:
            break
        assert found.reached < before, "no page may stand still"
        before = found.reached
    assert entries == model.matching(wanted)[::-1]


@given(
    STEPS,
    FILTERS,
    st.integers(0, 300),
    st.integers(1, 9),
    st.integers(1, 20),
    st.integers(1, 30),
    WAYS,
)
@settings(max_examples=200, deadline=None)
def test_runs_forward_join_without_gap_or_repeat(
    steps: list[tuple[str, Any]],
    wanted: Filter,
    back: int,
    limit: int,
    work: int,
    size: int,
    way: tuple[int, int, int],
) -> None:
    window, model = play(steps)
    since = start = max(model.low - 1, model.high - back)
    entries: list[Entry] = []
    while since < model.high:
        with going(way):
            found = window.forward(wanted, since, limit=limit, work=work, size=size)
        assert len(found.entries) <= limit
        assert len(found.entries) <= 1 or sum(len(e.body) for e in found.entries) <= size
        assert since < found.upto <= model.high, "no run may stand still"
        assert all(since < e.seq <= found.upto for e in found.entries)
        entries += found.entries
        since = found.upto
    assert entries == model.matching(wanted, start + 1)
    assert window.forward(wanted, model.high, limit=9, work=9, size=9) == ([], model.high)


@given(STEPS)
@settings(max_examples=100, deadline=None)
def test_what_is_forgotten_and_swept_takes_no_room(steps: list[tuple[str, Any]]) -> None:
    window, model = play(steps)
    while window.sweep(7):
        pass
    kept = [e for e in model.entries if e.seq >= model.low]
    assert len(window) == len(kept)
    texts = sum(len(e.body) + sum(map(len, e.terms)) for e in kept)
    objects = sum(ENTRY + TERM * len(e.terms) for e in kept)
    lists = LIST * len({term for e in kept for term in e.terms})
    assert window.size == texts + objects + lists
    for e in kept:
        assert window[e.seq] is e
    window.forget_below(model.high + 1)
    assert not window.sweep(MANY)
    assert window.size == len(window) == 0
    assert all(window.index.frequency(term) == 0 for e in model.entries for term in e.terms)


@given(STEPS, st.integers(0, 20_000))
@settings(max_examples=100, deadline=None)
def test_trimming_keeps_to_both_bounds(steps: list[tuple[str, Any]], size: int) -> None:
    window, model = play(steps)
    window.trim(10, size, MANY)
    assert len(window) <= 10
    assert window.size <= size
    assert window.high == model.high
    assert window.low <= window.high + 1
    newest = model.entries[-len(window) :] if len(window) else []
    assert window.backward(EVERYTHING, MANY, limit=99, work=99, size=MANY).entries == newest[::-1]


def test_trimming_frees_a_bounded_number_at_a_time() -> None:
    window = Window()
    for seq in range(1, 101):
        window.append(Entry(seq, 0, ("user:1",), b""))
    window.trim(10, MANY, 5)
    assert (window.low, len(window)) == (91, 95)
    assert window.sweep(5)
    assert not window.sweep(80)
    assert len(window) == 10


def test_a_long_posting_list_loses_its_forgotten_half() -> None:
    window = Window()
    for seq in range(1, 1_001):
        window.append(Entry(seq, 0, ("user:1",), b""))
    for low in range(1, 1_000, 10):
        window.forget_below(low)
        window.sweep(10)
        assert window.index.frequency("user:1") <= 2 * len(window) + 64


def test_work_is_counted_by_candidates_alone() -> None:
    window = Window()
    for seq in range(1, 10_001):
        window.append(Entry(seq, 0, (f"user:{seq}", "kind:a"), b""))
    wanted = Filter(((frozenset({"user:5", "user:9000"}), frozenset({"kind:a"})),))
    found = window.backward(wanted, MANY, limit=20, work=MANY, size=MANY)
    assert [e.seq for e in found.entries] == [9_000, 5]
    assert found.looked == 2


@pytest.mark.parametrize("before", [-5, 0, 1, 5, 6])
def test_below_the_window_nothing_is_found_and_nothing_claimed(before: int) -> None:
    window = Window(5)
    window.append(Entry(6, 0, (), b""))
    found = window.backward(EVERYTHING, before, limit=5, work=5, size=5)
    assert found.entries == []
    assert found.reached >= min(before, window.low)
