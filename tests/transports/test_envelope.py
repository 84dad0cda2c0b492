"""AwesomeStream's envelope: told from JSON-RPC, and turned into its calls."""

import gc
from typing import Any

import orjson
import pytest

from streamd.errors import CallError, InvalidParams, StoreUnavailable
from streamd.jsonrpc import OutOfRange
from streamd.transports.envelope import Envelope, read_envelope


def envelope(**members: Any) -> Envelope:
    found = read_envelope(orjson.dumps({"id": 1, "args": [], "kwargs": {}, **members}))
    assert found is not None
    return found


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"args"',
        b'["args"]',
        b'{"args": []',
        b'{"id": 1, "method": "items"}',
        b'{"id": 1, "method": "items", "params": {"args": []}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "items", "args": [], "kwargs": {}}',
        b'[{"id": 1, "method": "items", "args": [], "kwargs": {}}]',
        b'{"args": []}, "x": {}',
    ],
)
def test_what_is_no_envelope(body: bytes) -> None:
    assert read_envelope(body) is None


@pytest.mark.parametrize(
    ("args", "kwargs", "params"),
    [
        ([], {}, {"filter": {}}),
        ([1, 3], {}, {"filter": {}, "start": 1, "end": 3}),
        ([1], {"end": 3}, {"filter": {}, "start": 1, "end": 3}),
        (
            [],
            {"kind": "friend", "user": [23, 291]},
            {"filter": {"kind": "friend", "user": [23, 291]}},
        ),
        ([], {"user": 23, "start": 1}, {"filter": {"user": 23}, "start": 1}),
    ],
)
def test_items(args: list[Any], kwargs: dict[str, Any], params: dict[str, Any]) -> None:
    assert envelope(method="items", args=args, kwargs=kwargs).to_call() == ("items", params)


@pytest.mark.parametrize(
    ("ident", "told"),
    [
        (b'["x"]', b'["x"]'),
        (b"18446744073709551616", b"null"),
        (b"[" * 300 + b"]" * 300, b"null"),
    ],
)
def test_an_id_is_told_as_it_was_unless_it_can_not_be_written(ident: bytes, told: bytes) -> None:
    found = read_envelope(b'{"id":%b,"method":"ping","args":[]}' % ident)
    assert found is not None
    assert found.id == told


@pytest.mark.parametrize(
    ("args", "kwargs", "params"),
    [
        ([{"user": 1}], {}, {"event": {"user": 1}}),
        ([{"user": 1}, None], {}, {"event": {"user": 1}}),
        ([{"user": 1}], {"date": None}, {"event": {"user": 1}}),
        ([{"user": 1}], {"id": "x"}, {"event": {"user": 1}, "id": "x"}),
        ([], {"data": {"user": 1}}, {"event": {"user": 1}}),
        ([], {"event": {"user": 1}, "id": "x"}, {"event": {"user": 1}, "id": "x"}),
        ([], {}, {}),
    ],
)
def test_insert(args: list[Any], kwargs: dict[str, Any], params: dict[str, Any]) -> None:
    assert envelope(method="insert", args=args, kwargs=kwargs).to_call() == ("insert", params)


@pytest.mark.parametrize(
    "members", [{"args": [{}, 1262304000.0]}, {"args": [{}], "kwargs": {"date": 1262304000}}]
)
def test_a_date_is_refused_by_its_name(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidParams, match="date"):
        envelope(method="insert", **members).to_call()


def test_other_methods() -> None:
    assert envelope(method="history", args=[{"user": 1}]).to_call() == ("history", [{"user": 1}])
    assert envelope(method="history", kwargs={"limit": 3}).to_call() == ("history", {"limit": 3})


@pytest.mark.parametrize(
    "members",
    [
        {"method": None},
        {"method": 1},
        {"method": "items", "args": {}},
        {"method": "items", "kwargs": []},
        {"method": "items", "args": [1, 2, 3]},
        {"method": "items", "args": [1], "kwargs": {"start": 1}},
        {"method": "insert", "args": [{}, None, "x"]},
        {"method": "insert", "args": [{}], "kwargs": {"data": {}}},
        {"method": "insert", "args": [{}], "kwargs": {"event": {}}},
        {"method": "history", "args": [{}], "kwargs": {"limit": 3}},
    ],
)
def test_what_can_be_no_call(members: dict[str, Any]) -> None:
    with pytest.raises(CallError):
        envelope(**members).to_call()


def test_integers_out_of_range_are_marked() -> None:
    body = b'{"id": 1, "method": "insert", "args": [{"n": 18446744073709551616}], "kwargs": {}}'
    found = read_envelope(body)
    assert found is not None
    assert isinstance(found.args[0]["n"], OutOfRange)


@pytest.mark.parametrize("ident", [None, 1, 1.5, "a", True, [1], {"a": 1}])
def test_an_id_of_any_type_comes_back(ident: object) -> None:
    answer = orjson.loads(envelope(id=ident, method="items").result(b"[1]"))
    assert answer == {"id": ident, "result": [1], "error": None}


def test_errors_are_texts() -> None:
    call = envelope(method="insert")
    answer = orjson.loads(call.error(InvalidParams('no "such" thing', key="x")))
    assert answer == {"id": 1, "result": None, "error": 'no "such" thing'}
    assert "store" in orjson.loads(call.error(StoreUnavailable()))["error"]


def test_errors_are_ascii_which_is_all_that_python_2_shows() -> None:
    answer = orjson.loads(envelope(method="items").error(InvalidParams("no key 'größe'")))
    assert answer["error"] == "no key 'gr\\xf6\\xdfe'"


def test_a_large_one_is_read_once_and_no_garbage_is_looked_for_meanwhile() -> None:
    body = b'{"method":"insert","args":[{"a":[%b[]]}]}' % (b"[]," * 300_000)
    collections: list[object] = []
    gc.callbacks.append(lambda *which: collections.append(which))
    try:
        assert read_envelope(body) is not None
    finally:
        gc.callbacks.pop()
    assert len(collections) <= 4, "some start and stop afterwards"
