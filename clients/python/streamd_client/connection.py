"""One WebSocket: what is queued goes out in order, what comes in is parsed and handed on."""

import asyncio
import os
import re
import ssl
from collections import OrderedDict
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
)
from websockets.uri import parse_uri

from streamd_client.errors import (
    ConnectionLost,
    ConnectionRejected,
    HandshakeRefused,
    ProtocolError,
    StreamdError,
    Unreachable,
)
from streamd_client.protocol import Message, encode_call, parse

__all__ = [
    "MAX_ANSWER",
    "PASSING_STATUS",
    "Connection",
    "open_socket",
    "said",
    "tls_context",
    "websocket_url",
]

MAX_ANSWER = 8 * 1024 * 1024  # bytes; the server's own limit for one answer is 4 MiB
MAX_QUEUE = 64  # frames parsed by the socket and not yet read
OPEN_TIMEOUT = 10.0  # seconds for TCP, TLS and the handshake
CLOSE_TIMEOUT = 2.0  # seconds for the closing handshake
WRITE = 16 * 1024  # bytes that are given to the socket at a time, where more is queued
LOOKS = 4  # a silent link is looked at so often before it is given up

FINAL_CODES = frozenset({1002, 1003, 1007, 1008, 1009, 1010}) | frozenset(range(4500, 5000))
"""Close codes after which a client must not come back."""

PASSING_STATUS = frozenset({408, 425, 429})
"""HTTP statuses of the 4xx class that say "not now" instead of "no"."""

NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"})
"""What OpenSSL, older and newer, says of bytes that are no TLS."""

KEEPALIVE_ID = "keepalive"

_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


class Socket(ClientConnection):
    """A WebSocket that knows when it last heard anything, a single byte included."""

    heard_at = 0.0
    """The loop's time."""

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        super().data_received(data)

    async def send_texts(self, frames: list[bytes]) -> None:
        """
        Send messages together, as `send` sends one, for little more than one costs.
        """
        async with self.send_context():
            for frame in frames:
                self.protocol.send_text(frame)


def websocket_url(url: str) -> str:
    """
    Return `url` with a WebSocket scheme: `http` becomes `ws`, `https` becomes `wss`.

    Raises:
        ValueError: It is no URL of these four schemes.
    """
    parts = urlsplit(url)
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None:
        raise ValueError(f"not a ws://, wss://, http:// or https:// URL: {_without_secrets(url)}")
    rewritten = parts._replace(scheme=scheme, fragment="").geturl()
    try:
        parse_uri(rewritten)
    except InvalidURI as exc:
        raise ValueError(f"{_without_secrets(url)} is no URL of a server: {exc.msg}") from None
    return rewritten


def _without_secrets(url: str) -> str:
    return re.sub(r"(?<=//).*@", "…@", url)


def tls_context(url: str, ca_file: str | os.PathLike[str] | None) -> ssl.SSLContext | None:
    """
    Return what a `wss://` server has to be trusted by; None for `ws://`, which needs no trust.

    Raises:
        OSError: `ca_file` cannot be read; an `ssl.SSLError` if it has no certificates.
    """
    return ssl.create_default_context(cafile=ca_file) if parse_uri(url).secure else None


async def open_socket(url: str, *, tls: ssl.SSLContext | None, compression: bool) -> Socket:
    """
    Return an open WebSocket to the server, compressed if that is wanted and the server does it.

    Raises:
        HandshakeRefused: The server forbids it for good.
        Unreachable: It did not work this time.
    """
    try:
        socket = await connect(
            url,
            create_connection=Socket,
            ssl=tls,
            compression="deflate" if compression else None,
            max_size=MAX_ANSWER,
            max_queue=MAX_QUEUE,
            open_timeout=OPEN_TIMEOUT,
            close_timeout=CLOSE_TIMEOUT,
            ping_interval=None,  # `Connection` looks after the link with calls of its own
        )
    except (OSError, InvalidHandshake) as exc:
        raise _refusal(exc, secure=tls is not None) from exc
    return cast("Socket", socket)


