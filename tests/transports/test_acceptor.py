"""streamd.transports.acceptor: who comes is let in, a few at a time, by whom it should be."""

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from streamd.address import bind, closing, resolve
from streamd.transports.acceptor import Acceptor
from tests.harness import DEADLINE, until

_BATCH = 16


class Taker(asyncio.Protocol):
    """Somebody with an acceptor, who counts whom it let in."""

    def __init__(self, listener: socket.socket) -> None:
        self.transports: list[asyncio.BaseTransport] = []
        self.names: list[object] = []
        self.refuses: Callable[[], bool] = lambda: False
        self.acceptor = Acceptor(listener, self.meet, lambda: self.refuses())

    def meet(self, address: str) -> "Taker":
        assert address == "127.0.0.1"
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transports.append(transport)
        self.names.append(transport.get_extra_info("peername"))

    def __len__(self) -> int:
        return len(self.transports)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with closing(bind("127.0.0.1", 0, resolve("127.0.0.1"))) as sockets:
        sockets[0].listen(200)
        yield sockets[0]


@pytest.fixture
async def takers(listener: socket.socket) -> AsyncIterator[list[Taker]]:
    """Two who accept from one listener, as two workers do, each by a file of its own."""
    with listener.dup() as one, listener.dup() as other:
        made = [Taker(one), Taker(other)]
        yield made
        for taker in made:
            await taker.acceptor.aclose()
            for transport in taker.transports:
                transport.close()


@contextmanager
def comers(listener: socket.socket, number: int) -> Iterator[list[socket.socket]]:
    """Let so many come at once."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(listener.getsockname(), DEADLINE))
            for _ in range(number)
        ]


async def test_all_are_let_in_and_served(listener: socket.socket, takers: list[Taker]) -> None:
    taker = takers[0]
    taker.acceptor.open()
    with comers(listener, 5 * _BATCH) as socks:
        await until(lambda: len(taker) == 5 * _BATCH)
        assert set(taker.names) == {sock.getsockname() for sock in socks}


async def test_few_are_let_in_at_a_time(listener: socket.socket, takers: list[Taker]) -> None:
    taker = takers[0]
    taker.acceptor.open()
    with comers(listener, 5 * _BATCH):
        before = 0
        while len(taker) < 5 * _BATCH:
            await asyncio.sleep(0)
            assert len(taker) <= before + _BATCH
            before = len(taker)


async def test_who_has_more_lets_others_go_first(
    listener: socket.socket, takers: list[Taker]
) -> None:
    one, other = takers
    with comers(listener, 3 * _BATCH):
        one.acceptor.open()
        await until(lambda: len(one) == 3 * _BATCH)
    one.refuses = lambda: len(one) > len(other)
    other.refuses = lambda: len(other) > len(one)
    other.acceptor.open()
    with comers(listener, 9 * _BATCH):
        await until(lambda: len(one) + len(other) == 12 * _BATCH)
        # Each may have looked before what the other had just taken was there to be seen.
        assert abs(len(one) - len(other)) <= 2 * _BATCH


async def test_who_gives_way_to_nobody_takes_them(
    listener: socket.socket, takers: list[Taker]
) -> None:
    taker = takers[0]
    asked: list[int] = []

    def gives_way() -> bool:
        asked.append(len(taker))
        return True

    taker.refuses = gives_way
    taker.acceptor.open()
    with comers(listener, 2 * _BATCH + 1):
        await until(lambda: len(taker) == 2 * _BATCH + 1)
    # Each time it gave way anew.
    assert asked == [0, _BATCH, 2 * _BATCH]


async def test_who_waits_when_one_ends_is_taken_by_another(
    listener: socket.socket, takers: list[Taker]
) -> None:
    one, other = takers
    asked = asyncio.Event()
    one.refuses = lambda: not asked.set()
    one.acceptor.open()
    with comers(listener, 3):
        await asked.wait()
        await one.acceptor.aclose()
        await one.acceptor.aclose()
        other.acceptor.open()
        await until(lambda: len(other) == 3)
    assert not one.transports


async def test_who_has_gone_again_is_no_harm(listener: socket.socket, takers: list[Taker]) -> None:
    taker = takers[0]
    with comers(listener, 20) as socks:
        for sock in socks:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
    taker.acceptor.open()
    with comers(listener, 1) as (last,):
        await until(lambda: last.getsockname() in taker.names)


@contextmanager
def no_files() -> Iterator[None]:
    """Let this process open no further file."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_without_files_it_says_so_and_goes_on_when_there_are_some(
    listener: socket.socket, takers: list[Taker], caplog: pytest.LogCaptureFixture
) -> None:
    taker = takers[0]
    with comers(listener, 3):
        with no_files():
            taker.acceptor.open()
            await until(lambda: caplog.messages)
            assert caplog.messages == ["no connection can be accepted: Too many open files"]
            assert not taker.transports
        await until(lambda: len(taker) == 3)
    assert len(caplog.messages) == 1
