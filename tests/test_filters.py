"""streamd.filters: what a filter says, and what it refuses to say."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.errors import InvalidParams, LimitExceeded
from streamd.event import Keys
from streamd.filters import EVERYTHING, Filter, parse_filter
from streamd.jsonrpc import OutOfRange
from streamd.limits import Limits

KEYS = Keys.parse("user,kind,tag=tags")
LIMITS = Limits()


def read(value: Any) -> Filter:
    return parse_filter(value, KEYS, LIMITS)


def test_between_keys_it_is_and_in_a_list_it_is_or() -> None:
    wanted = read({"user": [23, 291], "kind": "friend"})
    assert wanted.matches(("user:23", "kind:friend"))
    assert wanted.matches(("kind:friend", "user:291", "tag:x"))
    assert not wanted.matches(("user:23", "kind:watch"))
    assert not wanted.matches(("user:24", "kind:friend"))
    assert not wanted.matches(("kind:friend",))
    assert not wanted.matches(())


def test_an_empty_filter_matches_everything_and_an_empty_list_nothing() -> None:
    assert read({}) == EVERYTHING
    assert read({}).everything
    assert read({}).matches(())
    assert read({"user": []}) == Filter(())
    assert read({"user": [], "kind": "a"}) == Filter(())
    assert not read({"user": []}).everything
    assert not read({"user": []}).matches(("user:1",))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"user": 291}, {"user": "291"}),
        ({"user": 291}, {"user": [291.0]}),
        ({"user": [1, 2]}, {"user": ["2", 1, 1.0, "1"]}),
        ({"user": 1, "kind": "a"}, {"kind": ["a"], "user": [1]}),
        ({"user": True}, {"user": "true"}),
        ({"user": 0}, {"user": -0.0}),
    ],
)
def test_filters_that_say_the_same_are_equal(one: Any, other: Any) -> None:
    assert read(one) == read(other)
    assert hash(read(one)) == hash(read(other))


def test_true_is_not_one() -> None:
    assert read({"user": [True, 1, False, 0]}).num_values == 4
    assert read({"user": True}) != read({"user": 1})


@pytest.mark.parametrize("value", [None, [], "user", 1, True, 1.5, OutOfRange()], ids=repr)
def test_a_filter_is_an_object(value: Any) -> None:
    with pytest.raises(InvalidParams):
        read(value)


@pytest.mark.parametrize(
    "value",
    [None, {}, {"id": 1}, [[1]], [{"id": 1}], [None], [1, None], "\0", ["a", "\0"], OutOfRange(), [OutOfRange()]],
    ids=repr,
)  # fmt: skip
def test_a_wrong_value_names_its_key(value: Any) -> None:
    with pytest.raises(InvalidParams) as caught:
        read({"kind": "a", "user": value})
    assert caught.value.data == {"key": "user"}


@pytest.mark.parametrize("value", [":{}*\n", "", " ", "é", "x" * 512])
def test_any_other_text_is_a_value(value: str) -> None:
    assert read({"user": value}).matches((f"user:{value}",))


def test_a_value_over_the_limit_is_refused() -> None:
    with pytest.raises(LimitExceeded) as caught:
        read({"user": ["a", "x" * 513]})
    assert caught.value.data == {"limit": "value_bytes", "max": 512, "got": 513}


def test_undeclared_keys_are_named_beside_those_that_are() -> None:
    with pytest.raises(InvalidParams) as caught:
        read({"user": 1, "colour": "red", "size": 2})
    assert caught.value.data == {"unknown": ["colour", "size"], "keys": ["user", "kind", "tag"]}


def test_an_error_does_not_give_back_what_a_hostile_peer_sent() -> None:
    with pytest.raises(InvalidParams) as caught:
        read({"x" * 100_000 + str(number): 1 for number in range(100)})
    assert caught.value.data is not None
    assert len(str(caught.value.to_json())) < 1_000


@pytest.mark.parametrize(
    "value",
    [{"user": list(range(10_000))}, {"user": list(range(5_000)), "kind": list(range(5_000))}, {"user": [1] * 10_000}],
    ids=["one key", "two keys", "the same"],
)  # fmt: skip
def test_ten_thousand_values_are_taken(value: Any) -> None:
    assert read(value).clauses


@pytest.mark.parametrize(
    "value",
    [{"user": list(range(10_001))}, {"user": list(range(10_000)), "kind": 1}, {"user": [1] * 10_001}],
    ids=["one key", "two keys", "the same"],
)  # fmt: skip
def test_one_more_is_over_the_limit(value: Any) -> None:
    with pytest.raises(LimitExceeded) as caught:
        read(value)
    assert caught.value.data == {"limit": "filter_values", "max": 10_000, "got": 10_001}


VALUES = st.one_of(st.integers(0, 3), st.sampled_from(["0", "1", "a"]), st.booleans())


@given(
    st.dictionaries(st.sampled_from(["user", "kind", "tag"]), st.lists(VALUES, max_size=3) | VALUES),
    st.fixed_dictionaries({}, optional={"user": VALUES, "kind": VALUES, "tags": st.lists(VALUES, max_size=3)}),
)  # fmt: skip
@settings(deadline=None)
def test_it_matches_as_the_words_say(value: dict[str, Any], event: dict[str, Any]) -> None:
    def text(v: Any) -> str:
        return str(v).lower() if isinstance(v, bool) else str(v)

    def says(key: str, asked: Any) -> bool:
        has = event.get("tags" if key == "tag" else key, [])
        have = {text(v) for v in (has if isinstance(has, list) else [has])}
        return any(text(v) in have for v in (asked if isinstance(asked, list) else [asked]))

    expected = all(says(key, asked) for key, asked in value.items())
    assert read(value).matches(KEYS.terms(event, LIMITS)) == expected


CLAUSES = st.lists(
    st.lists(
        st.sets(st.sampled_from([f"{key}:{n}" for key in "abc" for n in range(3)])), max_size=3
    ),
    max_size=6,
)


@given(CLAUSES, st.sets(st.sampled_from([f"{key}:{n}" for key in "abc" for n in range(3)])))
def test_of_several_conjunctions_one_must_hold(
    clauses: list[list[set[str]]], terms: set[str]
) -> None:
    holds = any(all(wanted & terms for wanted in clause) for clause in clauses)
    assert Filter(clauses).matches(tuple(terms)) is holds


class Looked(str):
    """A term that counts how often it is looked up."""

    __slots__ = ()
    times = 0

    def __hash__(self) -> int:
        Looked.times += 1
        return super().__hash__()


def test_the_conjunctions_of_many_grants_cost_no_more_than_those_of_a_few() -> None:
    many = Filter([[[f"user:{n}"], [f"kind:{n}"], ["repo:1", "repo:2"]] for n in range(64)])
    matches = many.test()
    Looked.times = 0
    assert not matches((Looked("user:1"), Looked("kind:2"), Looked("repo:1")))
    assert Looked.times <= 9
