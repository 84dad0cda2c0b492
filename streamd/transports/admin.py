"""The operators' own port: a second listener of the same process, which stays until the server has ended."""

import asyncio
import socket
from collections.abc import Sequence

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from streamd.transports.gate import Gate
from streamd.transports.http_protocol import HttpProtocol
from streamd.transports.seat import NoSeat, Seat

__all__ = ["AdminPort"]


class _AdminProtocol(HttpProtocol):
    """HTTP with the same bounds; its peers are none of those that a drain waits for."""

    def _enter(self) -> Seat:
        """Stay out of the gate's set of connections, and of the count of all."""
        return NoSeat(self._gate)


class AdminPort:
    """Serve an application on sockets of its own."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._config = Config(
            app,
            http=_AdminProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            server_header=False,
            proxy_headers=False,
        )
        self._config.load()
        self._state = ServerState()
        self._gate = gate
        self._servers: list[asyncio.Server] = []

    async def open(self, sockets: Sequence[socket.socket]) -> None:
        """Begin to listen."""
        loop = asyncio.get_running_loop()
        for sock in sockets:
            self._servers.append(await loop.create_server(self._protocol, sock=sock))

    def _protocol(self) -> asyncio.Protocol:
        return _AdminProtocol(self._config, self._state, {"gate": self._gate})

    async def aclose(self) -> None:
        """Stop, and let go of those who are there; idempotent."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for connection in list(self._state.connections):
            connection.transport.close()
