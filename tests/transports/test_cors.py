"""streamd.transports.cors: which pages may read answers; and HTTP with tokens."""

from typing import Any

import orjson
import pytest

from streamd.address import Address
from tests.harness import Peer, Response, call, get, post, running
from tests.keys import SECRET, pair, token

PAGE = "https://page.example"
ORIGIN = f"Origin: {PAGE}"
ALL = {"read": [{}], "write": [{}]}


async def ask(server: Address, request: bytes) -> Response:
    async with Peer.connect(server) as peer:
        await peer.send(request)
        return await peer.response()


def preflight(origin: str = PAGE, method: str = "POST", headers: str | None = None) -> bytes:
    lines = [
        "OPTIONS / HTTP/1.1",
        "Host: localhost",
        f"Origin: {origin}",
        f"Access-Control-Request-Method: {method}",
    ]
    if headers is not None:
        lines.append(f"Access-Control-Request-Headers: {headers}")
    return "\r\n".join([*lines, "", ""]).encode()


def bearer(made: str) -> str:
    return f"Authorization: Bearer {made}"


# Pages.


async def test_a_page_that_may_come_in_may_read_the_answer() -> None:
    async with running(allow_origin=PAGE) as server:
        answer = await ask(server, preflight(headers="authorization, content-type"))
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["access-control-allow-methods"] == "POST"
        allowed = answer.headers["access-control-allow-headers"].lower()
        assert {"authorization", "content-type"} <= set(allowed.split(", "))
        assert "origin" in answer.headers["vary"].lower()
        assert "access-control-allow-credentials" not in answer.headers
        answer = await ask(server, post(call("ping"), ORIGIN))
        assert answer.json["result"] == "pong"
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "origin" in answer.headers["vary"].lower()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(b"{}", ORIGIN), 200),
        (post(b"{}", ORIGIN, length=2_000_000), 413),
        (post(b"", ORIGIN, "Content-Type: text/plain").replace(b"Content-Type: application/json\r\n", b""), 415),
        (post(call("ping"), ORIGIN).replace(b"Host: localhost", b"Host: evil.example"), 421),
    ],
)  # fmt: skip
async def test_it_may_read_errors_too(request_: bytes, status: int) -> None:
    async with running(allow_origin=PAGE) as server:
        answer = await ask(server, request_)
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", f"{PAGE}.evil.example", f"{PAGE}:8443"]
)
async def test_other_pages_may_read_nothing(origin: str) -> None:
    async with running(allow_origin=PAGE) as server:
        for request in (preflight(origin), post(call("ping"), f"Origin: {origin}")):
            answer = await ask(server, request)
            assert answer.status in (400, 403)
            assert "access-control-allow-origin" not in answer.headers
            assert "origin" in answer.headers["vary"].lower()


async def test_pages_may_not_send_what_is_not_theirs_to_send() -> None:
    async with running(allow_origin=PAGE) as server:
        assert (await ask(server, preflight(method="DELETE"))).status == 400
        assert (await ask(server, preflight(headers="x-other"))).status == 400


async def test_what_is_not_called_is_for_no_page() -> None:
    async with running(allow_origin=PAGE) as server:
        for path in ("/", "/health/live"):
            answer = await ask(server, get(path, ORIGIN))
            assert "access-control-allow-origin" not in answer.headers


# Tokens.


async def test_a_post_needs_a_token_where_one_is_needed() -> None:
    async with running(token_secret=SECRET, allow_origin=PAGE) as server:
        for headers, challenge in (
            ((), "Bearer"),
            ((bearer("x.y.z"),), 'Bearer error="invalid_token"'),
            ((bearer(token(ALL, exp=1)),), 'Bearer error="invalid_token"'),
            (("Authorization: Basic eDp5",), 'Bearer error="invalid_token"'),
            ((bearer(token(ALL)),) * 2, 'Bearer error="invalid_token"'),
        ):
            answer = await ask(server, post(call("ping"), ORIGIN, *headers))
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == challenge
            assert answer.headers["access-control-allow-origin"] == PAGE
            assert answer.json["id"] is None
            assert answer.json["error"]["code"] == -32001
        answer = await ask(server, post(call("ping"), bearer(token(ALL))))
        assert (answer.status, answer.json["result"]) == (200, "pong")


async def test_a_token_in_the_url_is_not_looked_at() -> None:
    async with running(token_secret=SECRET) as server:
        made = token(ALL)
        for name in ("token", "access_token", "authorization"):
            request = post(call("ping")).replace(b"POST /", f"POST /?{name}={made}".encode())
            assert (await ask(server, request)).status == 401


async def test_a_post_is_judged_by_its_token() -> None:
    async with running(token_secret=SECRET, allow_anonymous="read") as server:

        async def answer(made: str | None, method: str, params: Any) -> Any:
            headers = [] if made is None else [bearer(made)]
            return (await ask(server, post(call(method, params), *headers))).json

        writer = token({"write": [{"user": 1}]})
        reader = token({"read": [{"user": 1}]})
        assert "result" in await answer(writer, "insert", {"event": {"user": 1}})
        assert (await answer(writer, "insert", {"event": {"user": 2}}))["error"]["code"] == -32002
        assert (await answer(writer, "items", {}))["error"]["code"] == -32002
        assert (await answer(None, "insert", {"event": {"user": 1}}))["error"]["code"] == -32002
        await answer(token(ALL), "insert", {"event": {"user": 2}})
        assert (await answer(reader, "items", {}))["result"] == [{"user": 1}]
        assert (await answer(None, "items", {}))["result"] == [{"user": 2}, {"user": 1}]
        old = {"id": 1, "method": "items", "args": [], "kwargs": {"user": [1, 2]}}
        made = post(orjson.dumps(old), bearer(reader))
        assert (await ask(server, made)).json == {"id": 1, "result": [{"user": 1}], "error": None}


async def test_while_the_keys_are_away_a_post_may_come_again() -> None:
    async with running(token_jwks_url="http://127.0.0.1:9/") as server:
        made = token(ALL)
        assert (await ask(server, post(call("ping"), bearer(made)))).status == 401, "not by a pair"
        made = token(ALL, key=pair("RS256"), algorithm="RS256", header={"kid": "k"})
        answer = await ask(server, post(call("ping"), bearer(made)))
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.json["error"]["code"] == -32011
