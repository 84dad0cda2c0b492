"""What the kernel keeps, and what it tells of it."""

import asyncio
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from streamd.transports import kernel
from tests.harness import until

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="figures of Linux")


@asynccontextmanager
async def pair(*, tuned: bool) -> AsyncIterator[tuple[asyncio.Transport, socket.socket]]:
    """A server's transport, and the socket of a peer that reads when it is told to."""
    loop = asyncio.get_running_loop()
    made: asyncio.Future[asyncio.Transport] = loop.create_future()

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.set_result(transport)  # type: ignore[arg-type]  # TCP has one of these

    listener = socket.create_server(("127.0.0.1", 0))
    if tuned:
        kernel.tune(listener)
    server = await loop.create_server(Protocol, sock=listener)
    peer = socket.socket()
    peer.setblocking(False)
    await loop.sock_connect(peer, listener.getsockname())
    transport = await made
    try:
        yield transport, peer
    finally:
        transport.abort()
        peer.close()
        server.close()


async def hidden(*, tuned: bool) -> int:
    """Return how much the kernel takes for a peer that does not read."""
    async with pair(tuned=tuned) as (transport, _):
        written = 0
        while transport.get_write_buffer_size() < 100_000:
            transport.write(b"x" * 10_000)
            written += 10_000
            await asyncio.sleep(0)
        return written - transport.get_write_buffer_size()


@linux
async def test_a_tuned_socket_hides_no_megabytes() -> None:
    assert await hidden(tuned=True) < 1_000_000 < await hidden(tuned=False)


async def test_tuning_is_inherited() -> None:
    async with pair(tuned=True) as (transport, _):
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 1 << 20


@linux
async def test_what_a_peer_takes_is_known() -> None:
    loop = asyncio.get_running_loop()
    async with pair(tuned=True) as (transport, peer):
        assert kernel.unsent(transport) == 0
        transport.write(b"x")
        await until(lambda: kernel.unsent(transport) == 0)
        while transport.get_write_buffer_size() < 100_000:
            transport.write(b"x" * 10_000)
            await asyncio.sleep(0)
        assert kernel.unsent(transport) > transport.get_write_buffer_size()
        before = kernel.taken(transport)
        await loop.sock_recv(peer, 1 << 20)
        await until(lambda: kernel.taken(transport) > before)


async def test_a_closed_transport_is_asked_in_vain() -> None:
    async with pair(tuned=False) as (transport, _):
        transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert kernel.unsent(transport) == 0
        assert kernel.taken(transport) <= 1


def test_open_files_are_raised_to_what_is_allowed() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    program = (
        "import resource; from streamd.transports import kernel;"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (64, {hard})); kernel.raise_open_files();"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert int(done.stdout) == hard
