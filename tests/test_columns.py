"""streamd.columns against a plain list."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamd.columns
from streamd.columns import Column

ROWS = st.lists(st.tuples(st.integers(0, 3), st.sets(st.sampled_from("abcd"))), max_size=60)
"""For each place: how many empty ones come before it, and its terms."""
STRETCHES = st.sampled_from([1, 2, 7, 512])


def fill(steps: list[tuple[int, set[str]]]) -> tuple[Column, list[tuple[int, str]]]:
    column, rows, seq = Column(), list[tuple[int, str]](), 0
    for gap, terms in steps:
        seq += gap + 1
        for term in sorted(terms):
            column.append(seq, term)
            rows.append((seq, term))
    return column, rows


@given(ROWS, st.sets(st.sampled_from("abcde")), st.integers(0, 120), st.integers(0, 60), STRETCHES)
@settings(max_examples=300, deadline=None)
def test_looking_down_is_looking_at_the_rows_from_their_end(
    steps: list[tuple[int, set[str]]], wanted: set[str], before: int, low: int, stretch: int
) -> None:
    column, rows = fill(steps)
    found: list[int] = []
    seen = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamd.columns, "_STRETCH", stretch)
        at = before
        while at > low:
            places, looked, reached = column.descending(wanted, at, low)
            assert low <= reached < at, "no look may stand still"
            assert all(reached <= place < at for place in places)
            found += places
            seen += looked
            at = reached
    inside = [(seq, term) for seq, term in rows if low <= seq < before]
    assert found == sorted({seq for seq, term in inside if term in wanted}, reverse=True)
    assert seen == len(inside)


@given(ROWS, st.sets(st.sampled_from("abcde")), st.integers(0, 120), STRETCHES)
@settings(max_examples=200, deadline=None)
def test_looking_up_is_looking_at_the_rows_behind_a_place(
    steps: list[tuple[int, set[str]]], wanted: set[str], since: int, stretch: int
) -> None:
    column, rows = fill(steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamd.columns, "_STRETCH", stretch)
        found = list(column.ascending(wanted, since))
    assert found == sorted({seq for seq, term in rows if seq > since and term in wanted})
    assert column.after(since) == len([seq for seq, _ in rows if seq > since])


@given(ROWS, st.integers(0, 120), st.integers(0, 120))
@settings(max_examples=200, deadline=None)
def test_what_is_forgotten_and_rewound_is_not_seen(
    steps: list[tuple[int, set[str]]], low: int, high: int
) -> None:
    column, rows = fill(steps)
    column.forget_below(low)
    column.rewind(high)
    left = [seq for seq, _ in rows if low <= seq <= high]
    assert [seq for seq in column.ascending("abcd", 0) if seq >= low] == sorted(set(left))
    assert len(left) <= len(column)


def test_rows_can_be_put_in_and_taken_out_anywhere() -> None:
    column = Column()
    for seq in (2, 4, 6):
        column.append(seq, "a")
    column.insert(4, "b")
    column.insert(1, "b")
    column.insert(9, "b")
    assert list(column.ascending({"b"}, 0)) == [1, 4, 9]
    column.remove(4, "a")
    column.remove(9, "b")
    assert list(column.ascending({"a"}, 0)) == [2, 6]
    assert list(column.ascending({"b"}, 0)) == [1, 4]
