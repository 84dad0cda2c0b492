"""streamd.event: keys, canonical values, drafts."""

import math
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.errors import InvalidParams, LimitExceeded, StartupError
from streamd.event import Keys, canonical, draft_event, kind_of
from streamd.jsonrpc import OutOfRange
from streamd.limits import Limits

LIMITS = Limits()
KEYS = Keys.parse("user,kind,login=actor.login,tag=tags")


# Canonical values.


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", ""), ("291", "291"), (291, "291"), (291.0, "291"), (-0.0, "0"), (0, "0"), (-7, "-7"),
        (True, "true"), (False, "false"), ("true", "true"), (1, "1"), (1.0, "1"), (1.5, "1.5"),
        (0.1, "0.1"), (1e16, "10000000000000000"), (1e22, "1e+22"), (1e-7, "1e-07"),
        (2**53, "9007199254740992"), (2**53 + 1, "9007199254740993"), (-(2**63), "-9223372036854775808"),
        (2**63, "9223372036854775808"), (2**64 - 1, "18446744073709551615"),
        (1.8446744073709550e19, "18446744073709549568"), (2.0**64, "1.8446744073709552e+19"),
        (1e308, "1e+308"), (":{}*\n", ":{}*\n"), ("é🙂", "é🙂"), ("x" * 512, "x" * 512), ("é" * 256, "é" * 256),
    ],
)  # fmt: skip
def test_a_value_has_one_text(value: Any, text: str) -> None:
    assert canonical(value, "user", LIMITS) == text


@pytest.mark.parametrize(
    "value",
    [None, [], {}, {"id": 1}, [1], -(2**63) - 1, 2**64, OutOfRange(), "\0", "a\0b"],
    ids=repr,
)
def test_what_is_no_value_is_refused_by_the_keys_name(value: Any) -> None:
    with pytest.raises(InvalidParams) as caught:
        canonical(value, "user", LIMITS)
    assert caught.value.data == {"key": "user"}


@pytest.mark.parametrize("value", ["x" * 513, "é" * 256 + "x", "🙂" * 129])
def test_a_text_over_the_limit_is_refused(value: str) -> None:
    with pytest.raises(LimitExceeded) as caught:
        canonical(value, "user", LIMITS)
    assert caught.value.data == {"limit": "value_bytes", "max": 512, "got": len(value.encode())}


@given(st.integers(-(2**63), 2**64 - 1))
@settings(deadline=None)
def test_an_integer_is_its_decimal_text(number: int) -> None:
    assert canonical(number, "k", LIMITS) == canonical(str(number), "k", LIMITS) == str(number)


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(deadline=None)
def test_a_float_is_the_integer_that_it_equals(number: float) -> None:
    text = canonical(number, "k", LIMITS)
    assert float(text) == number
    if number.is_integer() and abs(number) < 2**64:
        assert text == str(int(number))
    assert canonical(orjson.loads(orjson.dumps(number)), "k", LIMITS) == text


@given(
    st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False))
)
@settings(deadline=None)
def test_no_number_is_a_boolean(number: float) -> None:
    assert canonical(number, "k", LIMITS) not in ("true", "false")


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "null"), (True, "a boolean"), (1, "a number"), (1.5, "a number"), ("", "a string"), ([], "a list"), ({}, "an object"), (OutOfRange(), "a number out of range")],
)  # fmt: skip
def test_kinds_are_named_as_json_names_them(value: Any, kind: str) -> None:
    assert kind_of(value) == kind


# Keys.


def test_keys_are_names_or_names_with_paths() -> None:
    keys = Keys.parse(" user , kind=type,login=actor.login,a-b=x-y.z w".replace(" w", ""))
    assert keys.names == ("user", "kind", "login", "a-b")
    assert str(keys) == "user,kind=type,login=actor.login,a-b=x-y.z"
    assert Keys.parse(str(keys)) == keys
    assert list(keys.paths.items()) == [
        ("user", "user"),
        ("kind", "type"),
        ("login", "actor.login"),
        ("a-b", "x-y.z"),
    ]


@pytest.mark.parametrize(
    "text",
    ["", ",", "user,", "user,,kind", "1user", "user name", "us.er", "=path", "user=", "user=a.", "user=.a",
     "user=a..b", "user=a=b", "user:x", "ü", "a" * 65, "user,user", "user,user=other", "start", "end", "filter",
     "user\0", "user=a\0"],
    ids=repr,
)  # fmt: skip
def test_what_is_no_key_is_a_sentence_at_the_start(text: str) -> None:
    with pytest.raises(StartupError):
        Keys.parse(text)


def test_there_are_at_most_sixteen_keys() -> None:
    names = [f"k{number}" for number in range(17)]
    assert len(Keys.parse(",".join(names[:16]))) == 16
    with pytest.raises(StartupError):
        Keys.parse(",".join(names))


