"""What all connections of one worker share, and how they all come to an end."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterable
from typing import Any, Protocol

from uvicorn.server import ServerState
from websockets.extensions import ServerExtensionFactory

from streamd.closing import Closing
from streamd.limits import Limits
from streamd.transports.census import Census
from streamd.transports.door import Door
from streamd.transports.frames import Deflate
from streamd.transports.journal import Journal
from streamd.transports.keepalive import Keepalive, Pinged
from streamd.transports.proxies import Proxies
from streamd.worker import Worker

__all__ = ["Gate"]

logger = logging.getLogger("streamd.gate")

_SLICE = 0.02
"""Seconds between two slices of a drain."""
_PER_SECOND = 1_000
"""Connections that are told to go in a second, if the time for it suffices."""
_SPREADING = 0.6
"""The part of the drain time over which connections are told; the rest is for their answers."""
_SOONEST_RETURN = 0.1
"""Seconds before which nobody is asked to come back."""


class Drained(Pinged, Protocol):
    """A connection that can be told to go."""

    @property
    def in_flight(self) -> int:
        """Calls not answered yet."""

    def drain(self, reconnect_after_ms: int) -> None:
        """Say that the server stops; begin no further call."""

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake."""


class Gate:
    """Hold what connections have in common: worker, door, extensions, wheel, and whether they must go.

    It stands in uvicorn's set of connections for all WebSockets: uvicorn calls `shutdown` on each
    member of the set when it has stopped to accept, and waits until they have left it.
    """

    def __init__(
        self,
        worker: Worker,
        door: Door,
        proxies: Proxies | None = None,
        *,
        compression: bool = False,
    ) -> None:
        self.worker = worker
        self.door = door
        self.proxies = proxies or Proxies()
        self.extensions: list[ServerExtensionFactory] = [Deflate()] if compression else []
        """What may be negotiated with a WebSocket."""
        self.limits: Limits = worker.stream.limits
        self.census = Census(self.limits, self.proxies, worker.pace, worker.meters.seats)
        self.guard = worker.guard
        self.turns = worker.turns
        self.journal = Journal(worker.meters)
        self.count_received = worker.meters.received_bytes.add
        self.count_sent = worker.meters.sent_bytes.add
        self.keepalive: Keepalive[Drained] = Keepalive(self.limits, self.journal)
        self.draining = False
        self._state: ServerState | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Begin to look after connections."""
        self._tasks.append(asyncio.create_task(self.keepalive.run(), name="keepalive"))

    async def aclose(self) -> None:
        """End what runs here; idempotent."""
        self.draining = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def attach(self, state: ServerState) -> None:
        """Stand in the server's set of connections; idempotent."""
        if self._state is None and not self.draining:
            self._state = state
            state.connections.add(self)  # type: ignore[arg-type]  # the set is of protocols; of a member only `shutdown` is used

    # Coming to an end.

    def shutdown(self) -> None:
        """Begin to drain; uvicorn calls this."""
        logger.info("stopping; connections to tell: %d", len(self.keepalive))
        self.draining = True
        self._tasks.append(asyncio.create_task(self._drain(), name="drain"))

    async def _drain(self) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.limits.drain):
                    await self._send_away()
            # Those whose calls are not answered, or who do not say goodbye.
            for peer in self.keepalive:
                _close(peer)
        except Exception:
            logger.critical("the drain has failed; connections are cut off", exc_info=True)
            raise
        finally:
            self._abort_all()
            if self._state is not None:
                self._state.connections.discard(self)

    async def _send_away(self) -> None:
        peers = list(self.keepalive)
        random.shuffle(peers)
        spread = min(len(peers) / _PER_SECOND, self.limits.drain * _SPREADING)
        per_slice = max(1, round(len(peers) * _SLICE / spread)) if spread > 0 else 1
        waiting: set[Drained] = set()
        for first in range(0, len(peers), per_slice):
            told = peers[first : first + per_slice]
            for peer in told:
                peer.drain(self._reconnect_after_ms(spread))
            waiting = self._close_idle(waiting | set(told))
            await asyncio.sleep(_SLICE)
        while waiting:
            waiting = self._close_idle(waiting)
            await asyncio.sleep(_SLICE)
        while len(self.keepalive) or self._others():  # noqa: ASYNC110 - uvicorn's set tells nobody
            await asyncio.sleep(_SLICE)

    @staticmethod
    def _reconnect_after_ms(spread: float) -> int:
        # Those told within one moment come back over as long a time as all were told in, at least a second.
        return round(1000 * (_SOONEST_RETURN + random.random() * max(1.0, spread)))

    @staticmethod
    def _close_idle(peers: Iterable[Drained]) -> set[Drained]:
        busy = set()
        for peer in peers:
            if peer.in_flight:
                busy.add(peer)
            else:
                _close(peer)
        return busy

    def _abort_all(self) -> None:
        for peer in self.keepalive:
            peer.abort()
        for connection in self._others():
            connection.transport.abort()

    def _others(self) -> list[Any]:
        """The HTTP connections: those that have a request are let go by uvicorn when it is answered."""
        connections: set[Any] = set(self._state.connections) if self._state is not None else set()
        return [connection for connection in connections if connection is not self]


def _close(peer: Drained) -> None:
    peer.close(Closing.SERVICE_RESTART, "service restart")
