"""Who gets a WebSocket, and who does not."""

import asyncio
import contextlib

import pytest

import streamd.turns
from streamd.server import RunningServer
from streamd.transports.websocket import WebSocket
from tests.harness import (
    ACCEPT,
    DEADLINE,
    KEY,
    TEXT,
    Peer,
    call,
    frame,
    running,
    until,
    upgrade,
    websocket,
)


async def assert_serves(server: RunningServer) -> None:
    """See that others are served, whatever somebody did."""
    async with websocket(server) as other:
        assert await other.call("ping") == "pong"


async def test_handshake_of_rfc_6455(server: RunningServer) -> None:
    async with Peer.connect(server) as peer:
        await peer.send(upgrade("Sec-WebSocket-Extensions: permessage-deflate"))
        response = await peer.response()
    assert response.status == 101
    assert response.headers["sec-websocket-accept"] == ACCEPT
    assert "sec-websocket-extensions" not in response.headers


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (upgrade(path="/feed"), 404),
        (upgrade(host="Host: evil.example"), 421),
        (upgrade(host=""), 421),
        (upgrade("Host: localhost"), 421),
        (upgrade("Origin: https://evil.example"), 403),
        (upgrade("Origin: null"), 403),
        (upgrade("Origin: http://localhost.evil.example"), 403),
        (upgrade("Origin: http://localhost", "Origin: http://localhost"), 403),
        (upgrade(method="POST"), 405),
        (upgrade().replace(KEY.encode(), b"short"), 400),
        (upgrade().replace(b"Version: 13", b"Version: 8"), 400),
        (upgrade().replace(f"Sec-WebSocket-Key: {KEY}\r\n".encode(), b""), 400),
        (upgrade("Content-Length: 5"), 400),
        (upgrade("X: " + "y" * 9000), 431),
        (upgrade(*[f"X{i}: y" for i in range(200)]), 431),
    ],
)
async def test_bad_handshakes_are_refused(
    server: RunningServer, request_: bytes, status: int
) -> None:
    async with Peer.connect(server) as peer:
        await peer.send(request_)
        assert (await peer.response()).status == status
        await peer.rest()
    await assert_serves(server)


async def test_own_pages_and_named_ones_may_come_in() -> None:
    async with running(allow_origin="https://example.org", allow_host="feed.example") as server:
        for header in ("http://localhost:3000", "http://127.0.0.1:8080", "https://example.org"):
            async with websocket(server, f"Origin: {header}") as peer:
                assert await peer.call("ping") == "pong"
        async with Peer.connect(server) as peer:
            await peer.send(upgrade(host="Host: feed.example:443"))
            assert (await peer.response()).status == 101


async def test_first_frame_together_with_the_handshake_is_not_lost(server: RunningServer) -> None:
    async with Peer.connect(server) as peer:
        await peer.send(upgrade() + frame(TEXT, call("ping")))
        assert (await peer.response()).status == 101
        assert (await peer.message())["result"] == "pong"


async def test_handshake_byte_by_byte(server: RunningServer) -> None:
    async with Peer.connect(server) as peer:
        for byte in upgrade():
            await peer.send(bytes([byte]))
        assert (await peer.response()).status == 101


async def test_nobody_comes_in_while_the_server_drains(server: RunningServer) -> None:
    gate = server.application.gate
    assert gate is not None
    async with Peer.connect(server) as peer:
        await until(gate._others)
        gate.draining = True
        await peer.send(upgrade())
        assert (await peer.response()).status == 503


async def test_a_drain_that_fails_is_said_and_still_comes_to_its_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object) -> None:
        raise ZeroDivisionError

    async with running() as server, websocket(server) as peer:
        monkeypatch.setattr(WebSocket, "drain", fail)
        gate = server.application.gate
        assert gate is not None
        gate.shutdown()
        with pytest.raises((ConnectionError, EOFError)):
            await peer.frame()
    (record,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert record.name == "streamd.gate"


async def test_handshakes_wait_for_their_turns(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamd.turns, "_ALLOWANCE", 1e-9)
    gate = server.application.gate
    assert gate is not None
    gate.turns.spend(1)
    done: list[int] = []

    async with contextlib.AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(Peer.connect(server)) for _ in range(20)]
        await asyncio.gather(*[peer.send(upgrade()) for peer in peers])
        async with asyncio.timeout(DEADLINE):
            while len(gate.keepalive) < 20:
                before = len(gate.keepalive)
                await asyncio.sleep(0)
                done.append(len(gate.keepalive) - before)
        assert max(done) == 1, "one in a round"
        assert {(await peer.response()).status for peer in peers} == {101}
