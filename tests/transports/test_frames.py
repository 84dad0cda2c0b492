"""How messages become frames, and what comes of compressed ones, with real sockets."""

import random
import threading
import tracemalloc
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
)
from websockets.frames import Frame
from websockets.protocol import Protocol, Side, State

from streamd.outbox import Outbox
from streamd.server import RunningServer
from streamd.transports.frames import Deflate, deflated_frame, text_frame
from tests.harness import (
    BROWSER,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Peer,
    call,
    deflate,
    frame,
    inflate,
    running,
    upgrade,
    websocket,
)

RSV1 = 4
MESSAGE_BYTES = 1 << 20
EVENT = {
    "kind": "edit", "user": "GELongstreet", "page": "Talk:Oswald Tilghman", "comment": "added project",
    "channel": "#en.wikipedia", "namespace": "Talk", "added": 36, "deleted": 0, "delta": 36,
}  # fmt: skip

AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def offering(*params: str) -> str:
    """Return the header that offers compression with these parameters."""
    return "Sec-WebSocket-Extensions: " + "; ".join(["permessage-deflate", *params])


def squeezed(opcode: int, payload: bytes, *, fin: bool = True, bits: int = 12) -> bytes:
    """Return a frame with a compressed message."""
    return frame(opcode, deflate(payload, bits=bits), fin=fin, reserved=RSV1)


@pytest.fixture
async def compressing() -> AsyncIterator[RunningServer]:
    """A server with compression."""
    async with running(compression=True) as server:
        yield server


@pytest.fixture
async def peer(compressing: RunningServer) -> AsyncIterator[Peer]:
    """A WebSocket that has agreed on it."""
    async with websocket(compressing) as peer:
        assert peer.compressing
        yield peer


# Making frames.


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_text_frame(size: int) -> None:
    payload = orjson.dumps("x" * size)
    assert text_frame(payload) == frame(TEXT, payload, masked=False)


