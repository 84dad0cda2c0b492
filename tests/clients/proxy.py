"""What may stand between a client and the server: it passes bytes on, until it misbehaves."""

import asyncio
from collections.abc import Callable
from typing import Self

Listener = Callable[[bytes], None]
"""Who is told of bytes that are about to be passed on."""


def nobody(data: bytes) -> None:
    """Take no notice."""


class Proxy:
    """Passes bytes on, until it breaks a connection off or swallows an answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._appetite = 0
        self.swallowed: list[bytes] = []
        """What the server said and nobody heard."""
        self.left = 0
        """How many connections the server has ended."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.break_off()
        await self._server.wait_closed()

    def break_off(self) -> None:
        """Break off every connection, whatever it is in the middle of."""
        for writer in self._writers:
            writer.transport.abort()

    def swallow(self, answers: int) -> None:
        """Break off instead of passing on what the server says next, so many times."""
        self._appetite = answers

    def listeners(self) -> tuple[Listener, Listener]:
        """Return who hears what is said to the server on a new connection, and what it says."""
        return nobody, nobody

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= (both := {writer, there_writer})
        asked, told = self.listeners()
        try:
            await asyncio.gather(
                self._ask(reader, there_writer, asked), self._tell(there_reader, writer, told)
            )
        finally:
            self._writers -= both

    @staticmethod
    async def _ask(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: Listener
    ) -> None:
        try:
            while data := await reader.read(65536):
                asked(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()

    async def _tell(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, told: Listener
    ) -> None:
        try:
            while data := await reader.read(65536):
                if self._appetite:
                    self._appetite -= 1
                    self.swallowed.append(data)
                    break
                told(data)
                writer.write(data)
                await writer.drain()
            else:
                self.left += 1
        except OSError:
            pass
        finally:
            writer.transport.abort()
