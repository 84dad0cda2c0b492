"""A peer that can do everything wrong: bytes over a socket, frames by hand."""

import asyncio
import contextlib
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import orjson

from streamd.address import Address
from streamd.server import RunningServer, run_server
from tests.traffic import check_answer, check_notification

DEADLINE = 20.0
"""Seconds after which what a test waits for is not going to happen."""

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of the example in RFC 6455, section 1.3; its answer is ACCEPT."""
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


BROWSER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
"""What browsers offer, and so do the peers here: a server without compression takes no notice."""


class Frame(NamedTuple):
    """A frame as it came; its payload is inflated."""

    opcode: int
    payload: bytes
    fin: bool = True

    @property
    def close_code(self) -> int:
        assert self.opcode == CLOSE, self
        return int.from_bytes(self.payload[:2], "big")


@dataclass
class Response:
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    masked: bool = True,
    reserved: int = 0,
    length: int | None = None,
) -> bytes:
    """Return a frame as RFC 6455, section 5.2 has it, right or wrong."""
    size = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    mask_bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([mask_bit | size])
    elif size < 1 << 16:
        head += struct.pack("!BH", mask_bit | 126, size)
    else:
        head += struct.pack("!BQ", mask_bit | 127, size)
    if not masked:
        return head + payload
    mask = b"\x01\x02\x03\x04"
    repeated = mask * (len(payload) // 4 + 1)
    together = int.from_bytes(payload, "big") ^ int.from_bytes(repeated[: len(payload)], "big")
    return head + mask + together.to_bytes(len(payload), "big")


def deflate(payload: bytes, *, bits: int = 12) -> bytes:
    """Return a payload compressed as RFC 7692, section 7.2.1 has it."""
    encoder = zlib.compressobj(wbits=-bits)
    data = encoder.compress(payload) + encoder.flush(zlib.Z_SYNC_FLUSH)
    return data.removesuffix(b"\x00\x00\xff\xff")


def inflate(data: bytes, *, bits: int = 15) -> bytes:
    """Return a payload as it was before it was compressed; nothing is kept from one to the next."""
    return zlib.decompressobj(-bits).decompress(data + b"\x00\x00\xff\xff")


def call(method: str, params: Any = None, ident: Any = 1) -> bytes:
    """Return a JSON-RPC call; `ident` None makes a notification."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        message["params"] = params
    if ident is not None:
        message["id"] = ident
    return orjson.dumps(message)


def post(body: bytes, *headers: str, length: int | None = None) -> bytes:
    """Return a POST request with calls."""
    fields = [
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return ("POST / HTTP/1.1\r\n" + "\r\n".join(fields) + "\r\n\r\n").encode() + body


def get(path: str = "/", *headers: str) -> bytes:
    """Return a GET request."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def upgrade(
    *headers: str, path: str = "/", host: str = "Host: localhost", method: str = "GET"
) -> bytes:
    """Return the request that asks for a WebSocket."""
    fields = [
        f"{method} {path} HTTP/1.1",
        host,
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return "\r\n".join([*(field for field in fields if field), "", ""]).encode()


class Peer:
    """One TCP connection, and what was read from it and not used yet."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self.compressing = False
        """Whether compression was agreed on."""
        self.inflated = 0
        """Compressed frames read so far."""

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, server: Address, *, receive_buffer: int | None = None
    ) -> AsyncIterator[Self]:
        """Connect; with a `receive_buffer` in bytes the kernel takes little of what is not read."""
        sock = socket.socket()
        # A piece of a message is not to wait until the piece before it is acknowledged.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (server.host, server.port))
            yield cls(sock)
        finally:
            sock.close()

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(DEADLINE):
            await self._loop.sock_sendall(self._sock, data)

    async def flood(self, data: bytes, times: int) -> int:
        """Send `data` again and again until all is sent or the server wants no more; return how often."""
        for sent in range(times):
            try:
                await self.send(data)
            except (ConnectionError, TimeoutError):
                return sent
        return times

    def send_end(self) -> None:
        """Send nothing any more."""
        self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Go away without a goodbye."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    # Reading.

    async def _more(self) -> None:
        async with asyncio.timeout(DEADLINE):
            data = await self._loop.sock_recv(self._sock, 65536)
        if not data:
            raise EOFError(bytes(self._buffer))
        self._buffer += data

    async def read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def read_through(self, end: bytes) -> bytes:
        while end not in self._buffer:
            await self._more()
        return await self.read(self._buffer.index(end) + len(end))

    async def rest(self) -> bytes:
        """Read until the server hangs up."""
        try:
            while True:
                await self._more()
        except (EOFError, ConnectionError):
            return bytes(self._buffer)

    async def response(self) -> Response:
        head = (await self.read_through(b"\r\n\r\n")).decode()
        status_line, *lines = head.strip().split("\r\n")
        headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}
        body = await self.read(int(headers.get("content-length", "0")))
        return Response(int(status_line.split()[1]), headers, body)

    async def frame(self) -> Frame:
        head, second = await self.read(2)
        assert not head & (0x30 if self.compressing else 0x70), "reserved bits are set"
        assert not second & 0x80, "a server's frame is masked"
        length = second
        if second == 126:
            length = int.from_bytes(await self.read(2), "big")
        elif second == 127:
            length = int.from_bytes(await self.read(8), "big")
        payload = await self.read(length)
        if head & 0x40:
            self.inflated += 1
            payload = inflate(payload)
        return Frame(head & 0xF, payload, bool(head & 0x80))

    async def message(self) -> Any:
        """Read a text message, as JSON; answer the pings before it."""
        while (received := await self.frame()).opcode == PING:
            await self.send(frame(PONG, received.payload))
        assert received.opcode == TEXT, received
        message = orjson.loads(received.payload)
        if "method" in message:
            check_notification(message)
        return message

    async def close_code(self) -> int:
        """Read until the server says goodbye, say it too, and see that it hangs up; return its code."""
        while (received := await self.frame()).opcode != CLOSE:
            pass
        with contextlib.suppress(ConnectionError):  # It does not wait after an error.
            await self.send(frame(CLOSE, received.payload[:2]))
        await self.rest()
        return received.close_code

    async def call(self, method: str, params: Any = None) -> Any:
        """Make a call over WebSocket; return its result."""
        await self.send(frame(TEXT, call(method, params)))
        while "id" not in (answer := await self.message()):
            pass
        check_answer(orjson.loads(call(method, params)), answer)
        return answer["result"]


@asynccontextmanager
async def websocket(
    server: Address, *headers: str, offer: str = BROWSER, receive_buffer: int | None = None
) -> AsyncIterator[Peer]:
    """Open a WebSocket by hand."""
    async with Peer.connect(server, receive_buffer=receive_buffer) as peer:
        await peer.send(upgrade(offer, *headers))
        response = await peer.response()
        assert response.status == 101, response
        peer.compressing = "permessage-deflate" in response.headers.get(
            "sec-websocket-extensions", ""
        )
        yield peer


async def until(condition: Callable[[], Any]) -> None:
    """Wait until something has come true."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[RunningServer]:
    """Run a server in this event loop, on a free port, with the memory store."""
    async with run_server(**{"store": "memory:", "drain": 1, **options}) as server:
        yield server


def apart(errors: str) -> tuple[list[str], str]:
    """Tell what a daemon logged from what else is on its standard error: the messages that only inform, and the rest."""
    told, rest = [], []
    for line in errors.splitlines(keepends=True):
        if line.startswith("{") and (read := orjson.loads(line))["level"] == "info":
            told.append(read["message"])
        else:
            rest.append(line)
    return told, "".join(rest)