@pytest.mark.parametrize("size", [126, 200, 5_000, 256 << 10])
def test_deflated_frame(size: int) -> None:
    payload = (b'{"user":291,"kind":"watch"}' * (size // 20))[: size - 2] + b"\r\n"
    if size < 128:
        assert deflated_frame(payload) == text_frame(payload)
        return
    made = deflated_frame(payload)
    assert made[0] == 0x80 | RSV1 << 4 | TEXT
    assert len(made) < len(payload) // 2
    start = 2 if made[1] < 126 else 4
    assert inflate(made[start:], bits=12) == payload


def test_what_gets_no_smaller_or_takes_too_long_is_not_compressed() -> None:
    noise = random.Random(1).randbytes(1_000)
    for payload in (noise, b"x" * ((256 << 10) + 1), b"x" * 127):
        assert deflated_frame(payload) == text_frame(payload)


def test_servers_in_several_threads_do_not_mix_their_frames() -> None:
    payloads = [orjson.dumps([str(thread) * 50_000]) for thread in range(4)]
    wrong = []

    def make(payload: bytes) -> None:
        expected = deflated_frame(payload)
        wrong.extend(_ for _ in range(50) if deflated_frame(payload) != expected)
        if inflate(expected[4:]) != payload:
            wrong.append(0)

    threads = [threading.Thread(target=make, args=(payload,)) for payload in payloads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# The handshake.


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (
            BROWSER,
            f"{AGREED}; server_max_window_bits=12; client_max_window_bits=12",
        ),
        (
            offering(),
            f"{AGREED}; server_max_window_bits=12",
        ),
        (
            offering("server_max_window_bits=15", "client_max_window_bits=9"),
            f"{AGREED}; server_max_window_bits=12; client_max_window_bits=9",
        ),
        (
            offering("server_max_window_bits=9"),
            f"{AGREED}; server_max_window_bits=9",
        ),
        (offering("server_max_window_bits=8"), None),
        (offering("server_max_window_bits=16"), None),
        (offering("no_such_parameter"), None),
        ("Sec-WebSocket-Extensions: x-webkit-deflate-frame", None),
        ("", None),
    ],
)
async def test_what_is_agreed_on(
    compressing: RunningServer, offer: str, answer: str | None
) -> None:
    async with Peer.connect(compressing) as peer:
        await peer.send(upgrade(offer))
        response = await peer.response()
    assert response.status == 101
    assert response.headers.get("sec-websocket-extensions") == answer


async def test_nothing_is_agreed_on_unless_it_is_switched_on() -> None:
    async with running() as server, websocket(server) as peer:
        assert not peer.compressing
        await peer.send(squeezed(TEXT, call("ping")))
        assert await peer.close_code() == 1002


@pytest.mark.parametrize("bits", [9, 11])
async def test_peer_with_a_smaller_window_is_understood_and_gets_plain_frames(
    compressing: RunningServer, bits: int
) -> None:
    async with websocket(compressing, offer=offering(f"server_max_window_bits={bits}")) as peer:
        assert peer.compressing
        await peer.send(squeezed(TEXT, call("info")))
        assert (await peer.message())["result"]["keys"]
        assert peer.inflated == 0


# Messages.


async def test_messages_are_compressed_where_it_pays(peer: Peer) -> None:
    assert await peer.call("ping") == "pong"
    assert peer.inflated == 0
    await peer.call("insert", [EVENT])
    assert await peer.call("items") == [EVENT]
    assert peer.inflated == 1


@pytest.mark.parametrize("bits", [9, 12, 15])
async def test_compressed_messages_are_read(compressing: RunningServer, bits: int) -> None:
    # A client that does not offer client_max_window_bits may use the largest window.
    async with websocket(compressing, offer=offering()) as peer:
        events = [{"user": number, "text": "Zoë €" * 400} for number in range(100)]
        await peer.send(squeezed(TEXT, call("insert_many", [events]), bits=bits))
        assert len((await peer.message())["result"]["entries"]) == 100
        assert await peer.call("items", [{}, 0, 1]) == [events[-1]]


async def test_message_with_a_final_block(peer: Peer) -> None:
    encoder = zlib.compressobj(wbits=-12)
    data = encoder.compress(call("ping")) + encoder.flush() + b"\0"  # RFC 7692, section 7.2.3.4
    await peer.send(frame(TEXT, data, reserved=RSV1))
    assert (await peer.message())["result"] == "pong"
    await peer.send(frame(TEXT, data[:-1], reserved=RSV1, fin=False) + frame(CONT, data[-1:]))
    assert (await peer.message())["result"] == "pong"


@pytest.mark.parametrize("piece", [1, 7, 1000])
async def test_fragments_with_control_frames_between_them(peer: Peer, piece: int) -> None:
    event = {"user": "Zoë", "text": "€" * 5_000}
    data = deflate(call("insert", [event]))
    for start in range(0, len(data), piece):
        part = data[start : start + piece]
        first = start == 0
        await peer.send(
            frame(TEXT if first else CONT, part, reserved=RSV1 if first else 0, fin=False)
        )
        await peer.send(frame(PING, b"between"))
        assert await peer.frame() == (PONG, b"between", True)
    await peer.send(frame(CONT))
    assert (await peer.message())["result"]["duplicate"] is False
    assert await peer.call("items", [{"user": "Zoë"}]) == [event]


async def test_plain_and_compressed_messages_in_turn(peer: Peer) -> None:
    plain = frame(TEXT, call("ping"))
    in_parts = frame(TEXT, call("ping")[:5], fin=False) + frame(CONT, call("ping")[5:])
    for data in (plain, squeezed(TEXT, call("ping")), in_parts) * 3:
        await peer.send(data)
        assert (await peer.message())["result"] == "pong"


@pytest.mark.parametrize("data", [b"", b"\0", deflate(b"")])
async def test_empty_messages_are_refused_and_the_connection_kept(peer: Peer, data: bytes) -> None:
    await peer.send(frame(TEXT, data, reserved=RSV1))
    assert (await peer.message())["error"]["code"] == -32700
    assert await peer.call("ping") == "pong"


async def test_message_of_the_largest_size(peer: Peer) -> None:
    text = call("ping").ljust(MESSAGE_BYTES)
    await peer.send(squeezed(TEXT, text))
    assert (await peer.message())["result"] == "pong"
    data = deflate(text)
    await peer.send(frame(TEXT, data[:500], reserved=RSV1, fin=False) + frame(CONT, data[500:]))
    assert (await peer.message())["result"] == "pong"


# What ends a connection.


BOMB = deflate(b" " * (64 << 20))
"""64 MiB in 64 KiB."""
HALF = deflate(b"\xe2\x82")
"""A sign that is not complete."""


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, BOMB, reserved=RSV1), 1009),
        (frame(TEXT, BOMB[:30_000], reserved=RSV1, fin=False), 1009),
        (frame(TEXT, b"", reserved=RSV1, fin=False) + frame(CONT, BOMB), 1009),
        (frame(TEXT, BOMB[:900], reserved=RSV1, fin=False) + frame(CONT, BOMB[900:9000]), 1009),
        (squeezed(TEXT, b" " * (MESSAGE_BYTES + 1)), 1009),
        (frame(TEXT, length=MESSAGE_BYTES + 1, reserved=RSV1), 1009),
        (squeezed(TEXT, b"\xff"), 1007),
        (frame(TEXT, HALF[:3], fin=False, reserved=RSV1) + frame(CONT, HALF[3:]), 1007),
        (frame(TEXT, b"\xff" * 100, reserved=RSV1), 1002),
        (frame(TEXT, b"\x07", reserved=RSV1), 1002),
        (squeezed(TEXT, b"x", fin=False) + frame(CONT, deflate(b"y"), reserved=RSV1), 1002),
        (squeezed(TEXT, b"x", fin=False) + squeezed(TEXT, b"y"), 1002),
        (squeezed(CONT, b"x"), 1002),
        (frame(PING, b"x", reserved=RSV1), 1002),
        (frame(CLOSE, b"\x03\xe8", reserved=RSV1), 1002),
        (frame(TEXT, call("ping"), reserved=2), 1002),
    ],
)
async def test_offences_close_with_their_code(
    compressing: RunningServer, data: bytes, code: int
) -> None:
    async with websocket(compressing) as peer:
        await peer.send(data)
        assert await peer.close_code() == code
    async with websocket(compressing) as other:
        assert await other.call("ping") == "pong"


