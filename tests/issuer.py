"""An issuer of tokens: a real HTTP server that shows keys, and can do it badly."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from tests.harness import until
from tests.keys import jwk

__all__ = ["Issuer", "issuer"]


class Issuer:
    """Answer each request as a test says."""

    def __init__(self) -> None:
        self.keys: list[Any] = [jwk("RS256", "k1")]
        self.asked = 0
        self.requests: list[bytes] = []
        self.raw: bytes | None = None
        """What is answered instead, as it is."""
        self.going = asyncio.Event()
        """Answers wait for it."""
        self.going.set()
        self.url = ""
        self.serving = 0
        """Requests that are not done with."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving += 1
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            self.asked += 1
            await self.going.wait()
            writer.write(self.answer() if self.raw is None else self.raw)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # It has given up.
        finally:
            writer.close()
            self.serving -= 1

    def answer(self, status: str = "200 OK", body: bytes | None = None) -> bytes:
        body = orjson.dumps({"keys": self.keys}) if body is None else body
        return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


@asynccontextmanager
async def issuer(tls: ssl.SSLContext | None = None) -> AsyncIterator[Issuer]:
    """Run an issuer on loopback."""
    made = Issuer()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    scheme = "http" if tls is None else "https"
    made.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys?v=1"
    try:
        yield made
    finally:
        made.going.set()
        server.close()
        await until(lambda: not made.serving)
