"""streamd.matcher against ten lines of brute force."""

from collections.abc import Callable, Collection
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamd.matcher
from streamd.filters import EVERYTHING, Clause, Filter
from streamd.matcher import Matcher

T = TypeVar("T")

VALUES = st.integers(0, 4)


def clauses() -> st.SearchStrategy[Clause]:
    def build(user: set[int], kind: set[int], tag: set[int], granted: set[int]) -> Clause:
        named = [("user", user), ("kind", kind), ("tag", tag), ("tag", granted)]
        return tuple(frozenset(f"{k}:{v}" for v in vs) for k, vs in named if vs)

    few = st.sets(VALUES, max_size=3)
    return st.builds(build, few, few, few, few)


FILTERS = st.lists(clauses(), max_size=3).map(lambda some: Filter(tuple(some)))
EVENTS = st.builds(
    lambda user, kind, tags: (f"user:{user}", f"kind:{kind}", *(f"tag:{tag}" for tag in tags)),
    VALUES,
    VALUES,
    st.sets(VALUES, max_size=3),
)


def found(matcher: Matcher[T], terms: Collection[str]) -> list[T]:
    """Return the values of the filters that match."""
    numbers = matcher.match(terms)
    assert len(numbers) == len(set(numbers)), "one was found twice"
    return matcher.values(terms)


def by_length(term: str) -> int:
    return len(term)


def by_value(term: str) -> int:
    return int(term[-1])


def nothing(term: str) -> int:
    return 0


@given(
    st.lists(st.tuples(st.booleans(), FILTERS), max_size=40),
    st.lists(EVENTS, min_size=1, max_size=5),
    st.sampled_from([by_length, by_value, nothing]),
    st.sampled_from([0, 2, 32]),
)
@settings(max_examples=300, deadline=None)
def test_it_finds_what_brute_force_finds(
    steps: list[tuple[bool, Filter]],
    events: list[tuple[str, ...]],
    frequency: Callable[[str], int],
    short: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamd.matcher, "_SHORT", short)
        _compare_with_brute_force(steps, events, frequency)


def _compare_with_brute_force(
    steps: list[tuple[bool, Filter]], events: list[tuple[str, ...]], frequency: Callable[[str], int]
) -> None:
    matcher: Matcher[Filter] = Matcher(frequency)
    there: set[Filter] = set()
    for adding, some in steps:
        if adding and some not in there:
            there.add(some)
            matcher.add(some, some)
        elif there:
            gone = some if some in there else min(there, key=hash)
            there.discard(gone)
            matcher.remove(gone)
        for terms in events:
            assert set(found(matcher, terms)) == {
                wanted for wanted in there if wanted.matches(terms)
            }
        postings = [*matcher._plain.values(), *matcher._checked.values()]
        assert matcher.num_postings == sum(map(len, postings))
    assert len(matcher) == len(there)
    for wanted in there:
        assert matcher.get(wanted) is wanted
        matcher.remove(wanted)
    assert matcher.num_postings == 0
    assert found(matcher, events[0]) == []


def one_of(*terms: str) -> Filter:
    return Filter((tuple(frozenset([term]) for term in terms),))


def test_each_is_found_once_however_many_of_its_terms_an_event_has() -> None:
    matcher: Matcher[str] = Matcher(nothing)
    matcher.add(Filter(((frozenset({"tag:1", "tag:2", "tag:3"}),), (frozenset({"user:1"}),))), "x")
    assert found(matcher, ("user:1", "tag:1", "tag:2", "tag:3")) == ["x"]


def test_a_filter_is_filed_under_its_most_selective_key() -> None:
    looked: list[str] = []

    def frequency(term: str) -> int:
        looked.append(term)
        return {"kind:push": 1_000, "user:1": 2, "user:2": 3}.get(term, 0)

    matcher: Matcher[str] = Matcher(frequency)
    matcher.add(Filter(((frozenset({"kind:push"}), frozenset({"user:1", "user:2"})),)), "x")
    assert matcher.num_postings == 2
    assert sorted(looked) == ["kind:push", "user:1", "user:2"]