def reader(*, max_size: int = MESSAGE_BYTES) -> Protocol:
    """Return the parser of a connection that has agreed on compression."""
    parser = Protocol(Side.SERVER, max_size=max_size)
    _, extension = Deflate().process_request_params([("client_max_window_bits", None)], [])
    parser.extensions = [extension]
    return parser


def peak(work: Callable[[], object]) -> int:
    """Return the most memory that was in use meanwhile, in bytes."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_bomb_costs_no_more_than_a_message() -> None:
    parser = reader()
    data = frame(TEXT, BOMB, reserved=RSV1)
    assert peak(lambda: parser.receive_data(data)) < 3 * MESSAGE_BYTES
    assert parser.close_sent is not None
    assert parser.close_sent.code == 1009


async def test_a_bomb_is_not_kept_until_its_peer_has_gone(peer: Peer) -> None:
    data = frame(TEXT, BOMB, reserved=RSV1)
    tracemalloc.start()
    try:
        await peer.send(data)
        assert (await peer.frame()).close_code == 1009
        assert tracemalloc.get_traced_memory()[0] < MESSAGE_BYTES / 2
    finally:
        tracemalloc.stop()


def test_what_follows_the_final_block_is_not_kept() -> None:
    parser = reader()
    encoder = zlib.compressobj(wbits=-12)
    final = encoder.compress(b"") + encoder.flush()
    parser.receive_data(frame(TEXT, final, reserved=RSV1, fin=False))
    data = frame(CONT, b"x" * 100_000, fin=False)

    def endlessly() -> None:
        for _ in range(100):
            if parser.state is State.OPEN:
                parser.receive_data(data)
                parser.events_received()

    assert peak(endlessly) < 1_000_000
    assert parser.close_sent is not None
    assert parser.close_sent.code == 1002


def test_no_fragment_passes_the_bound_by_what_zlib_holds_back() -> None:
    data = deflate(b"x" * 1000)
    for size in range(1, 1000, 7):
        for cut in range(1, len(data) + 1):
            parser = reader(max_size=size)
            parser.receive_data(frame(TEXT, data[:cut], reserved=RSV1, fin=False) + frame(CONT))
            frames = [event for event in parser.events_received() if isinstance(event, Frame)]
            assert sum(len(each.data) for each in frames) <= size


def test_quiet_connections_hold_no_window() -> None:
    parsers = [reader() for _ in range(100)]
    message = squeezed(TEXT, call("ping"))

    def read() -> None:
        for parser in parsers:
            parser.receive_data(message)
            assert len(parser.events_received()) == 1

    before = [vars(parser.extensions[0]).copy() for parser in parsers]
    read()
    assert [vars(parser.extensions[0]) for parser in parsers] == before


# Everybody.


async def subscribed(server: RunningServer, stack: AsyncExitStack, offer: str) -> Peer:
    """Open a WebSocket that is told of everything."""
    peer = await stack.enter_async_context(websocket(server, offer=offer))
    await peer.call("subscribe", {"backfill": 0})
    peer.inflated = 0
    return peer


async def test_an_event_is_compressed_once_for_all_who_want_it_so(
    compressing: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    compressed: list[Frame] = []
    written: list[tuple[object, bytes]] = []
    encode = PerMessageDeflate.encode

    def counting(self: PerMessageDeflate, frame: Frame) -> Frame:
        compressed.append(frame)
        return encode(self, frame)

    def record(outbox: Outbox) -> None:
        write = outbox.write

        def recording(frames: bytes) -> None:
            written.append((outbox.frame, frames))
            write(frames)

        outbox.write = recording

    async with AsyncExitStack() as stack:
        offers = [BROWSER] * 100 + [""] * 10
        peers = [await subscribed(compressing, stack, offer) for offer in offers]
        for connection in compressing.application.gate.keepalive:  # type: ignore[union-attr]  # it runs
            record(connection._outbox)  # type: ignore[attr-defined]  # it is a WebSocket
        producer = await stack.enter_async_context(websocket(compressing, offer=""))
        monkeypatch.setattr(PerMessageDeflate, "encode", counting)
        await producer.call("insert", [EVENT])
        for peer in peers:
            assert (await peer.message())["params"]["event"] == EVENT
        assert [peer.inflated for peer in peers] == [1] * 100 + [0] * 10
    assert len(compressed) == 1
    assert Counter(made for made, _ in written) == {deflated_frame: 100, text_frame: 10}
    assert len({id(frames) for _, frames in written}) == 2


# Somebody else's client.


@pytest.mark.parametrize("compression", [True, False])
async def test_a_client_of_websockets(compression: bool) -> None:
    factory = ClientPerMessageDeflateFactory(compress_settings={"memLevel": 9})
    async with (
        running(compression=compression) as server,
        connect(server.ws_url, extensions=[factory], compression=None) as client,
    ):
        assert bool(client.protocol.extensions) is compression
        events = [EVENT | {"user": number} for number in range(200)]
        await client.send(call("insert_many", [events]), text=True)
        assert len(orjson.loads(await client.recv())["result"]["entries"]) == 200
        await client.send(call("items", [{}, 0, 200]), text=True)
        assert orjson.loads(await client.recv())["result"] == events[::-1]


async def test_a_window_that_zlib_does_not_have_is_no_reason_to_send_somebody_away(
    compressing: RunningServer,
) -> None:
    factory = ClientPerMessageDeflateFactory(server_max_window_bits=8)
    async with connect(compressing.ws_url, extensions=[factory], compression=None) as client:
        assert not client.protocol.extensions
        await client.send(call("ping"), text=True)
        assert orjson.loads(await client.recv())["result"] == "pong"
