"""Floods, and a server that stood still, from outside: who is too fast is told and sent away, nobody else notices."""

import asyncio
import contextlib
import signal

import pytest
from streamd_client import connect

from streamd.address import Address
from tests.harness import TEXT, Peer, call, frame, upgrade, websocket
from tests.promises.serving import daemon


async def test_ten_times_the_rate_is_refused_then_ended_and_disturbs_nobody() -> None:
    limits = ("--calls-per-second", "50", "--burst", "1", "--refusals", "200", "--store", "memory:")
    async with daemon(*limits) as server:
        address = Address("127.0.0.1", server.port)
        async with websocket(address) as hasty, connect(server.url) as other:
            feed = other.subscribe()
            async with feed:
                sending = asyncio.create_task(flood(hasty))
                codes = await answers(hasty)
                for number in range(10):
                    await other.insert({"n": number})
                    assert (await anext(feed)).event == {"n": number}
                sending.cancel()
                await asyncio.wait([sending])
        assert codes["result"] >= 50
        assert codes["-32005"] >= 200
        assert codes["closed"] == 4029


async def flood(peer: Peer) -> None:
    with contextlib.suppress(ConnectionError):
        for number in range(2_000):
            await peer.send(frame(TEXT, call("ping", ident=number)))
            await asyncio.sleep(0.002)


async def answers(peer: Peer) -> dict[str, int]:
    """Count what comes until the connection is closed, and say with which code."""
    counted = {"result": 0, "-32005": 0, "closed": 0}
    while True:
        received = await peer.frame()
        if received.opcode == 0x8:
            return counted | {"closed": received.close_code}
        counted["result" if b'"pong"' in received.payload else "-32005"] += 1


async def test_a_thousand_connections_at_once_from_one_address() -> None:
    limits = ("--connects-per-second", "5", "--burst", "10", "--store", "memory:")
    async with daemon(*limits) as server:
        address = Address("127.0.0.1", server.port)
        async with websocket(address) as other, contextlib.AsyncExitStack() as stack:
            peers: list[Peer] = []

            async def come() -> int:
                try:
                    peer = await stack.enter_async_context(Peer.connect(address))
                    peers.append(peer)
                    await peer.send(upgrade())
                    return (await peer.response()).status
                except (ConnectionError, EOFError):
                    return 0

            ends = await asyncio.gather(*[come() for _ in range(1_000)])
            assert 1 <= ends.count(101) <= 50 + 5 * 20, "a burst, and what came in up to 20 s"
            assert ends.count(429) >= 1
            assert ends.count(0) + ends.count(429) >= 850
            assert await other.call("ping") == "pong"


async def test_a_server_that_stood_still_for_three_seconds_cuts_nobody() -> None:
    async with daemon("--ping", "1", "--pong", "0.5", "--store", "memory:") as server:
        lost: list[int] = []

        def wait_before(attempt: int) -> float:
            lost.append(attempt)
            return 0.1

        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(connect(server.url, backoff=wait_before))
                for _ in range(20)
            ]
            feeds = [await stack.enter_async_context(each.subscribe()) for each in clients]
            await asyncio.gather(*[client.ping() for client in clients])
            server.send(signal.SIGSTOP)
            try:
                await asyncio.sleep(3)
            finally:
                server.send(signal.SIGCONT)
            await clients[0].insert({"n": 1})
            for feed in feeds:
                assert (await anext(feed)).event == {"n": 1}
            assert lost == [], "nobody had to come back"
        code = await server.stop()
    assert code == 0
    assert b"Traceback" not in server.output


@pytest.mark.parametrize("request_", [upgrade(), b"\x16\x03\x01"])
async def test_a_handshake_byte_by_byte_is_ended_in_time(request_: bytes) -> None:
    async with daemon("--header-deadline", "1", "--store", "memory:") as server:
        address = Address("127.0.0.1", server.port)
        async with Peer.connect(address) as slow, websocket(address) as other:
            begin = asyncio.get_running_loop().time()
            with contextlib.suppress(ConnectionError):
                for byte in request_:
                    await slow.send(bytes([byte]))
                    await asyncio.sleep(0.1)
            await slow.rest()
            assert asyncio.get_running_loop().time() - begin < 5
            assert await other.call("ping") == "pong"
