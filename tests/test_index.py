"""streamd.index: what it keeps, and which way it goes. What it finds is held against a list in test_window.py."""

import pytest

from streamd.filters import Filter
from streamd.index import Index
from streamd.log import Entry
from streamd.window import Window

MANY = 1 << 40


def test_it_can_be_changed_place_by_place() -> None:
    index = Index()
    for seq in range(1, 4):
        index.append(seq, ("user:1",))
    for _ in range(2):
        index.unpost("user:1", 2)
        index.post("user:2", 3)
        index.post("user:2", 1)
        index.unpost("user:3", 1)
    assert [(term, index.places(term)) for term in index.terms()] == [
        ("user:1", [1, 3]),
        ("user:2", [1, 3]),
    ]
    assert [index.posted("user:1", seq) for seq in range(5)] == [False, True, False, True, False]
    for seq in (1, 3):
        index.unpost("user:2", seq)
    assert index.terms() == ["user:1"]


@pytest.mark.parametrize("values", [1, 100])
def test_both_ways_see_what_was_changed(values: int) -> None:
    index = Index()
    for seq in range(1, 200):
        index.append(seq, (f"user:{seq % 10}",))
    index.unpost("user:3", 193)
    index.post("user:3", 10)
    wanted = Filter([[["user:3", *[f"user:{n}" for n in range(1_000, 1_000 + values)]]]])
    expected = sorted({*range(3, 200, 10), 10} - {193})
    assert list(index.descending(wanted, 200, 1, 100, [])) == expected[::-1]
    assert list(index.ascending(wanted, 0)) == expected


def test_a_posting_list_that_is_rewound_to_what_was_swept_is_gone() -> None:
    window = Window()
    for seq in (1, 2):
        window.append(Entry(seq, 0, ("user:1",), b""))
    window.trim(1, MANY, MANY)
    window.rewind(1)
    assert window.index.terms() == []


def test_a_rare_term_is_looked_up_in_its_own_list() -> None:
    """However many users are asked for besides."""
    index = Index()
    for seq in range(1, 10_001):
        index.append(seq, (f"user:{seq % 100}", "kind:rare" if seq == 77 else "kind:often"))
    friends = [f"user:{n}" for n in range(100)]
    assert list(index.descending(Filter([[friends, ["kind:rare"]]]), MANY, 1, 20, [])) == [77]
    assert list(index.descending(Filter([[friends, ["kind:none"]]]), MANY, 1, 20, [])) == []


def test_rows_are_freed_with_what_is_forgotten() -> None:
    window = Window()
    for seq in range(1, 5_001):
        window.append(Entry(seq, 0, (f"user:{seq}", "kind:a"), b""))
        window.trim(100, MANY, 10)
        columns = window.index._columns.values()
        assert all(len(column) <= 2 * 100 + 64 for column in columns)
        assert [column.distinct for column in columns] == [len(window), 1]
