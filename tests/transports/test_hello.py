"""The first message of a TLS client: when it is all there, and that nothing is done before."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from streamd.transports.hello import hear, size_of
from tests.harness import DEADLINE, running, until
from tests.transports.certificates import make


def hello() -> bytes:
    """Return what a client says first."""
    said = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(
        ssl.MemoryBIO(), said, server_hostname="localhost"
    )
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return said.read()


def in_records(message: bytes, size: int) -> bytes:
    """Return a message in records of so many bytes of it each."""
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join([b"\x16\x03\x01" + len(part).to_bytes(2) + part for part in parts])


@pytest.mark.parametrize("records", [1, 3, 16])
def test_it_is_known_when_it_is_whole(records: int) -> None:
    message = hello()[5:]
    whole = in_records(message, -(-len(message) // records))
    for length in range(len(whole)):
        assert length < size_of(whole[:length]) <= len(whole)
    assert size_of(whole) == len(whole)


def test_what_is_cut_into_very_many_records_is_not_waited_for() -> None:
    fine = in_records(hello()[5:], 1)
    assert size_of(fine[:95]) == 96
    assert size_of(fine) == size_of(fine[:96]) == 96


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n", b"\x15\x03\x01\0\x02..", b"\x16\x03\x01\0\0", in_records(b"\x02\0\0\x09", 4),
     in_records(b"\x01\xff\xff\xff", 4)],
)  # fmt: skip
def test_what_is_none_is_not_waited_for(data: bytes) -> None:
    assert size_of(data) <= len(data)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    server.setblocking(False)
    with client, server:
        yield client, server


async def test_it_is_heard_when_the_last_byte_is_there(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, server = pair
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    whole = hello()
    hearing = asyncio.create_task(hear(server))
    for part in (whole[:1], whole[1:9], whole[9:-1]):
        client.send(part)
        await asyncio.sleep(0.02)
        assert not hearing.done()
    client.send(whole[-1:])
    await asyncio.wait_for(hearing, DEADLINE)
    assert server.recv(10_000) == whole, "nothing was read"


async def test_who_goes_in_the_middle_is_not_waited_for(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, server = pair
    client.send(hello()[:9])
    hearing = asyncio.create_task(hear(server))
    await asyncio.sleep(0.02)
    client.shutdown(socket.SHUT_WR)
    await asyncio.wait_for(hearing, DEADLINE)


def answered(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


async def test_handshakes_that_all_begin_at_once_are_begun_in_turns(tmp_path: Path) -> None:
    async with running(**make(tmp_path).options) as server:
        many = [socket.create_connection((server.host, server.port)) for _ in range(100)]
        await until(lambda: server.application.gate.census.connections == 100)
        first = hello()
        for sock in many:
            sock.setblocking(False)
            sock.send(first)
        done = [0]
        async with asyncio.timeout(DEADLINE):
            while done[-1] < 100:
                await asyncio.sleep(0)
                done.append(sum(map(answered, many)))
        assert max(after - before for before, after in pairwise(done)) <= 10, (
            "in one round of the loop"
        )
        for sock in many:
            sock.close()
