"""The WebSocket transport, with real sockets and peers that do everything wrong."""

import asyncio
import random
import tracemalloc
from collections.abc import AsyncIterator, Sequence

import pytest

import streamd.turns
from streamd.log import Draft
from streamd.server import RunningServer
from streamd.stores.base import Appended, Stream
from streamd.stores.memory import MemoryStore
from streamd.transports.websocket import SLOWEST, WebSocket
from streamd.turns import Line
from tests.harness import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Peer,
    call,
    frame,
    running,
    until,
    websocket,
)

PONG_CALL = call("ping")


@pytest.fixture(params=[False, True], ids=["plain", "compression"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[RunningServer]:
    """A server with and without compression; the peers here would all like it."""
    async with running(compression=request.param) as server:
        yield server


async def assert_serves(server: RunningServer) -> None:
    """See that others are served, whatever somebody did."""
    async with websocket(server) as other:
        assert await other.call("ping") == "pong"


# Messages.


async def test_text_is_answered(peer: Peer) -> None:
    assert await peer.call("ping") == "pong"


async def test_frames_in_pieces(peer: Peer) -> None:
    for byte in frame(TEXT, PONG_CALL):
        await peer.send(bytes([byte]))
    assert (await peer.message())["result"] == "pong"


async def test_many_frames_in_one_piece(peer: Peer) -> None:
    await peer.send(frame(TEXT, PONG_CALL) * 3000)
    for _ in range(3000):
        assert (await peer.message())["result"] == "pong"


async def test_many_small_frames_of_one_peer_leave_others_their_turns(
    server: RunningServer, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamd.turns, "_ALLOWANCE", 1e-9)
    monkeypatch.setattr(streamd.turns, "_SHARE", 0)
    answered: list[str] = []
    begun = asyncio.Event()

    async def last_of_many() -> None:
        await peer.send(frame(PING, b"") * 30_000 + frame(TEXT, PONG_CALL))
        while (await peer.frame())[0] == PONG:
            begun.set()
        answered.append("many")

    async def one(other: Peer) -> None:
        assert await other.call("ping") == "pong"
        answered.append("one")

    async with websocket(server) as other:
        many = asyncio.create_task(last_of_many())
        await begun.wait()
        await one(other)
        await many
    assert answered == ["one", "many"]


async def test_who_brings_much_stands_behind_who_brings_little_and_not_behind_newcomers(
    server: RunningServer, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = server.application.gate
    assert gate is not None
    fed: list[WebSocket | None] = []
    bite = WebSocket._bite

    def noting(self: WebSocket, data: bytes) -> None:
        fed.append(self)
        bite(self, data)

    async with websocket(server) as other:
        for each in (peer, other):
            assert await each.call("ping") == "pong", "neither is new"
        monkeypatch.setattr(WebSocket, "_bite", noting)
        much, little = gate.keepalive
        gate.turns.spend(1)
        for _ in range(20):
            gate.turns.add(lambda: fed.append(None), Line.NEWCOMERS)
        much.data_received(frame(PING, b"") * 1_000)
        little.data_received(frame(PING, b""))
        assert fed == [], "both wait"
        await until(lambda: len(fed) == 23)
    assert [each for each in fed if each] == [little, much, much]
    assert fed[0] is little
    assert fed.index(much) <= 2, "newcomers and who brings much have their turns"


async def test_a_defect_ends_the_connection_though_its_bytes_waited_for_their_turn(
    server: RunningServer, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise ZeroDivisionError

    assert await peer.call("ping") == "pong"
    monkeypatch.setattr(streamd.turns, "_ALLOWANCE", 1e-9)
    monkeypatch.setattr(WebSocket, "_take", fail)
    gate = server.application.gate
    assert gate is not None
    gate.turns.spend(1)
    await peer.send(frame(PING, b""))
    with pytest.raises((ConnectionError, EOFError)):
        await peer.frame()
    await until(lambda: not len(gate.keepalive))


async def test_fragmented_message(peer: Peer) -> None:
    text = call("insert", [{"user": "Zoë", "kind": "€"}])
    for index, byte in enumerate(text[:-1]):
        part = frame(CONT if index else TEXT, bytes([byte]), fin=False)
        await peer.send(part + frame(PING, b"between"))
        assert await peer.frame() == (PONG, b"between", True)
    await peer.send(frame(CONT, text[-1:]))
    assert (await peer.message())["result"]["duplicate"] is False


async def test_empty_fragments_cost_nothing(peer: Peer) -> None:
    await peer.send(frame(TEXT, PONG_CALL, fin=False))
    await peer.send(frame(CONT, b"", fin=False) * 20_000)
    await peer.send(frame(CONT, b""))
    assert (await peer.message())["result"] == "pong"


@pytest.mark.parametrize("fragments", [1, 3])
async def test_binary_is_refused_and_the_connection_kept(peer: Peer, fragments: int) -> None:
    for index in range(fragments):
        opcode = CONT if index else BINARY
        await peer.send(frame(opcode, PONG_CALL, fin=index == fragments - 1))
    answer = await peer.message()
    assert (answer["error"]["code"], answer["id"]) == (-32600, None)
    assert await peer.call("ping") == "pong"


async def test_empty_message_is_refused_and_the_connection_kept(peer: Peer) -> None:
    await peer.send(frame(TEXT, b""))
    assert (await peer.message())["error"]["code"] == -32700
    assert await peer.call("ping") == "pong"


async def test_message_of_the_largest_size(peer: Peer) -> None:
    text = PONG_CALL + b" " * ((1 << 20) - len(PONG_CALL))
    await peer.send(frame(TEXT, text))
    assert (await peer.message())["result"] == "pong"


async def test_large_messages_leave_nothing_behind(server: RunningServer, peer: Peer) -> None:
    for _ in range(3):
        await test_message_of_the_largest_size(peer)
    connection = next(iter(server.application.gate.keepalive))  # type: ignore[union-attr]  # it runs
    assert connection._parser.reader.buffer.__sizeof__() < 100_000


async def test_a_message_is_kept_once_until_it_is_complete_and_then_no_more(
    server: RunningServer, peer: Peer
) -> None:
    connection = next(iter(server.application.gate.keepalive))  # type: ignore[union-attr]  # it runs
    assert isinstance(connection, WebSocket)
    size = (1 << 20) - 100
    half = frame(TEXT, PONG_CALL + b" " * (size - len(PONG_CALL)), fin=False)
    tracemalloc.start()
    try:
        await peer.send(half)
        await until(lambda: connection._unfinished >= size)
        assert tracemalloc.get_traced_memory()[0] < 1.5 * size
        await peer.send(frame(CONT, b" "))
        assert (await peer.message())["result"] == "pong"
        await peer.send(frame(TEXT, PONG_CALL + b" " * (size - len(PONG_CALL))))
        assert (await peer.message())["result"] == "pong"
        assert tracemalloc.get_traced_memory()[0] < 0.5 * size
    finally:
        tracemalloc.stop()


# What ends a connection.


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b'"\xed\xa0\x80"'), 1007),
        (frame(TEXT, b"\xe2\x82", fin=False) + frame(CONT, b"x"), 1007),
        (frame(TEXT, b"x" * ((1 << 20) + 1)), 1009),
        (frame(TEXT, length=1 << 62), 1009),
        (frame(TEXT, b"x" * 600_000, fin=False) + frame(CONT, b"x" * 600_000), 1009),
        (frame(TEXT, PONG_CALL, masked=False), 1002),
        (frame(TEXT, PONG_CALL, reserved=4), 1002),
        (frame(TEXT, PONG_CALL, reserved=2), 1002),
        (frame(TEXT, PONG_CALL, reserved=1), 1002),
        (frame(0x3, PONG_CALL), 1002),
        (frame(0xB, b""), 1002),
        (frame(CONT, PONG_CALL), 1002),
        (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
        (frame(PING, b"", fin=False), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(CLOSE, b"\x03\xed"), 1002),  # 1005
        (frame(CLOSE, b"\x03\xe8\xff"), 1007),
        (b"GET / HTTP/1.1\r\n\r\n", 1002),
    ],
)
async def test_offences_close_with_their_code(
    server: RunningServer, data: bytes, code: int
) -> None:
    async with websocket(server) as peer:
        await peer.send(data)
        assert await peer.close_code() == code
    await assert_serves(server)
    await until(lambda: not len(server.application.gate.keepalive))  # type: ignore[union-attr]  # it runs


async def test_calls_before_an_offence_count_and_those_after_do_not(server: RunningServer) -> None:
    insert = frame(TEXT, call("insert", [{"user": 1}]))
    async with websocket(server) as peer:
        await peer.send(insert + frame(TEXT, b"\xff") + insert)
        assert await peer.close_code() == 1007
    async with websocket(server) as peer:
        await peer.call("insert", [{"user": 2}])
        assert await peer.call("items") in ([{"user": 2}, {"user": 1}], [{"user": 2}])


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe8bye", b"\x0f\xa0"])
async def test_close_is_answered_in_kind(peer: Peer, payload: bytes) -> None:
    await peer.send(frame(CLOSE, payload))
    assert await peer.frame() == (CLOSE, payload, True)
    with pytest.raises(EOFError):
        await peer.frame()


async def test_peer_that_does_not_hang_up_is_hung_up_on(server: RunningServer) -> None:
    async with websocket(server) as peer:
        await peer.send(frame(TEXT, b"\xff"))
        assert (await peer.frame()).close_code == 1007
        keepalive = server.application.gate.keepalive  # type: ignore[union-attr]  # it runs
        assert len(keepalive) == 1
        for _ in range(2):
            keepalive.tick()
        await until(lambda: not len(keepalive))


@pytest.mark.parametrize("goodbye", ["end", "reset"])
async def test_peer_that_leaves_without_a_close(server: RunningServer, goodbye: str) -> None:
    async with websocket(server) as peer:
        await peer.call("subscribe")
        if goodbye == "end":
            peer.send_end()
        else:
            peer.reset()
        await until(lambda: not len(server.application.gate.keepalive))  # type: ignore[union-attr]  # it runs
    await assert_serves(server)


async def test_connections_are_freed_without_the_garbage_collector(server: RunningServer) -> None:
    import gc
    import weakref

    gate = server.application.gate
    assert gate is not None
    gc.disable()
    try:
        async with websocket(server) as peer:
            await peer.call("subscribe")
            connection = weakref.ref(next(iter(gate.keepalive))._parser)
        await until(lambda: connection() is None)
    finally:
        gc.enable()


# Who is alive.


async def test_ping_is_answered(peer: Peer) -> None:
    await peer.send(frame(PING, b"hello"))
    assert await peer.frame() == (PONG, b"hello", True)


@pytest.fixture
async def hasty(request: pytest.FixtureRequest) -> AsyncIterator[RunningServer]:
    """A server whose deadlines pass within a second; with compression if the test says so."""
    compression = getattr(request, "param", False)
    async with running(ping=0.4, pong=0.2, write_deadline=0.6, compression=compression) as server:
        yield server


with_and_without_compression = pytest.mark.parametrize(
    "hasty", [False, True], ids=["plain", "compression"], indirect=True
)


async def test_quiet_peer_that_answers_pings_stays(hasty: RunningServer) -> None:
    async with websocket(hasty) as peer:
        for _ in range(4):
            assert await peer.frame() == (PING, b"", True)
            await peer.send(frame(PONG, b""))
        assert await peer.call("ping") == "pong"


async def test_any_byte_is_life() -> None:
    slow = frame(TEXT, b" " * 60 + PONG_CALL)
    async with running(ping=0.4, pong=0.2) as server, websocket(server) as peer:
        await drip(peer, bytewise(slow))
        assert (await peer.message())["result"] == "pong"


def bytewise(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


async def drip(peer: Peer, pieces: list[bytes]) -> None:
    """Send one piece after the other."""
    for piece in pieces:
        await peer.send(piece)
        await asyncio.sleep(0.02)


LONG = bytewise(frame(TEXT, b" " * 5_000))
IN_FRAGMENTS = [frame(TEXT, b" ", fin=False), *[frame(CONT, b" ", fin=False)] * 1_000]


@pytest.mark.parametrize("pieces", [LONG, IN_FRAGMENTS], ids=["long", "in fragments"])
async def test_half_a_message_is_not_held_for_ever(
    hasty: RunningServer, pieces: list[bytes]
) -> None:
    async with websocket(hasty) as peer:
        assert await peer.call("ping") == "pong"
        dripping = asyncio.create_task(drip(peer, pieces))
        assert await goodbye(peer) == (4008, b"a message was begun and did not end in time")
        assert not dripping.done(), "it was cut for its silence"
        dripping.cancel()


async def test_a_long_message_may_take_its_time() -> None:
    message = frame(TEXT, b" " * 200_000 + PONG_CALL)
    async with (
        running(ping=0.2, pong=0.1, write_deadline=0.3) as server,
        websocket(server) as peer,
    ):
        clock = asyncio.get_running_loop().time
        sent, began = 0, clock()
        while sent < len(message):
            upto = int((clock() - began + 0.1) * 4 * SLOWEST)
            await peer.send(message[sent:upto])
            sent = upto
            await asyncio.sleep(0.05)
        assert (await peer.message())["result"] == "pong"


class Waiting(MemoryStore):
    """A store that appends when it is told to."""

    def __init__(self, stream: Stream) -> None:
        super().__init__("memory:", stream)
        self.may = asyncio.Event()

    async def append(self, calls: Sequence[Sequence[Draft]], batch: str) -> Appended:
        await self.may.wait()
        return await super().append(calls, batch)


async def test_whose_message_is_not_read_is_not_late_with_it() -> None:
    stores: list[Waiting] = []

    def make(stream: Stream) -> Waiting:
        stores.append(Waiting(stream))
        return stores[0]

    ping = frame(TEXT, PONG_CALL)
    async with (
        running(store=make, calls_in_flight=1, ping=0.2, pong=0.1, write_deadline=0.3) as server,
        websocket(server) as peer,
    ):
        await peer.send(frame(TEXT, call("insert", [{}])) + ping + ping[:-1])
        for _ in range(6):
            assert (await peer.frame()).opcode == PING
        stores[0].may.set()
        assert (await peer.message())["result"]["duplicate"] is False
        assert (await peer.message())["result"] == "pong"
        await peer.send(ping[-1:])
        assert (await peer.message())["result"] == "pong"


async def test_one_message_after_the_other_may_come_for_ever() -> None:
    async with (
        running(ping=0.2, pong=0.1, write_deadline=1.0) as server,
        websocket(server) as peer,
    ):
        for _ in range(20):
            await drip(peer, bytewise(frame(TEXT, b"1")))
        await peer.send(frame(TEXT, PONG_CALL))
        while (answer := await peer.message()).get("result") != "pong":
            assert answer["error"]["code"] == -32600


@pytest.mark.parametrize("said", [b"", frame(TEXT, PONG_CALL)[:-1]], ids=["", "half a frame"])
async def test_vanished_peer_is_cut(hasty: RunningServer, said: bytes) -> None:
    async with websocket(hasty) as peer:
        await peer.send(said)
        assert await goodbye(peer) == (4008, b"no answer to a ping")


async def goodbye(peer: Peer) -> tuple[int, bytes]:
    """Return the code and the reason of the close that comes."""
    while (received := await peer.frame()).opcode != CLOSE:
        pass
    return received.close_code, received.payload[2:]


async def produce(server: RunningServer, numbers: range) -> None:
    """Insert more than the kernel hides, compressed too."""
    async with websocket(server) as producer:
        for number in numbers:
            noise = random.Random(number).randbytes(2500).hex()
            await producer.call("insert", [{"user": number, "text": noise}])


@with_and_without_compression
async def test_peer_that_stops_reading_is_cut_and_disturbs_nobody(hasty: RunningServer) -> None:
    keepalive = hasty.application.gate.keepalive  # type: ignore[union-attr]  # it runs
    async with websocket(hasty, receive_buffer=4096) as peer:
        await peer.call("subscribe", {"backfill": 0})
        await produce(hasty, range(600))
        await until(lambda: not len(keepalive))
        received = await peer.rest()
        assert len(received) < 1_000_000
    await assert_serves(hasty)


async def test_what_a_reader_that_has_stopped_does_not_take_is_not_kept_for_it(
    server: RunningServer,
) -> None:
    keepalive = server.application.gate.keepalive  # type: ignore[union-attr]  # it runs
    async with websocket(server, receive_buffer=4096) as peer:
        (connection,) = keepalive
        await peer.call("subscribe", {"backfill": 0})
        await produce(server, range(600))
        assert connection._outbox.paused
        assert connection._transport.get_write_buffer_size() < 500_000
        connection.cut("it stopped")
        assert connection._transport.is_closing(), "no goodbye would get through"


@with_and_without_compression
async def test_being_far_behind_is_no_reason_to_be_cut(hasty: RunningServer) -> None:
    numbers = range(600)
    received = []
    async with websocket(hasty, receive_buffer=4096) as peer:
        await peer.call("subscribe", {"backfill": 0})
        producing = asyncio.create_task(produce(hasty, numbers))
        slow_until = asyncio.get_running_loop().time() + 2
        while len(received) < len(numbers):
            if asyncio.get_running_loop().time() < slow_until:
                await asyncio.sleep(0.02)
            message = await peer.message()
            if message["method"] == "event":
                received.append(message["params"]["event"]["user"])
        await producing
    assert received == list(numbers)


@pytest.mark.parametrize("data", [frame(PING, b"x" * 125), frame(BINARY, b"x"), frame(TEXT, b"{")])
async def test_answers_that_nobody_reads_do_not_pile_up(data: bytes) -> None:
    async with running() as server:
        keepalive = server.application.gate.keepalive  # type: ignore[union-attr]  # it runs
        async with websocket(server, receive_buffer=4096) as peer:
            connection = next(iter(keepalive))
            sending = asyncio.create_task(peer.flood(data * 1000, 10_000))
            await until(lambda: connection.deaf)
            assert not connection._transport.is_reading()
            assert connection._transport.get_write_buffer_size() < 2_000_000
            sending.cancel()
            await asyncio.wait([sending])
        await assert_serves(server)