def _refusal(exc: Exception, *, secure: bool) -> StreamdError:
    if isinstance(exc, InvalidStatus):
        status, what = exc.response.status_code, said(bytes(exc.response.body or b""))
        if 400 <= status < 500 and status not in PASSING_STATUS:
            return HandshakeRefused(status, what)
        return Unreachable(f"HTTP {status}: {what}" if what else f"HTTP {status}")
    if not secure and isinstance(exc, InvalidMessage):
        return Unreachable(f"{exc}; if it speaks TLS, its URL begins with wss://")
    if isinstance(exc, ssl.SSLError) and exc.reason in NO_TLS:
        return Unreachable("it speaks no TLS: its URL begins with ws://")
    return Unreachable(str(exc) or type(exc).__name__)


def said(body: bytes) -> str:
    """
    Return what an HTTP body says, in one line of at most 200 characters.
    """
    return " ".join(body.decode(errors="replace").split())[:200]


class Connection:
    """
    The life of one open WebSocket.

    Args:
        socket: The open socket; it is closed when `run` ends.
        receive: Called with each message and the size in bytes of the frame it came in.
        ping_interval: Seconds of silence after which the link is tried.
        ping_timeout: Seconds it then has to show a sign of life.
    """

    def __init__(
        self,
        socket: Socket,
        receive: Callable[[Message, int], None],
        *,
        ping_interval: float,
        ping_timeout: float,
    ) -> None:
        self._socket = socket
        self._receive = receive
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._unsent: OrderedDict[int | str, bytes] = OrderedDict()
        self._work = asyncio.Event()
        self._abandoned: StreamdError | None = None

    def send(self, id: int | str, frame: bytes) -> None:
        """
        Queue a frame; it is written when the server has taken those before it.
        """
        self._unsent[id] = frame
        self._work.set()

    def withdraw(self, id: int | str) -> None:
        """
        Forget a queued frame, if it is not written yet.
        """
        self._unsent.pop(id, None)

    def abandon(self, error: StreamdError) -> None:
        """
        End it at once; `run` returns the error.
        """
        self._abandoned = error
        self._socket.transport.abort()

    async def run(self) -> StreamdError:
        """
        Serve the connection until it ends, and return why it ended.

        Returns:
            `ConnectionLost` when the client may come back, `ConnectionRejected` or
            `ProtocolError` when it may not.
        """
        self._socket.heard_at = asyncio.get_running_loop().time()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._write()), group.create_task(self._watch())]
                ending = await self._read()
                for task in tasks:
                    task.cancel()
        finally:
            await self._socket.close()
        return ending

    async def _read(self) -> StreamdError:
        try:
            while True:
                frame = await self._socket.recv(decode=False)
                for message in parse(frame):
                    self._receive(message, len(frame))
        except ConnectionClosed as exc:
            return self._ending(exc)
        except ProtocolError as exc:
            return exc

    async def _write(self) -> None:
        try:
            while True:
                while frames := self._take():
                    await self._socket.send_texts(frames)
                self._work.clear()
                await self._work.wait()
        except ConnectionClosed:
            return  # the reader sees it too and says why

    def _take(self) -> list[bytes]:
        """Take the next frames off the queue, as many as are worth one write."""
        frames: list[bytes] = []
        size = 0
        while self._unsent and size < WRITE:
            _, frame = self._unsent.popitem(last=False)
            frames.append(frame)
            size += len(frame)
        return frames

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            quiet = loop.time() - self._socket.heard_at
            if quiet < self._ping_interval:
                await asyncio.sleep(self._ping_interval - quiet)
            elif not await self._answers():
                silence = "nothing was heard from the server, not even after a ping"
                self.abandon(ConnectionLost(silence))
                return

    async def _answers(self) -> bool:
        """Whether a sign of life comes in time. A stall of our own loop costs one look, not all."""
        asked_at = asyncio.get_running_loop().time()
        self.send(KEEPALIVE_ID, encode_call(KEEPALIVE_ID, "ping", {}))
        self._unsent.move_to_end(KEEPALIVE_ID, last=False)
        for _ in range(LOOKS):
            await asyncio.sleep(self._ping_timeout / LOOKS)
            if self._socket.heard_at >= asked_at:
                return True
        return False

    def _ending(self, exc: ConnectionClosed) -> StreamdError:
        if self._abandoned is not None:
            return self._abandoned
        frame = exc.rcvd or exc.sent
        if frame is None:
            return ConnectionLost(str(exc.__cause__ or "it broke off without a close frame"))
        if frame.code in FINAL_CODES:
            return ConnectionRejected(frame.code, frame.reason)
        return ConnectionLost(frame.reason or "the server closed it", frame.code)
