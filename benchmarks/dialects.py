"""How each server is spoken to: the bytes that a subscriber and a producer send, made once."""

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from websockets.frames import Frame, Opcode

__all__ = ["ANSWER", "BARE", "NATS", "NCHAN", "PLAIN", "STREAMD", "Dialect", "event"]

EVENT_BYTES = 200
_KEY = base64.b64encode(b"sixteen bytes is").decode()
_CURSOR = b"0123456789abcdef0123"
_TIME = 1795449600000

ANSWER = (b'{"jsonrpc":"2.0","result":{"cursor":"%b","time":%d,"duplicate":false},"id":0}') % (
    _CURSOR,
    _TIME,
)
"""What streamd answers to an insert: the same bytes, whatever its place and time."""


def event(user: int) -> bytes:
    """Return an event of 200 bytes."""
    made = {"kind": "watch", "user": user, "repo": 2842, "note": ""}
    made["note"] = "x" * (EVENT_BYTES - len(orjson.dumps(made)))
    return orjson.dumps(made)


def _notification(event: bytes) -> bytes:
    """Return what a subscriber of streamd is sent for an event: the same bytes, whatever its place and time.

    Peers that only pass on what they are given are given this, so that all deliver the same.
    """
    return (
        b'{"jsonrpc":"2.0","method":"event","params":'
        b'{"subscription":1,"cursor":"%b","time":%d,"event":%b}}'
    ) % (_CURSOR, _TIME, event)


def _text(message: bytes) -> bytes:
    return Frame(Opcode.TEXT, message).serialize(mask=True)


def _binary(message: bytes) -> bytes:
    return Frame(Opcode.BINARY, message).serialize(mask=True)


def _get(path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is said to a server, and what comes back."""

    shake: bytes = _get("/")
    """The handshake of a subscriber."""
    until: bytes = b'"id":0}'
    """What ends the answer to a subscription; nothing: the handshake's answer is all there is."""
    settle: float = 0.0
    """Seconds in which the server may say something more, unasked, that does not count …"""
    settled: bytes = b""
    """… and what it is answered."""
    framed: bool = False
    """Whether frames' headers don't count, because the server joins messages to frames as it likes."""
    produce_shake: bytes = _get("/")
    """The handshake of a producer; nothing: it speaks at once."""

    def produce(self, *, answered: bool) -> bytes:
        """Return what a producer says first; `answered`: it is going to wait for answers."""
        return b""

    def subscribe(self, wanted: object) -> bytes:
        """Return what a subscriber says for a filter, after the handshake."""
        params = {"filter": wanted, "backfill": 0}
        call = {"jsonrpc": "2.0", "id": 0, "method": "subscribe", "params": params}
        return _text(orjson.dumps(call))

    def insert(self, event: bytes, *, answered: bool = False) -> bytes:
        """Return what a producer says for an event; `answered`: it waits for the answer."""
        ident = b'"id":0,' if answered else b""
        return _text(
            b'{"jsonrpc":"2.0",%b"method":"insert","params":{"event":%b}}' % (ident, event)
        )

    def burst(self, events: Sequence[bytes], readers: Sequence[Sequence[int]]) -> bytes:
        """Return what a producer says for events at once; who is to get each, the server finds out."""
        return b"".join(map(self.insert, events))

    def delivery(self, event: bytes) -> int:
        """Return the bytes that a delivery of the event takes."""
        return len(Frame(Opcode.TEXT, _notification(event)).serialize(mask=False))


class _Plain(Dialect):
    """`benchmarks.plain_server`: the first message says who comes, all others are passed on."""

    __slots__ = ()

    def produce(self, *, answered: bool) -> bytes:
        return _text(b"produce and wait" if answered else b"produce")

    def insert(self, event: bytes, *, answered: bool = False) -> bytes:
        return _text(_notification(event))


class _Nchan(Dialect):
    """nginx with nchan: the path is the subscription, a POST the insert."""

    __slots__ = ()

    def subscribe(self, wanted: object) -> bytes:
        return b""

    def insert(self, event: bytes, *, answered: bool = False) -> bytes:
        body = _notification(event)
        head = f"POST /publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


_HELLO = b'CONNECT {"verbose":false,"pedantic":false,"protocol":1}\r\n'


class _Nats(Dialect):
    """NATS' own protocol, in the frames of a WebSocket."""

    __slots__ = ()

    def subscribe(self, wanted: object) -> bytes:
        return _binary(_HELLO + b"SUB feed 1\r\nPING\r\n")

    def produce(self, *, answered: bool) -> bytes:
        return _binary(_HELLO)

    def insert(self, event: bytes, *, answered: bool = False) -> bytes:
        body = _notification(event)
        return _binary(b"PUB feed %d\r\n%b\r\n" % (len(body), body))

    def delivery(self, event: bytes) -> int:
        body = _notification(event)
        return len(b"MSG feed 1 %d\r\n%b\r\n" % (len(body), body))


class _Bare(Dialect):
    """`benchmarks.bare_server`: it is told who is to get what."""

    __slots__ = ()

    def subscribe(self, wanted: object) -> bytes:
        assert isinstance(wanted, int), "a subscriber's number"
        return b"SUB%d" % wanted

    def burst(self, events: Sequence[bytes], readers: Sequence[Sequence[int]]) -> bytes:
        frames = [
            Frame(Opcode.TEXT, _notification(event)).serialize(mask=False) for event in events
        ]
        return b"".join(
            struct.pack(f"!II{len(each)}I", len(each), len(frame), *each) + frame
            for frame, each in zip(frames, readers, strict=True)
        )


STREAMD = Dialect()
PLAIN = _Plain()
BARE = _Bare()
NCHAN = _Nchan(shake=_get("/subscribe"), until=b"", produce_shake=b"")
NATS = _Nats(
    until=b"PONG\r\n",
    settle=4.0,
    settled=_binary(b"PONG\r\n"),
    framed=True,
)