def test_the_room_of_what_was_removed_is_bounded() -> None:
    matcher: Matcher[int] = Matcher(nothing)
    many = [one_of("kind:push", f"user:{number}") for number in range(200)]
    for number, some in enumerate(many):
        matcher.add(some, number)
    kept = set(range(200))
    for number in range(0, 200, 2):
        matcher.remove(many[number])
        kept.discard(number)
        assert matcher.num_postings <= 2 * len(kept) + 1
    assert set(found(matcher, ("kind:push", "user:1"))) == {1}


def test_what_matches_everything_costs_no_posting() -> None:
    matcher: Matcher[str] = Matcher(nothing)
    matcher.add(EVERYTHING, "all")
    matcher.add(Filter(((), (frozenset({"user:1"}),))), "all too")
    matcher.add(Filter(()), "none")
    assert matcher.num_postings == 0
    assert sorted(found(matcher, ("user:1",))) == ["all", "all too"]
    assert sorted(found(matcher, ())) == ["all", "all too"]
    matcher.remove(EVERYTHING)
    assert found(matcher, ()) == ["all too"]


def test_the_numbers_of_removed_filters_are_given_again() -> None:
    matcher: Matcher[str] = Matcher(nothing)
    user, tag = frozenset({"user:1", "user:2"}), frozenset({"tag:1"})
    two = Filter(((user,), (user, tag), (user, frozenset())))
    for _ in range(5):
        for some in (two, EVERYTHING, Filter(()), one_of("tag:1")):
            matcher.add(some, "x")
        assert max(matcher.match(("user:1", "tag:1"))) < 6
        for some in (one_of("tag:1"), EVERYTHING, two, Filter(())):
            matcher.remove(some)
    assert matcher.num_postings == 0


def test_a_filter_that_matches_twice_is_found_once() -> None:
    matcher: Matcher[str] = Matcher(nothing)
    user = frozenset({"user:1"})
    matcher.add(Filter(((user,), (user, frozenset({"tag:1"})))), "x")
    matcher.add(one_of("user:1"), "y")
    assert sorted(found(matcher, ("user:1", "tag:1"))) == ["x", "y"]
    matcher.remove(Filter(((user,), (user, frozenset({"tag:1"})))))
    assert found(matcher, ("user:1", "tag:1")) == ["y"]


def test_a_number_that_is_given_again_brings_no_clause_of_the_filter_that_had_it() -> None:
    matcher: Matcher[str] = Matcher(nothing)
    often = [Filter([[["tag:often", f"tag:{n}"]]]) for n in range(100)]
    for number, some in enumerate(often):
        matcher.add(some, f"often {number}")
    two = Filter([[["user:1"]], [["tag:often"]]])
    matcher.add(two, "two")
    matcher.remove(two)
    another = Filter([[["user:2"]], [["user:3"]]])
    matcher.add(another, "another")
    assert sorted(found(matcher, ("tag:often",))) == sorted(f"often {n}" for n in range(100))
    assert found(matcher, ("user:1",)) == []
    assert found(matcher, ("user:3", "user:2")) == ["another"]


def test_what_filters_share_is_kept_once() -> None:
    matcher: Matcher[int] = Matcher(nothing)
    kept = [
        matcher.add(Filter([[[f"user:{n}", "user:0"], [f"kind:{k}" for k in range(5)]]]), n)
        for n in range(1, 3)
    ]
    (first,), (second,) = (some.clauses for some in kept)
    assert {id(term) for term in first[0]} & {id(term) for term in second[0]}
    assert first[1] is second[1]


def test_a_filter_may_come_back() -> None:
    matcher: Matcher[int] = Matcher(nothing)
    some = one_of("user:1")
    for number in range(5):
        matcher.add(some, number)
        assert found(matcher, ("user:1",)) == [number]
        matcher.remove(some)
        assert found(matcher, ("user:1",)) == []
    assert matcher.get(some) is None
