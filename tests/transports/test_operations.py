"""Health and metrics: on the port of everybody and on the operators' own, in each state of a server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

import streamd.watch
from streamd.address import Address
from streamd.errors import StartupError
from streamd.server import RunningServer
from tests.harness import TEXT, Peer, Response, call, frame, get, running, until, upgrade, websocket
from tests.issuer import issuer
from tests.keys import SECRET, pair, private_pem, token
from tests.test_metrics import samples


async def ask(place: Address | None, path: str, *headers: str) -> Response:
    assert place is not None
    async with Peer.connect(place) as peer:
        await peer.send(get(path, *headers))
        return await peer.response()


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with running(admin_port=0) as server:
        yield server


# Health.


async def test_both_ports_tell_of_health(server: RunningServer) -> None:
    for place in (server, server.admin):
        live, ready = await ask(place, "/health/live"), await ask(place, "/health/ready")
        assert (live.status, live.json) == (200, {"status": "live"})
        assert (ready.status, ready.json) == (200, {"status": "ready"})
        assert ready.headers["cache-control"] == "no-store"


async def test_a_server_that_drains_is_live_and_not_ready_and_tells_operators_to_the_last() -> None:
    started: asyncio.Future[RunningServer] = asyncio.get_running_loop().create_future()
    go = asyncio.Event()

    async def run() -> None:
        async with running(admin_port=0, drain=10) as server:
            started.set_result(server)
            await go.wait()

    task = asyncio.create_task(run())
    server = await started
    async with websocket(server) as peer:
        await peer.call("subscribe")
        go.set()
        assert server.application.gate is not None
        gate = server.application.gate
        await until(lambda: gate.draining)
        response = await ask(server.admin, "/health/ready")
        assert (response.status, response.json) == (503, {"status": "draining"})
        assert (await ask(server.admin, "/health/live")).status == 200
        assert samples((await ask(server.admin, "/metrics")).body)["streamd_connections"] == 1
    await task
    with pytest.raises(ConnectionError):
        await ask(server.admin, "/health/live")


async def test_a_server_whose_tail_has_ended_is_not_live(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server.application.gate is not None
    worker = server.application.gate.worker
    monkeypatch.setattr(streamd.watch, "_LOOK", 0.01)
    worker._hub._tasks[0].cancel()
    await until(lambda: not worker.watch.ready)
    response = await ask(server, "/health/live")
    assert (response.status, response.json) == (503, {"status": "not live"})
    assert (await ask(server.admin, "/health/ready")).json == {
        "status": "not ready",
        "reason": "the tail has ended",
    }


# Who gets metrics.


async def test_metrics_on_a_loopback_port() -> None:
    async with running() as server:
        assert server.admin is None
        response = await ask(server, "/metrics")
        assert response.status == 200
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert response.headers["cache-control"] == "no-store"
        assert samples(response.body)["streamd_ready_workers"] == 1
        response = await ask(
            server, "/metrics", "Accept: application/openmetrics-text;version=1.0.0"
        )
        assert response.headers["content-type"].startswith("application/openmetrics-text")


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For: 203.0.113.7",
        "Forwarded: for=203.0.113.7",
        "Via: 1.1 proxy",
        "X-Real-IP: 203.0.113.7",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: feed.example.org",
    ],
)
async def test_what_a_proxy_passes_on_gets_no_metrics(header: str) -> None:
    async with running() as server:
        response = await ask(server, "/metrics", header)
        assert response.status == 403
        assert "--admin-port" in response.json["error"]


async def test_an_admin_port_has_the_metrics_and_the_other_has_them_no_more(
    server: RunningServer,
) -> None:
    assert (await ask(server, "/metrics")).status == 403
    assert (await ask(server.admin, "/metrics")).status == 200


def bearer(key: Any = SECRET, algorithm: str = "HS256", header: Any = None, **grants: Any) -> str:
    return f"Authorization: Bearer {token(grants, key=key, algorithm=algorithm, header=header)}"


async def test_where_others_come_in_metrics_are_for_tokens_with_admin() -> None:
    async with running(host="0.0.0.0", token_secret=SECRET) as server:
        place = Address("127.0.0.1", server.port)

        async def status(*headers: str) -> int:
            return (await ask(place, "/metrics", *headers)).status

        assert await status(bearer(admin=True)) == 200
        assert await status(bearer(read=[{}], write=[{}])) == 403
        assert await status(bearer(read=[{}], admin=False)) == 403
        assert await status() == 403
        assert await status("Authorization: Bearer nonsense") == 401
        response = await ask(place, "/metrics", "Authorization: Bearer nonsense")
        assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_an_operator_whose_token_can_not_be_judged_now_is_told_to_come_again() -> None:
    async with issuer() as shown:
        shown.raw = shown.answer("503 Service Unavailable", b"")
        async with running(host="0.0.0.0", token_jwks_url=shown.url) as server:
            place = Address("127.0.0.1", server.port)
            key, header = private_pem(pair("RS256")), {"kid": "k1"}
            mine = bearer(admin=True, key=key, algorithm="RS256", header=header)
            response = await ask(place, "/metrics", mine)
            assert (response.status, response.headers["retry-after"]) == (503, "1")


async def test_where_everybody_may_do_everything_nobody_gets_metrics_there() -> None:
    async with running(host="0.0.0.0", allow_anonymous=["read", "write"]) as server:
        place = Address("127.0.0.1", server.port)
        assert (await ask(place, "/metrics")).status == 403
        assert (await ask(place, "/health/ready")).status == 200


# The operators' own port.


async def test_the_admin_port_has_nothing_else(server: RunningServer) -> None:
    for path in ("/", "/nothing", "/metrics/", "/health"):
        assert (await ask(server.admin, path)).status == 404
    assert server.admin is not None
    async with Peer.connect(server.admin) as peer:
        await peer.send(upgrade())
        assert (await peer.response()).status == 404


async def test_operators_come_and_go_beside_the_connections_that_there_may_be() -> None:
    async with running(admin_port=0, connections=1) as server, websocket(server) as peer:
        for _ in range(3):
            assert (await ask(server.admin, "/health/live")).status == 200
        port = server.application._admin_port
        assert port is not None
        await until(lambda: not port._state.connections)
        assert (await ask(server, "/health/live")).status == 503
        assert await peer.call("ping") == "pong"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9090", 200),
        ("10.1.2.3", 200),
        ("[fd00::1]:9090", 200),
        ("localhost", 200),
        ("feed.example.org:9090", 200),
        ("evil.example.org", 421),
        ("10.1.2.3.evil.example.org", 421),
    ],
)
async def test_a_web_page_can_not_have_a_browser_read_it_by_a_name(host: str, status: int) -> None:
    async with running(admin_port=0, allow_host="feed.example.org") as server:
        assert server.admin is not None
        async with Peer.connect(server.admin) as peer:
            await peer.send(f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert (await peer.response()).status == status


async def test_an_admin_port_that_is_taken_keeps_it_from_starting(server: RunningServer) -> None:
    assert server.admin is not None
    taken = server.admin.port
    with pytest.raises(StartupError, match=f"port {taken} .* in use.* --admin-port"):
        async with running(admin_port=taken):
            pass
    with pytest.raises(StartupError, match="admin_port must be another than port"):
        async with running(port=taken, admin_port=taken):
            pass


async def test_no_value_of_a_user_is_in_the_metrics(server: RunningServer) -> None:
    canary = "canary-4711"
    async with websocket(server, f"X-Header: {canary}") as peer:
        await peer.call("subscribe", {"filter": {"user": canary}})
        await peer.call("insert", {"event": {"user": canary, "text": canary}, "id": canary})
        for method in (canary, "items"):
            await peer.send(frame(TEXT, call(method, {canary: 1})))
            while "error" not in await peer.message():
                pass
    text = (await ask(server.admin, "/metrics")).body.decode()
    assert canary not in text
    labels = {
        (name, value)
        for family in parse(text)
        for sample in family.samples
        for name, value in sample.labels.items()
    }
    assert ("method", "other") in labels
    assert {name for name, _ in labels} == {
        *("code", "le", "method", "operation", "outcome", "python", "reason", "version"),
    }
