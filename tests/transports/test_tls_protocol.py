"""The handshake of TLS: what a peer may cost that does not get through it."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from time import monotonic

import pytest

from streamd.server import RunningServer
from tests.harness import DEADLINE, Peer, get, running, until
from tests.test_metrics import counted
from tests.transports.certificates import Files, exchange, make, outdated

TIME = 1.0
"""Seconds that a peer has here."""
HELLO = bytes.fromhex("16030100c8")
"""How a handshake begins: the header of a record of 200 bytes (RFC 8446, section 5.1)."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return make(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def server(files: Files) -> AsyncIterator[RunningServer]:
    async with running(header_deadline=TIME, connections=3, **files.options) as server:
        yield server


@pytest.mark.parametrize("start", [b"", HELLO])
async def test_who_says_nothing_is_cut(server: RunningServer, start: bytes) -> None:
    async with Peer.connect(server) as peer:
        begun = monotonic()
        await peer.send(start)
        assert await peer.rest() == b""
        assert 0.9 * TIME < monotonic() - begun < DEADLINE


async def test_who_says_little_by_little_is_cut(server: RunningServer) -> None:
    async with Peer.connect(server) as peer:
        begun = monotonic()
        ended = asyncio.create_task(peer.rest())
        await peer.send(HELLO)
        while not ended.done():
            assert monotonic() - begun < DEADLINE / 2
            await peer.flood(b"\x01", 1)
            await asyncio.wait([ended], timeout=TIME / 10)
        assert monotonic() - begun > 0.9 * TIME


async def test_a_handshake_takes_a_place_among_all(server: RunningServer, files: Files) -> None:
    census = server.application.gate.census
    async with Peer.connect(server), Peer.connect(server), Peer.connect(server):
        await until(lambda: census.connections == 3)
        assert (await exchange(server, files.context(), get())).status == 503
        await until(lambda: census.connections == 0)
    assert (await exchange(server, files.context(), get())).status == 200
    await until(lambda: (census.connections, census.turned_away) == (0, 0))


@pytest.mark.parametrize("bytes_", [get(), b"\x00" * 100, HELLO + b"\xff" * 200])
async def test_who_speaks_no_tls_leaves_nothing_behind(
    server: RunningServer, bytes_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with Peer.connect(server) as peer:
        await peer.send(bytes_)
        await peer.rest()
    async with Peer.connect(server) as peer:
        await peer.send(HELLO)
        peer.reset()
    await until(lambda: server.application.gate.census.connections == 0)
    assert not [each for each in caplog.records if each.levelno > logging.INFO]
    assert not any(each.exc_info for each in caplog.records)


async def does_not_trust_us(server: RunningServer, files: Files) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await exchange(server, ssl.create_default_context(), get())


async def speaks_an_older_tls(server: RunningServer, files: Files) -> None:
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await exchange(server, outdated(files.context()), get())


def says(start: bytes) -> Callable[[RunningServer, Files], Awaitable[None]]:
    async def say(server: RunningServer, files: Files) -> None:
        async with Peer.connect(server) as peer:
            await peer.send(start)
            await peer.rest()

    return say


async def goes_in_the_middle(server: RunningServer, files: Files) -> None:
    async with Peer.connect(server) as peer:
        await peer.send(HELLO)
        peer.reset()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    "peer",
    [
        says(b""),
        says(HELLO),
        says(get()),
        speaks_an_older_tls,
        does_not_trust_us,
        goes_in_the_middle,
    ],
)
async def test_who_does_not_get_through_is_counted_and_told_of_as_refused(
    server: RunningServer,
    files: Files,
    peer: Callable[[RunningServer, Files], Awaitable[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "streamd.peers")
    await peer(server, files)
    await until(lambda: caplog.records)
    (line,) = [vars(each) for each in caplog.records]
    assert (line["message"], line["reason"], line["address"]) == ("refused", "tls", "127.0.0.1")
    assert (await exchange(server, files.context(), get())).status == 200
    found = counted(server.application.gate.worker.meters)
    assert {name: n for name, n in found.items() if "refused" in name and n} == {
        "streamd_refused_total/tls": 1
    }


async def test_a_handshake_holds_no_stop_up(files: Files) -> None:
    async with AsyncExitStack() as stack:
        async with running(drain=DEADLINE, header_deadline=DEADLINE, **files.options) as server:
            peer = await stack.enter_async_context(Peer.connect(server))
            await until(lambda: server.application.gate.census.connections == 1)
            begun = monotonic()
        assert await peer.rest() == b""
        assert monotonic() - begun < DEADLINE / 2
