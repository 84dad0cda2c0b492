"""One HTTP GET, as small as it gets: for documents that a server needs of another."""

import asyncio
import ssl
from urllib.parse import urlsplit

import httptools

from streamd import __version__
from streamd.errors import StartupError
from streamd.transports.door import is_loopback

__all__ = ["check_url", "fetch"]

_PIECE = 64 << 10
_OK = 200


def check_url(url: str) -> None:
    """Raise StartupError unless it is https, or http to this machine, and holds no password."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - it raises ValueError where it is none
    except ValueError:
        raise StartupError("token_jwks_url is not a URL") from None
    near = parts.scheme == "http" and is_loopback(parts.hostname or "")
    if not parts.hostname or not (parts.scheme == "https" or near):
        raise StartupError(
            "token_jwks_url must be an https:// URL (http:// is for this machine alone)"
        )
    if parts.username is not None or not url.isascii() or any(char <= " " for char in url):
        raise StartupError("token_jwks_url must be ASCII, without blanks, user and password")


class _Response:
    """What has come of the answer."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.body = bytearray()
        self.complete = False
        self.open_ended = False
        """Whether the end of the connection is that of the body, as nothing told its length (RFC 9112, section 6.3)."""
        self._framed = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take note that the length is told; httptools calls this."""
        self._framed |= name.lower() in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        """Take note that the body begins; httptools calls this."""
        self.open_ended = not self._framed

    def on_body(self, piece: bytes) -> None:
        """Keep a piece; httptools calls this."""
        self.body += piece
        if len(self.body) > self._most:
            raise ConnectionError(f"the answer is longer than {self._most} bytes")

    def on_message_complete(self) -> None:
        """Take note of the end; httptools calls this."""
        self.complete = True


async def fetch(url: str, *, most: int = 256 << 10, seconds: float = 5.0) -> bytes:
    """Return the body of the answer with status 200, of at most so many bytes within so many seconds.

    No redirect is followed. Raise OSError, whose text says why and does not have the URL.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _fetch(url, most)
    except TimeoutError:
        raise TimeoutError(f"no answer within {seconds:g} s") from None


async def _fetch(url: str, most: int) -> bytes:
    parts = urlsplit(url)
    assert parts.hostname is not None, "check_url has seen it"
    # To read all the authorities that the system trusts takes some 20 ms.
    tls = await asyncio.to_thread(ssl.create_default_context) if parts.scheme == "https" else None
    port = parts.port or (80 if tls is None else 443)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=tls)
    try:
        target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        host = parts.netloc
        lines = (
            f"GET {target} HTTP/1.1",
            f"Host: {host}",
            "Accept: application/json",
            f"User-Agent: streamd/{__version__}",
            "Connection: close",
            "\r\n",
        )
        writer.write("\r\n".join(lines).encode())
        return await _read(reader, most)
    finally:
        writer.transport.abort()


async def _read(reader: asyncio.StreamReader, most: int) -> bytes:
    response = _Response(most)
    parser = httptools.HttpResponseParser(response)
    size = 0
    while not response.complete:
        piece = await reader.read(_PIECE)
        if not piece and response.open_ended:
            break
        size += len(piece)
        if not piece or size > most + _PIECE:
            raise ConnectionError("the answer is not complete, or too long")
        try:
            parser.feed_data(piece)
        except httptools.HttpParserCallbackError as error:
            raise ConnectionError("the answer is too long") from error
        except httptools.HttpParserError:
            raise ConnectionError("the answer is not HTTP") from None
    if parser.get_status_code() != _OK:
        raise ConnectionError(f"HTTP {parser.get_status_code()}")
    return bytes(response.body)
