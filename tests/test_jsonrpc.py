"""streamd.jsonrpc: whatever a frame holds, calls and faults come out, never an exception."""

import gc
import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd import jsonrpc
from streamd.errors import LimitExceeded
from streamd.jsonrpc import Call, OutOfRange, parse
from streamd.limits import Limits

LIMITS = Limits()


def call(**members: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "ping", "id": 1} | members


def faults(frame: bytes) -> list[tuple[int, Any]]:
    """Return code and id of what is wrong with a frame."""
    found = [orjson.loads(fault) for fault in parse(frame, LIMITS).faults]
    assert all(fault["jsonrpc"] == "2.0" for fault in found)
    return [(fault["error"]["code"], fault["id"]) for fault in found]


NOT_JSON = {
    "empty": b"",
    "space": b"  \n ",
    "truncated": b'{"jsonrpc":"2.0","method":"ping","id":1',
    "trailing data": b'{"jsonrpc":"2.0","method":"ping","id":1} x',
    "two messages": b'{"jsonrpc":"2.0","method":"ping","id":1}\n{"jsonrpc":"2.0","method":"ping","id":2}',
    "NaN": b'{"jsonrpc":"2.0","method":"ping","id":NaN}',
    "Infinity": b'{"jsonrpc":"2.0","method":"ping","id":Infinity}',
    "single quotes": b"{'jsonrpc':'2.0'}",
    "1,025 levels": b"[" * 1_025 + b"]" * 1_025,
    "100,000 levels": b"[" * 100_000 + b"]" * 100_000,
    "100,000 open levels": b'{"a":' * 100_000,
    "1,000 levels and a long number": b"[" * 1_000 + b"1" * 19 + b"]" * 1_000,
    "an integer of 400 digits": b'{"jsonrpc":"2.0","method":"ping","id":' + b"9" * 400 + b"}",
    "an integer of 10,000 digits": b'{"jsonrpc":"2.0","method":"ping","id":' + b"9" * 10_000 + b"}",
    "1e400": b'{"jsonrpc":"2.0","method":"ping","id":1e400}',
    "lone surrogate": rb'{"jsonrpc":"2.0","method":"\ud800","id":1}',
    "lone surrogate as bytes": b'{"jsonrpc":"2.0","method":"\xed\xa0\x80","id":1}',
    "not UTF-8": b'{"jsonrpc":"2.0","method":"\xff","id":1}',
    "UTF-16": '{"jsonrpc":"2.0","method":"ping","id":1}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"jsonrpc":"2.0","method":"ping","id":1}',
    "raw NUL": b'{"jsonrpc":"2.0","method":"p\0ng","id":1}',
}


