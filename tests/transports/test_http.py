"""HTTP as programs and people use it."""

from typing import Any

import orjson
import pytest

from streamd.server import RunningServer
from tests.harness import Peer, Response, call, get, post, running, websocket


async def ask(server: RunningServer, request: bytes) -> Response:
    async with Peer.connect(server) as peer:
        await peer.send(request)
        return await peer.response()


def old_call(method: str, *args: Any, **kwargs: Any) -> bytes:
    """What AwesomeStream's client posts."""
    return orjson.dumps({"id": "0-1", "method": method, "args": args, "kwargs": kwargs})


# Calls.


async def test_call(server: RunningServer) -> None:
    response = await ask(server, post(call("insert", [{"user": 1}])))
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json["result"]["duplicate"] is False
    response = await ask(server, post(call("items", {"filter": {"user": [1, 2]}})))
    assert response.json == {"jsonrpc": "2.0", "result": [{"user": 1}], "id": 1}


async def test_what_http_inserts_a_websocket_gets(server: RunningServer) -> None:
    async with websocket(server) as peer:
        await peer.call("subscribe", {"backfill": 0})
        await ask(server, post(call("insert", [{"user": 1}])))
        assert (await peer.message())["params"]["event"] == {"user": 1}


async def test_batch(server: RunningServer) -> None:
    batch = b"[%b,%b,%b]" % (call("ping", ident=1), call("ping", ident=None), call("no", ident=2))
    answers = (await ask(server, post(batch))).json
    assert {answer["id"]: answer.get("result") for answer in answers} == {1: "pong", 2: None}


async def test_notifications_have_no_answer(server: RunningServer) -> None:
    response = await ask(server, post(call("insert", [{"user": 1}], ident=None)))
    assert (response.status, response.body) == (204, b"")
    assert (await ask(server, post(call("items")))).json["result"] == [{"user": 1}]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b'{"jsonrpc": "2.0"} x', -32700),
        (b"\xff", -32700),
        (b"[]", -32600),
        (b"1", -32600),
        (call("nothing"), -32601),
        (call("subscribe"), -32601),
        (call("unsubscribe", [1]), -32601),
        (call("items", {"start": -1}), -32602),
    ],
)
async def test_errors_of_calls_are_answers(server: RunningServer, body: bytes, code: int) -> None:
    response = await ask(server, post(body))
    assert (response.status, response.json["error"]["code"]) == (200, code)


# AwesomeStream's envelope.


async def test_story_of_awesomestream(server: RunningServer) -> None:
    frist = {"kind": "create-repo", "repo": 17, "user": 291, "name": "frist"}
    typo = {"kind": "delete-repo", "repo": 17, "user": 291, "reason": "Made a typo :("}
    watch = {"kind": "watch", "repo": 2842, "user": 291, "owner": 23}
    friend = {"kind": "friend", "user": 291, "friend": 23}
    back = {"kind": "friend", "user": 23, "friend": 291}
    async with Peer.connect(server) as peer:

        async def old(method: str, *args: Any, **kwargs: Any) -> Any:
            await peer.send(post(old_call(method, *args, **kwargs)))
            answer = (await peer.response()).json
            assert (answer["id"], answer["error"]) == ("0-1", None)
            return answer["result"]

        for event in (frist, typo, watch, friend, back):
            await old("insert", event)
        assert await old("items") == [back, friend, watch, typo, frist]
        assert await old("items", kind="friend") == [back, friend]
        assert await old("items", kind="friend", user=23) == [back]
        assert await old("items", user=[23, 291]) == [back, friend, watch, typo, frist]
        assert await old("items", user=[23, 291], start=1, end=3) == [friend, watch]
        assert await old("items", 1, 3, user=[23, 291]) == [friend, watch]