@pytest.mark.parametrize(
    ("event", "terms"),
    [
        ({}, ()),
        ({"user": 291, "kind": "watch"}, ("user:291", "kind:watch")),
        ({"kind": "watch", "user": "291"}, ("user:291", "kind:watch")),
        ({"user": None}, ()),
        ({"user": True}, ("user:true",)),
        ({"actor": {"login": "ann"}}, ("login:ann",)),
        ({"actor": "ann"}, ()),
        ({"actor": [{"login": "ann"}]}, ()),
        ({"actor": None}, ()),
        ({"actor.login": "ann"}, ()),
        ({"tags": ["a", "b", "a", None, 1, 1.0, "1", True]}, ("tag:a", "tag:b", "tag:1", "tag:true")),
        ({"tags": []}, ()),
        ({"tags": [None]}, ()),
        ({"user": "a:b\n{}*"}, ("user:a:b\n{}*",)),
    ],
)  # fmt: skip
def test_an_event_has_the_terms_of_its_keys(event: dict[str, Any], terms: tuple[str, ...]) -> None:
    assert KEYS.terms(event, LIMITS) == terms


@pytest.mark.parametrize("value", [{"id": 1}, [[1]], [{"id": 1}], "\0", ["\0"]], ids=repr)
def test_an_event_with_a_wrong_value_names_the_key(value: Any) -> None:
    with pytest.raises(InvalidParams) as caught:
        draft_event({"user": value}, None, KEYS, LIMITS)
    assert caught.value.data == {"key": "user"}


# Drafts.


def nested(levels: int, inner: Any = 0) -> dict[str, Any]:
    """Return an event of so many levels, itself included."""
    value = inner
    for number in range(levels - 1):
        value = [value] if number % 2 else {"a": value}
    return {"a": value}


@pytest.mark.parametrize("levels", [1, 2, 63, 64])
def test_an_event_may_have_64_levels(levels: int) -> None:
    event = nested(levels)
    assert orjson.loads(draft_event(event, None, KEYS, LIMITS).body) == event


@pytest.mark.parametrize("levels", [65, 254, 255, 256, 1_000])
def test_a_deeper_event_is_over_the_limit(levels: int) -> None:
    with pytest.raises(LimitExceeded) as caught:
        draft_event(nested(levels), None, KEYS, LIMITS)
    assert caught.value.data == {"limit": "nesting", "max": 64, "got": levels}


def test_what_the_limit_may_be_at_most_can_be_stored() -> None:
    limits = Limits(nesting=254)
    event = nested(254)
    assert orjson.loads(draft_event(event, None, KEYS, limits).body) == event
    with pytest.raises(LimitExceeded):
        draft_event(nested(255), None, KEYS, limits)


def test_brackets_in_texts_are_no_levels() -> None:
    event = {"a": "[{" * 1_000, "b": [[], {}] * 100}
    assert orjson.loads(draft_event(event, None, KEYS, LIMITS).body) == event


@pytest.mark.parametrize("levels", [1, 64])
def test_an_integer_out_of_range_is_refused_at_any_level(levels: int) -> None:
    with pytest.raises(InvalidParams) as caught:
        draft_event(nested(levels, OutOfRange()), None, KEYS, LIMITS)
    assert "2^63" in caught.value.message


@pytest.mark.parametrize("event", [None, [], "", 1, True, 1.5], ids=repr)
def test_an_event_is_an_object(event: Any) -> None:
    with pytest.raises(InvalidParams):
        draft_event(event, None, KEYS, LIMITS)


def test_the_order_of_an_events_members_is_kept() -> None:
    assert draft_event({"z": 1, "a": 2}, None, KEYS, LIMITS).body == b'{"z":1,"a":2}'


@pytest.mark.parametrize("ident", [1, True, [], {}, "", "a\0", OutOfRange()], ids=repr)
def test_an_insert_id_is_a_text(ident: Any) -> None:
    with pytest.raises(InvalidParams):
        draft_event({}, ident, KEYS, LIMITS)


def test_an_insert_id_brings_a_digest_of_the_event() -> None:
    one = draft_event({"user": 1}, "a", KEYS, LIMITS)
    assert one.id == "a"
    assert one.digest == draft_event({"user": 1}, "b", KEYS, LIMITS).digest
    assert one.digest != draft_event({"user": 2}, "a", KEYS, LIMITS).digest
    assert draft_event({"user": 1}, None, KEYS, LIMITS).digest == b""


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=3), inner, max_size=3),
            max_leaves=10,
        ),
        max_size=5,
    )
)  # fmt: skip
@settings(deadline=None)
def test_what_is_stored_is_what_was_sent(event: dict[str, Any]) -> None:
    event = {f"x{name}": value for name, value in event.items()}  # no keys among them
    body = draft_event(event, None, KEYS, LIMITS).body
    assert b"\0" not in body
    assert b"\n" not in body
    back = orjson.loads(body)
    assert back == event
    assert not any(isinstance(v, float) and math.isnan(v) for v in back.values())
