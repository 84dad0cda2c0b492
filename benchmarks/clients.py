"""Many clients in one process: raw sockets and prepared frames, nothing parsed beyond what is counted."""

import random
import re
import select
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

import orjson

__all__ = ["Client", "Clients", "befriended", "call", "subscribe"]

_REQUEST = (
    "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_SWITCHING = b"HTTP/1.1 101 "
_ANSWER = re.compile(rb'"id":1\}')
_PING, _PONG = b"\x89\x00", b"\x8a\x80\0\0\0\0"
_READ = 256 << 10


def call(method: str, **params: Any) -> bytes:
    """Return one call as a client's frame; its mask is of zeros, so that masking it costs nothing."""
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    payload = orjson.dumps(message)
    size = len(payload)
    if size < 126:
        head = bytes((0x81, 0x80 | size))
    elif size < 1 << 16:
        head = b"\x81\xfe" + size.to_bytes(2, "big")
    else:
        head = b"\x81\xff" + size.to_bytes(8, "big")
    return head + b"\0\0\0\0" + payload


def befriended(number: int, users: int, friends: int = 200) -> list[int]:
    """Return the friends of one user: always the same of all `users`, evenly drawn."""
    return random.Random(number).sample(range(users), friends)


def subscribe(friends: list[int], **params: Any) -> bytes:
    """Return the frame that subscribes to what these users do."""
    return call("subscribe", filter={"user": friends}, **params)


class Client:
    """One connection, driven by the others' loop: connecting, then upgraded, then answered."""

    __slots__ = ("answered", "message", "number", "received", "socket", "upgraded")

    def __init__(self, number: int, message: bytes) -> None:
        self.number = number
        self.message = message
        """What it says as soon as it may; nothing if it is empty."""
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.upgraded = False
        self.answered = False
        self.received = b""
        """What came and was not taken yet."""

    @property
    def ready(self) -> bool:
        """Whether nothing more is to come before it is served."""
        return self.upgraded and (self.answered or not self.message)


class Clients:
    """Clients of one server, read by one loop that somebody has to turn."""

    def __init__(self, port: int, take: Callable[[Client], None] | None = None) -> None:
        """Begin without clients; `take` is called with each that has received something."""
        self._address = ("127.0.0.1", port)
        self._request = _REQUEST.format(port=port).encode()
        self._take = take
        self._poll = select.epoll()
        self.all: dict[int, Client] = {}
        """All that are connected or about to be, by the number of their socket."""
        self.opening = 0
        """Clients that are not ready yet."""

    def open(self, number: int, message: bytes = b"", *, buffer: int = 0) -> Client:
        """Let one more client come, with so many bytes to receive into; it is ready some turns later."""
        client = Client(number, message)
        if buffer:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.socket.connect_ex(self._address)
        self.all[client.socket.fileno()] = client
        self._poll.register(client.socket, select.EPOLLOUT)
        self.opening += 1
        return client

    def gather(self, messages: Iterable[bytes], *, at_once: int = 64) -> None:
        """Let a client come for each message, so many at a time, and wait until all are ready."""
        for number, message in enumerate(messages):
            self.open(number, message)
            while self.opening >= at_once:
                self.turn()
        self.settle()

    def settle(self, patience: float = 60) -> None:
        """Turn until all clients are ready; raise SystemExit if that takes too long."""
        end = time.monotonic() + patience
        while self.opening:
            self.turn()
            if time.monotonic() > end:
                raise SystemExit(f"{self.opening} clients were not answered")

    def turn(self, timeout: float = 1) -> None:
        """Read what there is, after at most `timeout` seconds."""
        for fileno, event in self._poll.poll(timeout):
            client = self.all[fileno]
            if event == select.EPOLLOUT:
                client.socket.send(self._request)
                self._poll.modify(fileno, select.EPOLLIN)
            else:
                self._read(client)

    def _read(self, client: Client) -> None:
        data = client.socket.recv(_READ)
        if not data:
            raise SystemExit("the server hung up on a client")
        if _PING in data:  # Nothing else has a byte of this kind: texts are ASCII here.
            client.socket.send(_PONG)
        client.received += data
        if not client.ready:
            self._go_on(client)
        if self._take is not None:
            self._take(client)
        elif client.ready:
            client.received = b""

    def _go_on(self, client: Client) -> None:
        if not client.upgraded:
            head, end, rest = client.received.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(_SWITCHING):
                raise SystemExit(f"the server refused a client: {head[:40]!r}")
            client.upgraded, client.received = True, rest
            if client.message:
                client.socket.send(client.message)
        client.answered = _ANSWER.search(client.received) is not None
        self.opening -= client.ready

    def close(self) -> None:
        """Hang up on the server, all at once."""
        for client in self.all.values():
            client.socket.close()
        self.all.clear()
        self.opening = 0
