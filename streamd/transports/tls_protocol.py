"""TLS for uvicorn's `http=`: the handshake, within bounds, and then HTTP as `http_protocol` has it.

uvicorn would let the event loop do it: that gives a peer 60 s, counts nobody who has not done yet, and keeps
the certificate that it has read at the start.
"""

import asyncio
import os
import socket
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from streamd.transports.hello import hear
from streamd.transports.http_protocol import HttpProtocol
from streamd.transports.journal import Journal
from streamd.transports.tls import Certificate
from streamd.turns import Line, Turns

__all__ = ["TlsProtocol"]

_HANDSHAKE = 1e-3
"""Seconds that the answer to a ClientHello takes, roughly. Without turns, 4,000 at once are three seconds."""


class TlsProtocol(asyncio.Protocol):
    """Do the handshake with a peer that has taken its seat before, and hand it on."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        address: str = "",
    ) -> None:
        """Take what uvicorn gives; gate and certificate are in the state that the application's lifespan made."""
        self._http = HttpProtocol(config, server_state, app_state, _loop, address=address)
        self._certificate: Certificate = app_state["certificate"]
        self._journal: Journal = app_state["gate"].journal
        self._turns: Turns = app_state["gate"].turns
        self._connections: set[Any] = server_state.connections
        self.transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake, if the peer is let in or told why not."""
        self.transport = transport = cast("asyncio.Transport", transport)  # uvloop's is none
        try:
            if self._http.arrive(transport):
                handed = os.dup(transport.get_extra_info("socket").fileno())
                shaking = self._shake_hands(handed)
                self._task = asyncio.create_task(shaking, name="TLS handshake")
                self._connections.add(self)
        except OSError:
            self._http.leave()
        # The loop does it with a socket. `start_tls`, with a transport, comes too late: uvloop may have read.
        transport.abort()

    async def _shake_hands(self, handed: int) -> None:
        seconds = self._http.header_deadline
        sock = socket.socket(fileno=handed)
        try:
            left = await self._hear(sock, seconds)
            # The loop's from now on, which closes it.
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._http,
                sock,
                ssl=self._certificate.context,
                ssl_handshake_timeout=left,
                ssl_shutdown_timeout=seconds,
            )
        except OSError:
            # It spoke no TLS that will do, took too long, or went: some who do not trust us only do that.
            self._journal.refused("tls", self._http.address)
        finally:
            self._connections.discard(self)
            if self._http.transport is None:
                self._http.leave()

    async def _hear(self, sock: socket.socket, seconds: float) -> float:
        """Wait for the first message, and for its turn; return what is left of the time for a handshake."""
        now = asyncio.get_running_loop().time
        began = now()
        try:
            sock.setblocking(False)
            async with asyncio.timeout(seconds):
                await hear(sock)
            left = seconds - (now() - began)
            await self._turns.begin(_HANDSHAKE, Line.NEWCOMERS)
        except BaseException:
            sock.close()
            raise
        return max(left, _HANDSHAKE)

    def shutdown(self) -> None:
        """End it at once: who is not in yet may come to another server; uvicorn calls this."""
        assert self._task is not None
        self._task.cancel()
