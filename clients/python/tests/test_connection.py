import asyncio
import time

import pytest
from streamd_client import (
    CallTimeout,
    ConnectionLost,
    ConnectionRejected,
    HandshakeRefused,
    ProtocolError,
    connect,
)
from streamd_client.connection import websocket_url

from clients.python.tests.conftest import connected_to, eventually
from clients.python.tests.fake_server import drop_before

GOING = [1002, 1003, 1007, 1008, 1009, 1010, 4500, 4501, 4508, 4512, 4999]
COMING_BACK = [1000, 1001, 1011, 1012, 1013, 1014, 3000, 4000, 4001, 4008, 4029, 4499]


# URLs.


@pytest.mark.parametrize(
    ("given", "opened"),
    [
        ("ws://localhost:8080/", "ws://localhost:8080/"),
        ("wss://feed.example/a?b=c", "wss://feed.example/a?b=c"),
        ("http://localhost:8080", "ws://localhost:8080"),
        ("HTTPS://feed.example/#part", "wss://feed.example/"),
    ],
)
def test_http_urls_mean_the_same_server(given, opened):
    assert websocket_url(given) == opened


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://localhost/", "ws://", "redis://x/"])
def test_other_urls_are_refused_at_once(url):
    with pytest.raises(ValueError):
        connect(url)


@pytest.mark.parametrize(
    "url", ["redis://me:secret@host/", "ws://me:secret@/", "ws://me:secret@x:0x/"]
)
def test_a_refused_url_does_not_tell_its_password(url):
    with pytest.raises(ValueError) as info:
        connect(url)
    assert "secret" not in str(info.value)


async def test_an_http_url_connects(server):
    async with connect(server.url.replace("ws:", "http:")) as client:
        assert await client.ping() > 0


# The handshake.


@pytest.mark.parametrize("options", [{}, {"compression": False}, {"compression": True}])
async def test_compression_is_asked_for_only_where_it_is_wanted(server, options):
    event = {"user": 291, "text": "again and " * 100}
    async with connected_to(server, **options) as client:
        await client.insert(event)
        assert await client.items() == [event]
        (peer,) = server.peers
        assert bool(peer.socket.protocol.extensions) is options.get("compression", False)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 421, 426])
async def test_a_refused_handshake_stops_the_client(server, status):
    server.refusals.extend([status] * 5)
    async with connected_to(server) as client:
        calls = [asyncio.create_task(client.ping()) for _ in range(3)]
        for call in calls:
            with pytest.raises(HandshakeRefused, match=str(status)) as info:
                await call
            assert (info.value.status, info.value.body) == (status, f"refused with {status}")
        with pytest.raises(HandshakeRefused):
            await client.ping()
    assert len(server.refusals) == 4


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_a_passing_refusal_is_tried_again(server, status):
    server.refusals.extend([status] * 2)
    async with connected_to(server) as client:
        await client.ping()
    assert not server.refusals


async def test_nobody_listening_is_tried_again_until_the_deadline(server):
    await server.stop()
    async with connected_to(server, timeout=0.2) as client:
        with pytest.raises(CallTimeout) as info:
            await client.ping()
        assert isinstance(info.value.__cause__, ConnectionLost)
        assert isinstance(info.value.__cause__.__cause__, OSError)
        call = asyncio.create_task(client.ping(timeout=20))
        await server.start()
        await call


async def test_a_server_without_tls_is_no_secure_server(server):
    async with connected_to(server) as plain:
        await plain.ping()
    url = server.url.replace("ws:", "wss:")
    async with connect(url, timeout=0.3, backoff=lambda attempt: 0.01) as client:
        with pytest.raises(CallTimeout) as info:
            await client.ping()
    assert isinstance(info.value.__cause__.__cause__, OSError)


# The end of a connection.


@pytest.mark.parametrize("code", GOING)
async def test_some_close_codes_stop_the_client(server, client, code):
    async with client.subscribe() as feed:
        server.tricks["insert"].append(lambda server, call: call.peer.socket.close(code, "no"))
        call = asyncio.create_task(client.insert({"kind": "watch"}))
        with pytest.raises(ConnectionRejected) as info:
            await anext(feed)
        assert (info.value.code, info.value.reason) == (code, "no")
        with pytest.raises(ConnectionRejected):
            await call
        with pytest.raises(ConnectionRejected):
            await client.ping()
        with pytest.raises(ConnectionRejected):
            async with client.subscribe():
                pass
    assert server.opened == 1


@pytest.mark.parametrize("code", COMING_BACK)
async def test_other_close_codes_bring_the_client_back(server, client, code):
    await client.ping()
    await server.peer.socket.close(code)
    await client.ping()
    assert server.opened == 2


