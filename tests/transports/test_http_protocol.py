"""What HTTP peers may cost: headers, bodies, time, answers that nobody takes."""

import asyncio
import logging
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

import streamd.turns
from streamd.server import RunningServer
from streamd.transports.http_protocol import HttpProtocol
from streamd.turns import Line
from streamd.worker import Worker
from tests.harness import PING, TEXT, Peer, call, frame, get, post, running, until, upgrade

MIB = 1 << 20


async def assert_serves(server: RunningServer) -> None:
    async with Peer.connect(server) as peer:
        await peer.send(post(call("ping")))
        assert (await peer.response()).json["result"] == "pong"


# Size.


async def test_header_at_its_limit_and_one_over() -> None:
    async with running(header_bytes=1000) as server:
        for size, status in ((1000, 200), (1001, 431)):
            async with Peer.connect(server) as peer:
                await peer.send(get("/", "X: " + "y" * (size - len(get("/", "X: ")))))
                assert (await peer.response()).status == status


@pytest.mark.parametrize(
    "line", [b"X-Header: yyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 1000, b"y" * 40_000]
)
async def test_200_mb_of_header_lines(server: RunningServer, line: bytes) -> None:
    async with Peer.connect(server) as peer:
        await peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        sent = await peer.flood(line, 200_000_000 // len(line))
        assert sent * len(line) < 30 * MIB
        assert b" 431 " in (await peer.rest()).split(b"\r\n")[0]
    await assert_serves(server)


async def test_endless_request_line(server: RunningServer) -> None:
    async with Peer.connect(server) as peer:
        await peer.send(b"GET /")
        await peer.flood(b"x" * 10_000, 10_000)
        assert b" 431 " in (await peer.rest()).split(b"\r\n")[0]


@pytest.mark.parametrize("part", [b"X: yyyyyyyyyyyyyy\r\n", b"y" * 50])
async def test_endless_trailers(server: RunningServer, part: bytes) -> None:
    head = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    async with Peer.connect(server) as peer:
        await peer.send(head + b"0\r\nT: ")
        sent = await peer.flood(part * 1000, 10_000)
        assert sent * len(part) * 1000 < 30 * MIB
        assert b" 431 " in (await peer.rest()).split(b"\r\n")[0]


async def test_trailers_of_a_usual_size_are_passed_over(server: RunningServer) -> None:
    text = call("ping")
    head = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    async with Peer.connect(server) as peer:
        await peer.send(head + b"%x\r\n%b\r\n0\r\nT: 1\r\n\r\n" % (len(text), text))
        assert (await peer.response()).json["result"] == "pong"
        await peer.send(post(text))
        assert (await peer.response()).json["result"] == "pong"


async def test_refused_body_is_not_read_for_ever(server: RunningServer) -> None:
    async with Peer.connect(server) as peer:
        await peer.send(post(b"", length=200_000_000))
        assert (await peer.response()).status == 413
        sent = await peer.flood(b"x" * 100_000, 2000)
        assert sent * 100_000 < 30 * MIB


# Time.


@pytest.fixture
async def hasty() -> AsyncIterator[RunningServer]:
    """A server whose deadlines pass within a second."""
    async with running(header_deadline=0.4, write_deadline=0.5, message_bytes="16MiB") as server:
        yield server


async def test_silent_connection_is_ended(hasty: RunningServer) -> None:
    async with Peer.connect(hasty) as peer:
        assert await peer.rest() == b""


async def drip(peer: Peer, data: bytes) -> bytes:
    """Send one byte after the other, until the server wants no more; return what it says."""
    for byte in data:
        try:
            await peer.send(bytes([byte]))
        except ConnectionError:
            break
        await asyncio.sleep(0.05)
    return await peer.rest()


async def test_header_byte_by_byte(hasty: RunningServer) -> None:
    async with Peer.connect(hasty) as peer:
        assert b" 408 " in await drip(peer, get("/", "X: " + "y" * 100)[:60])


async def test_second_header_byte_by_byte(hasty: RunningServer) -> None:
    async with Peer.connect(hasty) as peer:
        await peer.send(get())
        assert (await peer.response()).status == 200
        assert b" 408 " in await drip(peer, get("/", "X: " + "y" * 100)[:60])


@pytest.mark.parametrize("ready", [b"", b" " * 100])
async def test_body_byte_by_byte(hasty: RunningServer, ready: bytes) -> None:
    async with Peer.connect(hasty) as peer:
        await peer.send(post(ready, length=1000))
        assert b" 408 " in await drip(peer, b" " * 60)


async def test_pipelined_body_that_never_comes(hasty: RunningServer) -> None:
    async with Peer.connect(hasty) as peer:
        await peer.send(post(call("ping")) + post(b" ", length=1000))
        assert (await peer.response()).json["result"] == "pong"
        assert b" 408 " in await peer.rest()


async def test_large_body_over_a_slow_line_is_taken(hasty: RunningServer) -> None:
    body = call("ping").ljust(60_000)
    async with Peer.connect(hasty) as peer:
        await peer.send(post(b"", length=len(body)))
        for start in range(0, len(body), 2_000):
            await peer.send(body[start : start + 2_000])
            await asyncio.sleep(0.04)
        assert (await peer.response()).json["result"] == "pong"


async def test_idle_connection_after_an_answer_is_ended(hasty: RunningServer) -> None:
    async with Peer.connect(hasty) as peer:
        await peer.send(get())
        assert (await peer.response()).status == 200
        assert await peer.rest() == b""


async def test_body_that_is_slow_after_its_refusal(hasty: RunningServer) -> None:
    async with Peer.connect(hasty) as peer:
        await peer.send(post(b"", length=17 * MIB))
        assert (await peer.response()).status == 413
        assert await drip(peer, b" " * 60) == b""


async def test_answer_that_nobody_takes(hasty: RunningServer) -> None:
    event = {"user": 1, "text": "x" * 60_000}
    async with Peer.connect(hasty) as producer:
        for _ in range(60):
            await producer.send(post(call("insert", [event])))
            await producer.response()
    gate = hasty.application.gate
    assert gate is not None
    async with Peer.connect(hasty, receive_buffer=4096) as peer:
        await peer.send(post(call("items", {"end": 60})))
        await peer.read(1)
        await until(lambda: not gate._others())
        assert len(await peer.rest()) < 2 * MIB
    await assert_serves(hasty)


async def test_a_body_in_the_smallest_chunks_is_taken_by_and_by(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamd.turns, "_ALLOWANCE", 1e-9)
    monkeypatch.setattr(streamd.turns, "_SHARE", 0)
    gate = server.application.gate
    assert gate is not None
    async with Peer.connect(server) as peer:
        await peer.send(post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
        await until(lambda: any(each.cycle for each in gate._others()))
        (protocol,) = gate._others()
        body = call("ping").ljust(30_000)
        protocol.data_received(b"".join(b"1\r\n%c\r\n" % byte for byte in body))
        taken = [protocol._body_size]
        while protocol._kept:
            await asyncio.sleep(0)
            taken.append(protocol._body_size)
        assert max(b - a for a, b in pairwise(taken)) <= 1_000, "others have their turns meanwhile"
        assert taken[0] == 0
        assert taken[-1] == len(body)
        await peer.send(b"0\r\n\r\n")
        assert (await peer.response()).json["result"] == "pong"


async def test_who_brings_much_stands_behind_who_brings_little_and_not_behind_newcomers(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = server.application.gate
    assert gate is not None
    fed: list[HttpProtocol | None] = []
    take = HttpProtocol._take

    def noting(self: HttpProtocol, data: bytes) -> None:
        fed.append(self)
        take(self, data)

    async with Peer.connect(server) as one, Peer.connect(server) as other:
        for peer in (one, other):
            await peer.send(get())
            assert (await peer.response()).status == 200, "neither is new"
        monkeypatch.setattr(HttpProtocol, "_take", noting)
        much, little = gate._others()
        gate.turns.spend(1)
        for _ in range(20):
            gate.turns.add(lambda: fed.append(None), Line.NEWCOMERS)
        much.data_received(post(call("ping").ljust(5_000)))
        little.data_received(post(call("ping")))
        assert fed == [], "both wait"
        await until(lambda: len(fed) == 23)
    assert [each for each in fed if each] == [little, much, much]
    assert fed[0] is little
    assert fed.index(much) <= 2, "newcomers and who brings much have their turns"


async def test_nothing_is_lost_of_what_comes_with_the_handshake(server: RunningServer) -> None:
    async with Peer.connect(server) as peer:
        header = upgrade(*["X: " + "y" * 5_000] * 3)
        await peer.send(header + frame(TEXT, call("ping")) * 2_000)
        assert (await peer.response()).status == 101
        for _ in range(2_000):
            assert (await peer.message())["result"] == "pong"
        assert await peer.call("ping") == "pong"


# Requests in a row.


async def test_requests_one_after_the_other(server: RunningServer) -> None:
    async with Peer.connect(server) as peer:
        for _ in range(20):
            await peer.send(post(call("ping")))
            assert (await peer.response()).json["result"] == "pong"


async def test_pipelined_requests_are_answered_in_their_order(server: RunningServer) -> None:
    async with Peer.connect(server) as peer:
        await peer.send(b"".join(post(call("ping", ident=ident)) for ident in range(8)))
        assert [(await peer.response()).json["id"] for _ in range(8)] == list(range(8))


async def test_a_request_that_waited_for_its_turn_is_not_cut_off_as_an_idle_connection(
    server: RunningServer,
) -> None:
    gate = server.application.gate
    assert gate is not None
    async with Peer.connect(server) as peer:
        await until(gate._others)
        (protocol,) = gate._others()
        text = call("ping")
        whole = post(text)
        protocol.data_received(get())
        gate.turns.spend(1)
        protocol.data_received(whole[: -len(text)])
        assert protocol._kept, "it waits, and the first is answered meanwhile"
        assert (await peer.response()).status == 200
        await until(lambda: not protocol._kept)
        assert protocol.timeout_keep_alive_task is None
        await peer.send(text)
        assert (await peer.response()).json["result"] == "pong"


async def test_too_many_pipelined_requests_get_some_answers_and_an_end(
    server: RunningServer,
) -> None:
    async with Peer.connect(server) as peer:
        await peer.flood(get() * 5_000, 20)
        answered = (await peer.rest()).count(b"HTTP/1.1 200")
        assert 1 <= answered < 100
    await assert_serves(server)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        post(b"").replace(b"Content-Length: 0", b"Content-Length: -1"),
        post(b"").replace(b"Content-Length: 0", b"Content-Length: 99999999999999999999999"),
        post(b"", "Transfer-Encoding: chunked"),
        post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"zz\r\n",
    ],
)
async def test_garbage_is_refused(server: RunningServer, garbage: bytes) -> None:
    async with Peer.connect(server) as peer:
        await peer.send(garbage)
        answer = await peer.rest()
        assert answer.startswith(b"HTTP/1.1 400 "), answer
    await assert_serves(server)


async def test_garbage_after_a_request_does_not_spoil_its_answer(server: RunningServer) -> None:
    async with Peer.connect(server) as peer:
        await peer.send(post(call("ping")) + b"\x00\x01\x02\x03")
        assert (await peer.response()).json["result"] == "pong"
        await peer.rest()


# Upgrades.


async def test_other_upgrades_are_ignored(server: RunningServer) -> None:
    h2c = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    async with Peer.connect(server) as peer:
        await peer.send(get("/", *h2c) + get("/health/live", *h2c))
        assert (await peer.response()).status == 200
        assert (await peer.response()).json == {"status": "live"}
        await peer.send(post(call("ping"), *h2c))
        assert (await peer.response()).json["result"] == "pong"


async def test_upgrade_behind_a_request_does_not_mix_with_its_answer(
    server: RunningServer,
) -> None:
    async with Peer.connect(server) as peer:
        await peer.send(post(call("ping")) + upgrade() + frame(PING, b"x") + frame(TEXT, b"{}"))
        assert (await peer.response()).json["result"] == "pong"
        assert b"101" not in await peer.rest()


async def test_upgrade_after_an_answer(server: RunningServer) -> None:
    async with Peer.connect(server) as peer:
        await peer.send(post(call("ping")))
        assert (await peer.response()).status == 200
        await peer.send(upgrade())
        assert (await peer.response()).status == 101
        assert await peer.call("ping") == "pong"


@pytest.mark.parametrize("request_", [b"", get()[:10], post(call("ping"))[:-5], get()])
async def test_peer_that_goes_away_at_any_point(server: RunningServer, request_: bytes) -> None:
    gate = server.application.gate
    assert gate is not None
    async with Peer.connect(server) as peer:
        await peer.send(request_)
        await until(gate._others)
        peer.reset()
        await until(lambda: not gate._others())
    await assert_serves(server)


@pytest.mark.parametrize("said", [b"hello\r\n\r\n", upgrade(host=""), upgrade() + b"\xff\xff"])
async def test_a_refusal_that_nobody_waits_for_is_no_defect(
    server: RunningServer, caplog: pytest.LogCaptureFixture, said: bytes
) -> None:
    gate = server.application.gate
    assert gate is not None
    async with Peer.connect(server) as peer:
        await until(gate._others)
        await peer.send(said)
    await until(lambda: not gate._others() and not len(gate.keepalive))
    assert [record.message for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize("requests", [1, 2, 8])
async def test_a_peer_that_is_gone_before_its_first_answer_is_no_defect(
    server: RunningServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    requests: int,
) -> None:
    gate = server.application.gate
    assert gate is not None
    begun, gone = asyncio.Event(), asyncio.Event()
    called: list[object] = []

    async def answer_later(self: Worker, *args: object) -> bytes:
        called.append(args)
        begun.set()
        await gone.wait()
        return b"{}"

    monkeypatch.setattr(Worker, "post", answer_later)
    async with Peer.connect(server) as peer:
        await peer.send(post(call("ping")) * requests)
        await begun.wait()
        peer.reset()
        await until(lambda: not gate._others())
    gone.set()
    assert gate._state is not None
    await until(lambda state=gate._state: not state.tasks)
    assert len(called) == 1, "nobody is there for the answers to the others"
    assert [record.message for record in caplog.records if record.levelno > logging.INFO] == []