def awesomestream(length: int, body: str) -> bytes:
    """What AwesomeStream 0.1's client sends on Python 2.7, to the last byte: each call on a connection of its own."""
    head = (
        "POST / HTTP/1.1\r\n"
        "Host: 127.0.0.1:9997\r\n"
        "Accept-Encoding: identity\r\n"
        f"Content-Length: {length}\r\n"
        "Content-Type: application/json\r\n\r\n"
    )
    return (head + body).encode("ascii")


async def test_bytes_of_awesomestreams_own_client(server: RunningServer) -> None:
    insert = awesomestream(
        137,
        '{"kwargs": {}, "args": [{"kind": "friend", "user": 23, "friend": 291}], '
        '"id": "97f55e2e-e788-11f1-85f6-02fc00000001", "method": "insert"}',
    )
    items = awesomestream(
        130,
        '{"kwargs": {"kind": "friend", "user": [23, 291]}, "args": [1, 3], '
        '"id": "9814c05c-e788-11f1-85f6-02fc00000001", "method": "items"}',
    )
    for _ in range(3):
        answer = (await ask(server, insert)).json
        assert answer["id"] == "97f55e2e-e788-11f1-85f6-02fc00000001"
        assert (answer["result"]["duplicate"], answer["error"]) == (False, None)
    response = await ask(server, items)
    assert response.status == 200
    assert response.json == {
        "id": "9814c05c-e788-11f1-85f6-02fc00000001",
        "result": [{"kind": "friend", "user": 23, "friend": 291}] * 2,
        "error": None,
    }


@pytest.mark.parametrize(
    "body",
    [
        old_call("items", colour="red"),
        old_call("items", -1),
        old_call("nothing"),
        old_call("insert", 5),
        old_call("insert", {"n": 1.0}).replace(b"1.0", b"18446744073709551616"),
        b'{"id": "0-1", "args": [], "kwargs": {}}',
    ],
)
async def test_errors_in_the_envelope_are_texts(server: RunningServer, body: bytes) -> None:
    response = await ask(server, post(body))
    answer = response.json
    assert (response.status, answer["id"], answer["result"]) == (200, "0-1", None)
    assert isinstance(answer["error"], str)
    assert "Traceback" not in answer["error"]


# What is refused.


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=application/json", 415),
        ("application/jsonp", 415),
        ("", 415),
    ],
)
async def test_content_type(server: RunningServer, content_type: str, status: int) -> None:
    request = post(call("ping")).replace(b"application/json", content_type.encode())
    assert (await ask(server, request)).status == status


@pytest.mark.parametrize(
    ("coding", "status"),
    [("identity", 200), ("", 200), ("gzip", 415), ("br", 415), ("identity, deflate", 415)],
)
async def test_content_encoding(server: RunningServer, coding: str, status: int) -> None:
    response = await ask(server, post(call("ping"), f"Content-Encoding: {coding}"))
    assert response.status == status
    if status == 415:
        assert response.json == {"error": "a body must come without a Content-Encoding"}


async def test_no_content_type(server: RunningServer) -> None:
    request = post(call("ping")).replace(b"Content-Type: application/json\r\n", b"")
    response = await ask(server, request)
    assert (response.status, "Content-Type" in response.json["error"]) == (415, True)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/nothing"), 404),
        (get("/health"), 404),
        (get("/health/live/"), 404),
        (get("/%2e%2e/etc/passwd"), 404),
        (get("/").replace(b"GET", b"DELETE"), 405),
        (get("/").replace(b"GET", b"OPTIONS"), 405),
        (get("/health/live").replace(b"GET", b"POST"), 405),
        (get("/").replace(b"localhost", b"evil.example"), 421),
        (get("/health/live").replace(b"Host: localhost\r\n", b""), 421),
        (get("/", "Host: localhost"), 421),
        (post(call("ping")).replace(b"localhost", b"evil.example"), 421),
        (post(call("ping"), "Origin: https://evil.example"), 403),
        (post(call("ping"), "Origin: null"), 403),
        (post(call("ping"), "Origin: http://localhost", "Origin: null"), 403),
        (post(call("ping"), "Origin: http://localhost:3000"), 200),
        (get("/", "Origin: https://evil.example"), 200),
    ],
)
async def test_the_door_and_the_routes(server: RunningServer, request_: bytes, status: int) -> None:
    response = await ask(server, request_)
    assert response.status == status
    if status >= 400:
        assert isinstance(response.json["error"], str)