async def test_a_broken_connection_brings_the_client_back(server, client):
    server.tricks["ping"].append(drop_before)
    await client.ping()
    assert server.opened == 2


@pytest.mark.parametrize("frame", ["no json", "{}", '{"jsonrpc":"2.0","method":"event"}'])
async def test_a_server_that_breaks_the_protocol_stops_the_client(server, client, frame):
    await client.ping()
    async with client.subscribe() as feed:
        server.peer.send_raw(frame)
        with pytest.raises(ProtocolError):
            await anext(feed)
    with pytest.raises(ProtocolError):
        await client.ping()
    assert server.opened == 1


async def test_a_large_answer_is_taken(server, client):
    event = {"kind": "big", "text": "x" * 60_000}
    for _ in range(80):
        server.push(event)
    assert await client.items(end=80) == [event] * 80


async def test_unknown_notifications_and_answers_are_ignored(server, client):
    await client.ping()
    server.peer.notify("weather", sun=True)
    server.peer.send({"jsonrpc": "2.0", "id": 10**6, "result": "late"})
    server.peer.send({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "?"}})
    await client.ping()
    assert server.opened == 1


async def test_the_wait_that_a_shutdown_names_is_kept(server):
    waits = []
    async with connect(server.url, backoff=lambda attempt: waits.append(attempt) or 0.0) as client:
        await client.ping()
        server.peer.notify("shutdown", reconnect_after_ms=120)
        loop = asyncio.get_running_loop()
        closed_at = loop.time()
        await server.peer.socket.close(1012)
        await client.ping()
        assert loop.time() - closed_at >= 0.12
        assert waits == []


# Dead links.


async def test_a_dead_link_is_found_and_left(server):
    async with connected_to(server, ping_interval=0.05, ping_timeout=0.1) as client:
        await client.ping()
        server.mute = True
        await server.until(lambda: len(server.called("ping")) == 2)
        server.mute = False
        await server.until(lambda: server.opened == 2)
        await client.ping()


async def test_a_call_in_flight_on_a_dead_link_is_answered_by_the_next(server):
    async with connected_to(server, ping_interval=0.05, ping_timeout=0.1) as client:
        await client.ping()
        server.mute = True
        call = asyncio.create_task(client.insert({"kind": "watch"}))
        await server.until(lambda: server.called("insert") and len(server.called("ping")) == 2)
        server.mute = False
        await call
    assert server.events == [{"kind": "watch"}]


async def test_a_quiet_link_is_kept_by_pings(server):
    async with connected_to(server, ping_interval=0.02, ping_timeout=0.4) as client:
        await client.ping()
        await server.until(lambda: len(server.called("ping")) > 5)
        await client.ping()
    assert server.opened == 1


async def test_any_received_byte_is_a_sign_of_life(server):
    async with connected_to(server, ping_interval=0.05, ping_timeout=0.4) as client:
        await client.ping()
        server.mute = True  # no call is answered, the keep-alive's neither
        for asked in range(2, 7):
            await server.until(lambda asked=asked: len(server.called("ping")) == asked)
            await server.peer.socket.ping()
        assert server.opened == 1


async def test_no_ping_is_sent_while_the_server_talks(server):
    async with connected_to(server, ping_interval=0.5) as client:
        await client.ping()
        peer = server.peer
        deadline = asyncio.get_running_loop().time() + 0.8
        while asyncio.get_running_loop().time() < deadline:
            peer.notify("weather")
            await asyncio.sleep(0.05)
    assert len(server.called("ping")) == 1


async def test_a_stall_of_our_own_loop_kills_no_link(server):
    async with connected_to(server, ping_interval=0.05, ping_timeout=0.4) as client:
        await client.ping()
        server.mute = True
        await server.until(lambda: len(server.called("ping")) == 2)
        time.sleep(0.5)  # noqa: ASYNC251 - the stall
        await server.peer.socket.ping()
        await server.until(lambda: len(server.called("ping")) == 3)
    assert server.opened == 1


async def test_a_server_that_stops_reading_holds_back_the_senders(server, client):
    await client.ping()
    peer = server.peer
    peer.socket.transport.pause_reading()
    event = {"kind": "big", "text": "x" * 50_000}
    calls = [asyncio.create_task(client.insert(event)) for _ in range(400)]
    connection = client._link._connection
    await eventually(lambda: len(connection._unsent) > 100)
    assert connection._socket.transport.get_write_buffer_size() < 200_000
    for call in calls[200:]:
        call.cancel()
    await asyncio.wait(calls[200:])
    assert len(connection._unsent) <= 200
    peer.socket.transport.resume_reading()
    await asyncio.gather(*calls[:200])