@pytest.mark.parametrize("frame", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_json_is_one_parse_error_without_id(frame: bytes) -> None:
    incoming = parse(frame, LIMITS)
    assert not incoming.calls
    assert not incoming.batch
    assert faults(frame) == [(-32700, None)]


NO_CALLS = [
    (None, None), (1, None), ("ping", None), (True, None), (2**64, None), ({}, None),
    ({"id": 7}, 7),
    (call(jsonrpc="1.0"), 1), (call(jsonrpc=2.0), 1), (call(jsonrpc=None), 1),
    (call(method=None), 1), (call(method=1), 1), (call(method=["ping"]), 1), (call(method=2**64), 1),
    (call(params=None), 1), (call(params=1), 1), (call(params="x"), 1), (call(params=True), 1), (call(params=2**64), 1),
    (call(id=True), None), (call(id=False), None), (call(id=[]), None), (call(id={}), None),
    (call(id=[1]), None), (call(id={"a": 1}), None), (call(id=2**64), None), (call(id=-(2**63) - 1), None),
    (call(id="a", method=1), "a"), (call(id=1.5, method=1), 1.5), (call(id=None, method=1), None),
]  # fmt: skip


@pytest.mark.parametrize(("message", "ident"), NO_CALLS, ids=lambda value: repr(value)[:40])
def test_json_that_is_no_call_is_an_invalid_request(message: Any, ident: Any) -> None:
    # The standard library writes integers of any size.
    frame = json.dumps(message).encode()
    assert not parse(frame, LIMITS).calls
    assert faults(frame) == [(-32600, ident)]
    assert faults(b"[" + frame + b"]") == [(-32600, ident)]


@pytest.mark.parametrize(
    ("ident", "text"),
    [(0, b"0"), (-1, b"-1"), (1.5, b"1.5"), (2**53, b"9007199254740992"), (2**64 - 1, b"18446744073709551615"),
     (-(2**63), b"-9223372036854775808"), ("", b'""'), ("a\"\n\0é", '"a\\"\\n\\u0000é"'.encode()), (None, b"null")],
)  # fmt: skip
def test_an_id_comes_back_as_it_was(ident: Any, text: bytes) -> None:
    (read,) = parse(orjson.dumps(call(id=ident)), LIMITS).calls
    assert read == Call("ping", {}, text)
    assert orjson.loads(jsonrpc.result_answer(text, b'"pong"')) == {
        "jsonrpc": "2.0",
        "result": "pong",
        "id": ident,
    }


def test_without_an_id_it_is_a_notification() -> None:
    (read,) = parse(b'{"jsonrpc":"2.0","method":"ping"}', LIMITS).calls
    assert read.id is None


def test_of_duplicate_members_the_last_counts() -> None:
    (read,) = parse(b'{"jsonrpc":"2.0","method":"a","id":1,"method":"b","id":2}', LIMITS).calls
    assert read == Call("b", {}, b"2")
    long = b'{"jsonrpc":"2.0","method":"a","id":1,"params":{"x":1,"x":18446744073709551616,"x":2}}'
    (read,) = parse(long, LIMITS).calls
    assert read.params == {"x": 2}


IN_RANGE = [0, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 10**18]
OUT_OF_RANGE = [2**64, -(2**63) - 1, 10**19 * 2, -(10**19), 10**300]


@pytest.mark.parametrize("number", IN_RANGE)
def test_an_integer_in_range_is_exact(number: int) -> None:
    (read,) = parse(
        b'{"jsonrpc":"2.0","method":"a","params":[%d,"%s"]}' % (number, b"1" * 30), LIMITS
    ).calls
    assert read.params == [number, "1" * 30]
    assert type(read.params[0]) is int  # type: ignore[index]


@pytest.mark.parametrize("number", OUT_OF_RANGE)
def test_an_integer_out_of_range_is_marked_where_it_stands(number: int) -> None:
    frame = b'{"jsonrpc":"2.0","method":"a","params":[1,{"x":[%d]},2.5,"%d"]}' % (number, number)
    (read,) = parse(frame, LIMITS).calls
    assert isinstance(read.params, list)
    assert isinstance(read.params[1]["x"][0], OutOfRange)
    assert [read.params[0], read.params[2], read.params[3]] == [1, 2.5, str(number)]


def test_a_float_of_many_digits_is_a_float() -> None:
    frame = b'{"jsonrpc":"2.0","method":"a","params":[18446744073709551616.0,1.00000000000000000000001,1e19]}'
    (read,) = parse(frame, LIMITS).calls
    assert read.params == [18446744073709551616.0, 1.0, 1e19]
    assert all(type(number) is float for number in read.params)


@pytest.mark.parametrize("levels", [64, 65, 255, 1_000])
def test_nesting_that_json_allows_is_read(levels: int) -> None:
    frame = b'{"jsonrpc":"2.0","method":"a","params":%b}' % (b"[" * levels + b"]" * levels)
    assert len(parse(frame, LIMITS).calls) == 1


# Batches.


def test_an_empty_batch_is_one_invalid_request() -> None:
    assert faults(b"[]") == [(-32600, None)]
    assert not parse(b"[]", LIMITS).batch


def test_a_batch_of_a_hundred_is_read() -> None:
    incoming = parse(orjson.dumps([call(id=number) for number in range(100)]), LIMITS)
    assert incoming.batch
    assert [read.id for read in incoming.calls] == [b"%d" % number for number in range(100)]
    assert not incoming.faults


@pytest.mark.parametrize("number", [101, 10_000])
def test_a_longer_batch_is_refused_whole(number: int) -> None:
    incoming = parse(orjson.dumps([call(id=number) for number in range(number)]), LIMITS)
    assert not incoming.calls
    assert not incoming.batch
    (fault,) = incoming.faults
    assert orjson.loads(fault) == {
        "jsonrpc": "2.0",
        "error": LimitExceeded("batch", 100, number).to_json(),
        "id": None,
    }


def test_what_is_wrong_in_a_batch_leaves_its_neighbours_alone() -> None:
    frame = orjson.dumps([1, call(id=1), call(id=[]), call(id=2, method=3), call(id=4), []])
    incoming = parse(frame, LIMITS)
    assert [read.id for read in incoming.calls] == [b"1", b"4"]
    assert faults(frame) == [(-32600, None), (-32600, None), (-32600, 2), (-32600, None)]


# Whatever comes.


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_no_bytes_raise(frame: bytes) -> None:
    incoming = parse(frame, LIMITS)
    assert incoming.calls or incoming.faults


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["2.0", "ping"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["jsonrpc", "id", "method", "params", "x"]), inner, max_size=5
        )
    ),
    max_leaves=12,
)


@given(JSON)
@settings(deadline=None)
def test_no_json_raises_and_each_part_of_a_batch_has_its_outcome(message: Any) -> None:
    incoming = parse(json.dumps(message).encode(), LIMITS)
    parts = len(message) if isinstance(message, list) and message else 1
    if not (incoming.faults and b"-32700" in incoming.faults[0]):
        assert len(incoming.calls) + len(incoming.faults) == parts
    for fault in incoming.faults:
        assert orjson.loads(fault)["error"]["code"] in (-32700, -32600, -32004)


@pytest.mark.parametrize("end", [b"1", b"1234567890123456789", b"12345678901234567890123", b"x"])
@pytest.mark.parametrize("enabled", [True, False])
def test_reading_many_lists_is_not_for_the_garbage_collector(end: bytes, enabled: bool) -> None:
    frame = b"[%b%b]" % (b"[]," * 300_000, end)
    collections: list[str] = []

    def note(phase: str, info: dict[str, int]) -> None:
        collections.append(phase)

    was_enabled = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    gc.callbacks.append(note)
    try:
        parse(frame, LIMITS)
        assert gc.isenabled() is enabled
        assert len(collections) <= 10, "a few when it was read, not hundreds"
    finally:
        gc.callbacks.remove(note)
        (gc.enable if was_enabled else gc.disable)()


def test_answers_of_a_batch_are_joined() -> None:
    one, two = jsonrpc.result_answer(b"1", b"true"), jsonrpc.result_answer(b"2", b"[]")
    assert orjson.loads(jsonrpc.join_answers([one, two])) == [
        {"jsonrpc": "2.0", "result": True, "id": 1},
        {"jsonrpc": "2.0", "result": [], "id": 2},
    ]


def test_results_are_spliced() -> None:
    assert jsonrpc.to_json({"a": orjson.Fragment(b"[1]")}) == b'{"a":[1]}'