async def test_nothing_was_inserted_by_those_who_were_refused(server: RunningServer) -> None:
    insert = call("insert", [{"user": 1}])
    await ask(server, post(insert, "Origin: null"))
    await ask(server, post(insert).replace(b"localhost", b"evil.example"))
    await ask(server, post(insert).replace(b"application/json", b"text/plain"))
    assert (await ask(server, post(call("items")))).json["result"] == []


def chunked(*parts: bytes) -> bytes:
    """The request `post`, its body in chunks."""
    head = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


async def test_chunked_body(server: RunningServer) -> None:
    text = call("ping")
    response = await ask(server, chunked(*[bytes([byte]) for byte in text]))
    assert response.json["result"] == "pong"


@pytest.mark.parametrize("way", ["announced", "chunked"])
async def test_body_at_its_limit_and_one_over(way: str) -> None:
    async with running(message_bytes=1000) as server:
        for size, status in ((1000, 200), (1001, 413)):
            body = call("ping").ljust(size)
            request = post(body) if way == "announced" else chunked(body[:500], body[500:])
            response = await ask(server, request)
            assert response.status == status
        assert response.json["error"]["data"] == {
            "limit": "message_bytes",
            "max": 1000,
            "got": 1001,
        }
        assert response.json["id"] is None


async def test_connection_is_good_after_a_refused_body() -> None:
    async with running(message_bytes=1000) as server, Peer.connect(server) as peer:
        await peer.send(post(b" " * 1500) + post(call("ping")))
        assert (await peer.response()).status == 413
        assert (await peer.response()).json["result"] == "pong"


async def test_announced_body_is_refused_before_it_is_sent() -> None:
    async with running(message_bytes=1000) as server, Peer.connect(server) as peer:
        await peer.send(post(b"", "Expect: 100-continue", length=2000))
        assert (await peer.response()).status == 413
        assert await peer.rest() == b""


async def test_wanted_body_is_asked_for(server: RunningServer) -> None:
    async with Peer.connect(server) as peer:
        body = call("ping")
        await peer.send(post(b"", "Expect: 100-continue", length=len(body)))
        assert (await peer.response()).status == 100
        await peer.send(body)
        assert (await peer.response()).json["result"] == "pong"


# Health.


async def test_health(server: RunningServer) -> None:
    assert (await ask(server, get("/health/live"))).json == {"status": "live"}
    response = await ask(server, get("/health/ready"))
    assert (response.status, response.json) == (200, {"status": "ready"})
    assert response.headers["cache-control"] == "no-store"


async def test_not_ready_while_draining_or_without_a_store(server: RunningServer) -> None:
    gate = server.application.gate
    assert gate is not None
    async with Peer.connect(server) as peer:

        async def ready() -> tuple[int, Any]:
            await peer.send(get("/health/ready"))
            response = await peer.response()
            return response.status, response.json

        assert await ready() == (200, {"status": "ready"})
        gate.draining = True
        assert await ready() == (503, {"status": "draining"})
        gate.draining = False
        gate.worker.watch.trouble = "Redis does not answer"
        assert await ready() == (503, {"status": "not ready", "reason": "Redis does not answer"})
    assert (await ask(server, get("/health/live"))).status == 200


async def test_a_defect_is_answered_without_its_cause(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(body: bytes) -> bytes:
        raise RuntimeError("secret")

    gate = server.application.gate
    assert gate is not None
    monkeypatch.setattr(gate.worker, "post", broken)
    response = await ask(server, post(call("ping")))
    assert (response.status, response.json) == (500, {"error": "internal error"})
