"""streamd.transports.journal: what is counted and told of peers, with real ones."""

import logging
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import jwt
import pytest

import streamd.transports.journal
from streamd.server import RunningServer
from tests.harness import (
    CLOSE,
    TEXT,
    Peer,
    call,
    frame,
    get,
    post,
    running,
    until,
    upgrade,
    websocket,
)
from tests.test_metrics import counted


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What is told of peers, at the level of a daemon."""
    with caplog.at_level(logging.INFO, "streamd.peers"):
        yield caplog


def told(lines: pytest.LogCaptureFixture, message: str) -> list[dict[str, Any]]:
    """Return what was told beside a message."""
    return [vars(line) for line in lines.records if line.getMessage() == message]


def counts(server: RunningServer) -> dict[str, float]:
    assert server.application.gate is not None
    return counted(server.application.gate.worker.meters)


async def test_a_connection_is_told_of_with_its_totals(lines: pytest.LogCaptureFixture) -> None:
    async with running() as server:
        async with websocket(server) as peer:
            await peer.call("subscribe")
            await peer.call("subscribe", {"filter": {"user": 1}})
            await peer.call("unsubscribe", {"subscription": 1})
            await peer.send(
                frame(TEXT, call("insert", {"event": {"user": 1, "text": "x" * 5_000}}))
            )
            while (await peer.message()).get("method") != "event":
                pass
            assert counts(server)["streamd_connections"] == 1
            assert told(lines, "disconnected") == [], "and who comes is not told of"
            await peer.send(frame(CLOSE, (1000).to_bytes(2)))
            await peer.rest()
        await until(lambda: told(lines, "disconnected"))
        (line,) = told(lines, "disconnected")
        assert (line["connection"], line["address"], line["code"]) == (1, "127.0.0.1", 1000)
        assert line["entries"] == 1
        assert line["bytes"] > 5_000
        assert 0 < line["seconds"] < 20
        found = counts(server)
        assert (found["streamd_connections"], found["streamd_connects_total"]) == (0, 1)
        assert found["streamd_disconnects_total/1000"] == 1
        assert found["streamd_sent_bytes_total"] == line["bytes"]
        assert found["streamd_received_bytes_total"] > 5_000
        assert found["streamd_delivered_entries_total"] == 1


async def test_it_is_told_why_we_ended_a_connection_and_why_a_token_was_refused(
    lines: pytest.LogCaptureFixture,
) -> None:
    forged = jwt.encode({"sub": "ann", "exp": time.time() + 60}, "k" * 32, "HS256")
    why = "the token's signature is wrong: it is of another key, or was changed"
    async with running(token_secret=SECRET) as server:
        async with websocket(server) as peer:
            await peer.send(frame(TEXT, call("authenticate", {"token": forged})))
            assert await peer.close_code() == 4501
        async with Peer.connect(server) as other:
            await other.send(post(CALL, f"Authorization: Bearer {forged}"))
            assert (await other.response()).status == 401
        async with websocket(server) as peer:
            await peer.send(frame(CLOSE, (1000).to_bytes(2) + b"canary"))
            await peer.rest()
        await until(lambda: len(told(lines, "disconnected")) == 2)
    ended, left = told(lines, "disconnected")
    assert (ended["code"], ended["why"]) == (4501, why)
    assert (left["code"], left.get("why")) == (1000, None), "what peers say of it is their own"
    (line,) = told(lines, "refused")
    assert (line["reason"], line["why"]) == ("token", why)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(CLOSE, (4999).to_bytes(2)), "other"),
        (frame(CLOSE), "1005"),
        (frame(TEXT, b"\xff"), "1007"),
        (frame(TEXT, masked=False), "1002"),
        (frame(TEXT, b"x" * 2_000), "1009"),
        (b"", "1006"),
    ],
)
async def test_it_is_counted_by_the_code_of_who_said_goodbye_first(sent: bytes, code: str) -> None:
    async with running(message_bytes=1_000) as server:
        async with websocket(server) as peer:
            await peer.send(sent)
            if not sent:
                peer.reset()
            elif code != "1006":
                await peer.rest()
        await until(lambda: counts(server)[f"streamd_disconnects_total/{code}"] == 1)
        assert sum(n for name, n in counts(server).items() if "disconnects" in name) == 1


async def test_who_gets_no_websocket_is_counted_and_told_of_as_refused_alone(
    lines: pytest.LogCaptureFixture,
) -> None:
    async with running() as server:
        async with Peer.connect(server) as peer:
            await peer.send(b"GET / HTTP/1.1\r\nHost: evil\r\nUpgrade: websocket\r\n\r\n")
            assert (await peer.response()).status == 421
        found = counts(server)
        assert found["streamd_connects_total"] == found["streamd_connections"] == 0
        assert found["streamd_received_bytes_total"] > 0
    assert not told(lines, "disconnected")
    (line,) = told(lines, "refused")
    assert (line["reason"], line["address"]) == ("host", "127.0.0.1")


SECRET = "0123456789abcdef0123456789abcdef"
CALL = call("ping")
RATES = {"calls_per_second": 0.001, "burst": 1_000, "refusals": 1}


@pytest.mark.parametrize(
    ("reason", "status", "options", "said"),
    [
        ("connections", 503, {"connections": 1}, [get(), b""]),
        ("address_connections", 429, {"address_connections": 1}, [get(), b""]),
        ("connects_per_second", 429, {"connects_per_second": 0.001, "burst": 1_000}, [get(), b""]),
        ("host", 421, {}, [get().replace(b"localhost", b"evil")]),
        ("host", 421, {}, [upgrade(host="Host: evil")]),
        ("origin", 403, {}, [upgrade("Origin: https://evil.example")]),
        ("origin", 403, {}, [post(CALL, "Origin: null")]),
        ("token", 401, {"token_secret": SECRET}, [post(CALL)]),
        ("token", 401, {"token_secret": SECRET}, [post(CALL, "Authorization: Bearer no")]),
        ("refusals", 429, RATES, [post(CALL)] * 4),
        ("path", 404, {}, [upgrade(path="/elsewhere")]),
        ("handshake", 400, {}, [upgrade().replace(b"Version: 13", b"Version: 7")]),
        ("handshake", 400, {}, [upgrade().replace(b"Sec-WebSocket-Key", b"X-Key")]),
        ("header_bytes", 431, {"header_bytes": 1_024}, [get("/", f"X: {'x' * 2_000}")]),
        ("header_deadline", 408, {"header_deadline": 0.1}, [b"GET / HTTP/1.1\r\n"]),
        ("message_bytes", 413, {"message_bytes": 1_024}, [post(b"x" * 1_025)]),
        ("http", 400, {}, [b"what is that?\r\n\r\n"]),
    ],
)
async def test_who_is_refused_is_counted_once_by_the_reason(
    lines: pytest.LogCaptureFixture,
    reason: str,
    status: int,
    options: dict[str, Any],
    said: list[bytes],
) -> None:
    async with running(**options) as server, AsyncExitStack() as stack:
        for request in said:
            peer = await stack.enter_async_context(Peer.connect(server))
            await peer.send(request)
            response = await peer.response()
        assert response.status == status
        found = {
            name.partition("/")[2]: number
            for name, number in counts(server).items()
            if name.startswith("streamd_refused_total/") and number
        }
        assert found == {reason: 1}
    (line,) = told(lines, "refused")
    assert (line["reason"], line["address"]) == (reason, "127.0.0.1")


async def test_who_is_cut_without_an_answer_is_counted_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamd.transports.seat._TURNED_AWAY", 0)
    async with running(connections=1) as server, Peer.connect(server) as peer:
        await peer.send(get())
        await peer.response()
        async with Peer.connect(server) as other:
            assert await other.rest() == b""
        assert counts(server)["streamd_refused_total/connections"] == 1


async def test_a_refused_peer_behind_a_proxy_is_told_of_by_its_own_address(
    lines: pytest.LogCaptureFixture,
) -> None:
    theirs = "X-Forwarded-For: 203.0.113.7"
    async with running(trusted_proxy="127.0.0.1") as server:
        for request in (
            upgrade("Origin: https://evil.example", theirs),
            post(CALL, "Origin: null", theirs),
        ):
            async with Peer.connect(server) as peer:
                await peer.send(request)
                await peer.response()
    assert [line["address"] for line in told(lines, "refused")] == ["203.0.113.7"] * 2


async def test_of_a_storm_a_few_lines_are_written_and_one_for_the_rest(
    lines: pytest.LogCaptureFixture,
) -> None:
    async with running() as server:
        for _ in range(25):
            async with websocket(server):
                pass
        await until(lambda: told(lines, "disconnected: and more"))
        each, (rest,) = told(lines, "disconnected"), told(lines, "disconnected: and more")
        assert rest["times"] == rest["of"]["1006"] == 25 - len(each)
        assert 10 <= len(each) < 25
        assert counts(server)["streamd_disconnects_total/1006"] == 25


async def test_at_the_level_of_debugging_every_line_is_written(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamd.transports.journal, "_LINES", 1)
    caplog.set_level(logging.DEBUG, "streamd.peers")
    async with running() as server:
        for _ in range(5):
            async with websocket(server):
                pass
        await until(lambda: len(told(caplog, "disconnected")) == 5)
    assert [line["connection"] for line in told(caplog, "connected")] == [1, 2, 3, 4, 5]


async def test_a_slow_reader_is_told_of_at_its_beginning_and_its_end(
    lines: pytest.LogCaptureFixture,
) -> None:
    async with running(write_deadline=30) as server:
        async with websocket(server, receive_buffer=4_096) as slow, websocket(server) as peer:
            await slow.call("subscribe")
            event = {"event": {"text": "x" * 60_000}}
            for _ in range(30):
                await peer.call("insert", event)
            await until(lambda: told(lines, "slow reader"))
            (begin,) = told(lines, "slow reader")
            assert (begin["connection"], begin["address"]) == (1, "127.0.0.1")
            assert begin["unsent"] > 60_000
            assert counts(server)["streamd_slow_readers"] == 1
            assert counts(server)["streamd_matched_entries_total"] < 30
            seen = 0
            while seen < 30:
                seen += (await slow.message()).get("method") == "event"
            await until(lambda: told(lines, "slow reader caught up or gone"))
            (end,) = told(lines, "slow reader caught up or gone")
            assert (end["connection"], end["seconds"] >= 1) == (1, True)
            assert counts(server)["streamd_slow_readers"] == 0
            assert counts(server)["streamd_delivered_entries_total"] == 30
