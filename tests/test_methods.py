"""streamd.methods: names, parameters, and an error for whatever is wrong with them."""

import asyncio
from typing import Any

import orjson
import pytest

from streamd import __version__
from streamd.limits import Limits
from streamd.signatures import METHODS
from streamd.stores.base import Stream
from streamd.stores.memory import MemoryStore
from tests.parts import KEYS, Client, serving

POSITIONS = {
    "authenticate": ("token",),
    "insert": ("event", "id"),
    "insert_many": ("events", "ids"),
    "items": ("filter", "start", "end"),
    "history": ("filter", "before", "limit"),
    "subscribe": ("filter", "backfill", "after"),
    "unsubscribe": ("subscription",),
    "explain": ("filter", "cursor", "event"),
    "subscriptions": (),
    "info": (),
    "ping": (),
    "rpc.discover": (),
}


def test_the_methods_are_those_of_the_wire() -> None:
    assert {name: method.names for name, method in METHODS.items()} == POSITIONS


BAD_CALLS: list[tuple[str, Any, int, Any]] = [
    # method, params, code, what data must have
    ("nonsense", {}, -32601, {"methods": list(POSITIONS)}),
    ("", {}, -32601, {}),
    ("Insert", {}, -32601, {}),
    ("__init__", {}, -32601, {}),
    ("authenticate", {}, -32602, {"missing": ["token"]}),
    ("authenticate", {"token": 7}, -32602, {}),
    ("insert", {}, -32602, {"missing": ["event"]}),
    ("insert", [], -32602, {"missing": ["event"]}),
    ("insert", {"id": "a"}, -32602, {"missing": ["event"]}),
    ("insert", [{}, "a", 1], -32602, {}),
    ("insert", {"event": {}, "colour": 1}, -32602, {"unknown": ["colour"], "params": ["event", "id"]}),
    ("insert", {"event": None}, -32602, {}),
    ("insert", {"event": []}, -32602, {}),
    ("insert", {"event": "x"}, -32602, {}),
    ("insert", {"event": 1}, -32602, {}),
    ("insert", {"event": {}, "id": 1}, -32602, {}),
    ("insert", {"event": {}, "id": ""}, -32602, {}),
    ("insert", {"event": {}, "id": "a\0"}, -32602, {}),
    ("insert", {"event": {"user": "\0"}}, -32602, {"key": "user"}),
    ("insert", {"event": {"user": {"id": 1}}}, -32602, {"key": "user"}),
    ("insert", {"event": {"tags": [[1]]}}, -32602, {"key": "tag"}),
    ("insert", {"event": {"user": "x" * 513}}, -32004, {"limit": "value_bytes", "max": 512, "got": 513}),
    ("insert_many", {}, -32602, {"missing": ["events"]}),
    ("insert_many", {"events": {}}, -32602, {}),
    ("insert_many", {"events": None}, -32602, {}),
    ("insert_many", {"events": [{}, 1]}, -32602, {}),
    ("insert_many", {"events": [{}], "ids": "a"}, -32602, {}),
    ("insert_many", {"events": [{}], "ids": []}, -32602, {}),
    ("insert_many", {"events": [{}], "ids": ["a", "b"]}, -32602, {}),
    ("insert_many", {"events": [{}], "ids": [1]}, -32602, {}),
    ("items", {"filter": []}, -32602, {}),
    ("items", {"filter": "user"}, -32602, {}),
    ("items", {"filter": {"colour": "red"}}, -32602, {"unknown": ["colour"], "keys": ["user", "kind", "repo", "tag"]}),
    ("items", {"filter": {"user": None}}, -32602, {"key": "user"}),
    ("items", {"filter": {"user": {}}}, -32602, {"key": "user"}),
    ("items", {"filter": {"user": "\0"}}, -32602, {"key": "user"}),
    ("items", {"filter": {"user": list(range(10_001))}}, -32004, {"limit": "filter_values", "max": 10_000, "got": 10_001}),
    ("items", {"start": -1}, -32602, {}),
    ("items", {"end": -1}, -32602, {}),
    ("items", {"start": 3, "end": 2}, -32602, {}),
    ("items", {"start": 30}, -32602, {}),
    ("items", {"start": "0"}, -32602, {}),
    ("items", {"start": 0.5}, -32602, {}),
    ("items", {"start": True}, -32602, {}),
    ("items", {"start": [0]}, -32602, {}),
    ("items", {"end": 10**9}, -32004, {"limit": "end", "max": 10_000, "got": 10**9}),
    ("items", {"end": 1_001}, -32004, {"limit": "slice", "max": 1_000, "got": 1_001}),
    ("items", {"user": 1}, -32602, {"unknown": ["user"]}),
    ("items", [{}, 0, 20, 1], -32602, {}),
    ("history", {"limit": 0}, -32602, {}),
    ("history", {"limit": -1}, -32602, {}),
    ("history", {"limit": "20"}, -32602, {}),
    ("history", {"limit": 1_001}, -32004, {"limit": "limit", "max": 1_000, "got": 1_001}),
    ("history", {"before": 1}, -32602, {}),
    ("history", {"before": ""}, -32602, {}),
    ("history", {"before": "start"}, -32602, {}),
    ("history", {"before": "x" * 20}, -32602, {}),
    ("subscribe", {"backfill": -1}, -32602, {}),
    ("subscribe", {"backfill": 1_001}, -32004, {"limit": "backfill", "max": 1_000, "got": 1_001}),
    ("subscribe", {"backfill": "20"}, -32602, {}),
    ("subscribe", {"after": 1}, -32602, {}),
    ("subscribe", {"after": ""}, -32602, {}),
    ("subscribe", {"after": "Start"}, -32602, {}),
    ("subscribe", {"after": {"cursor": 1}}, -32602, {}),
    ("subscribe", {"filter": {"colour": 1}}, -32602, {"unknown": ["colour"]}),
    ("unsubscribe", {}, -32602, {"missing": ["subscription"]}),
    ("unsubscribe", {"subscription": None}, -32602, {}),
    ("unsubscribe", {"subscription": "1"}, -32602, {}),
    ("unsubscribe", {"subscription": -1}, -32602, {}),
    ("unsubscribe", {"subscription": True}, -32602, {}),
    ("unsubscribe", {"subscription": 0}, -32006, {"subscription": 0}),
    ("unsubscribe", {"subscription": 1}, -32006, {"subscription": 1}),
    ("unsubscribe", {"subscription": 2**63}, -32006, {"subscription": 2**63}),
    ("info", {"x": 1}, -32602, {"unknown": ["x"]}),
    ("info", [1], -32602, {}),
    ("ping", {"x": 1}, -32602, {}),
    ("ping", [1], -32602, {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "params", "code", "data"), BAD_CALLS, ids=lambda value: repr(value)[:50]
)
async def test_a_bad_call_gets_an_error_and_the_connection_stays(
    method: str, params: Any, code: int, data: dict[str, Any]
) -> None:
    async with serving() as worker:
        client = Client(worker)
        error = await client.fail(method, params)
        assert error["code"] == code
        assert data.items() <= error.get("data", {}).items()
        assert len(orjson.dumps(error)) < 1_000, "what a peer sent is not given back"
        assert await client.call("items") == [], "nothing was stored by halves"
        assert client.session.in_flight == 0
        assert not client.session.peer.subscriptions


OUT_OF_RANGE = [b"18446744073709551616", b"-9223372036854775809", b"1" * 300]


@pytest.mark.parametrize("number", OUT_OF_RANGE, ids=lambda n: n.decode()[:21])
@pytest.mark.parametrize(
    "call",
    [
        b'"insert","params":{"event":{"user":%b}}',
        b'"insert","params":{"event":{"x":[{"y":%b}]}}',
        b'"insert","params":{"event":{},"id":%b}',
        b'"insert","params":%b',
        b'"insert_many","params":{"events":[{},{"x":%b}]}',
        b'"items","params":{"filter":{"user":%b}}',
        b'"items","params":{"filter":{"user":[1,%b]}}',
        b'"items","params":{"start":%b}',
        b'"items","params":{"end":%b}',
        b'"history","params":{"limit":%b}',
        b'"history","params":{"before":%b}',
        b'"subscribe","params":{"backfill":%b}',
        b'"subscribe","params":{"after":%b}',
        b'"unsubscribe","params":{"subscription":%b}',
    ],
    ids=lambda call: call.decode()[:50],
)
async def test_an_integer_out_of_range_is_refused_wherever_it_stands(
    call: bytes, number: bytes
) -> None:
    async with serving() as worker:
        client = Client(worker)
        answer = await client.reply(b'{"jsonrpc":"2.0","id":1,"method":' + call % number + b"}")
        assert answer["error"]["code"] in (-32602, -32600)
        assert "OutOfRange" not in orjson.dumps(answer).decode()
        assert await client.call("items") == []


@pytest.mark.parametrize("method", POSITIONS)
async def test_parameters_may_be_given_by_position_and_optional_ones_as_null(method: str) -> None:
    required = METHODS[method].required
    given = {"event": {"user": 1}, "events": [], "subscription": 1, "token": "any"}
    async with serving() as worker:
        client = Client(worker)
        if method == "unsubscribe":
            await client.call("subscribe", [])
        values: list[Any] = [given.get(name) for name in POSITIONS[method]]
        await client.call(method, values)
        if method != "unsubscribe":
            await client.call(method, dict(zip(POSITIONS[method], values, strict=True)))
            if method != "explain":  # which needs one of two
                await client.call(method, values[: len(required)])


async def test_a_defect_is_an_internal_error_without_its_cause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(MemoryStore):
        loaded = False

        async def newest(self, *args: Any) -> Any:
            if self.loaded:
                raise ZeroDivisionError("secret")
            return await super().newest(*args)

    store = Broken("memory:", Stream("test", KEYS, Limits()))
    async with serving(store, window=1) as worker:
        client = Client(worker)
        store.loaded = True
        for n in range(3):
            await client.call("insert", {"event": {"user": n}})
        error = await client.fail("items")
        assert error == {"code": -32603, "message": "internal error"}
        assert "secret" in caplog.text
        assert await client.call("ping") == "pong"
        assert client.session.in_flight == 0


async def test_info_says_what_a_client_needs() -> None:
    async with serving(limit=7) as worker:
        client = Client(worker)
        inserted = await client.call("insert", {"event": {"user": 1}})
        await client.call("items")
        info = await client.call("info")
        assert info.pop("limits") == Limits(limit=7).to_json()
        assert info == {
            "server": "streamd",
            "version": __version__,
            "epoch": worker._view.chain.epoch,
            "cursor": inserted["cursor"],
            "keys": ["user", "kind", "repo", "tag"],
            "paths": {"user": "user", "kind": "kind", "repo": "repo", "tag": "tags"},
        }


async def test_pings_overtake_what_waits() -> None:
    gate = asyncio.Event()

    class Slow(MemoryStore):
        async def append(self, *args: Any) -> Any:
            await gate.wait()
            return await super().append(*args)

    async with serving(Slow("memory:", Stream("test", KEYS, Limits()))) as worker:
        client = Client(worker)
        waiting = client.ask("insert", {"event": {}})
        assert await client.call("ping") == "pong"
        assert client.answers(waiting) == []
        gate.set()
        assert "result" in await client.answer(waiting)
