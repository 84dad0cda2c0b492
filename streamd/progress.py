"""Telling connections how far they have got, though nothing matched."""

import asyncio
import logging
from collections.abc import Collection

from streamd import notifications
from streamd.limits import Limits
from streamd.subscription import Peer, State
from streamd.view import View

__all__ = ["Progress"]

logger = logging.getLogger("streamd.progress")

_BEAT = 1.0
"""Seconds between looks for connections that are due."""

_SLICE = 200
"""Connections looked at between two looks at what else is to do."""


class Progress:
    """Send each connection a `progress` before a ping would be due, and before the window leaves it behind."""

    def __init__(self, view: View, limits: Limits, between_batches: asyncio.Lock) -> None:
        """Prepare; `between_batches` is held by the hub while a batch goes out, and places are in between."""
        self._view = view
        self._ping = limits.ping
        self._quarter = limits.window // 4
        self._between_batches = between_batches

    async def beat(self, peers: Collection[Peer]) -> None:
        """Serve until cancelled."""
        try:
            while True:
                await asyncio.sleep(_BEAT)
                await self._tell_due(list(peers))
        except Exception:
            # It ends by cancellation only: anything else is a defect, and must be seen.
            logger.critical(
                "telling of progress has ended; quiet connections lose their places", exc_info=True
            )
            raise

    async def _tell_due(self, peers: list[Peer]) -> None:
        clock = asyncio.get_running_loop().time
        for first in range(0, len(peers), _SLICE):
            async with self._between_batches:
                now = clock()
                for peer in peers[first : first + _SLICE]:
                    if self.due(peer, now):
                        self.tell(peer, now)
            await asyncio.sleep(0)

    def due(self, peer: Peer, now: float) -> bool:
        """Tell whether a connection is to hear of its place; one that has a backlog is not, unasked."""
        if not peer.subscriptions or peer.outbox.paused or peer.outbox.closed:
            return False
        late = now - peer.told_at > self._ping - 2 * _BEAT
        return late or self._view.position - peer.told >= self._quarter

    def tell(self, peer: Peer, now: float) -> None:
        """Send the place of all its subscriptions: one for all if none is behind, else one each."""
        peer.told, peer.told_at = self._view.position, now
        position = self._view.cursor(self._view.position)
        if not peer.num_behind:
            peer.outbox.send(notifications.progress(position))
            return
        for sub in peer.subscriptions.values():
            if sub.state is State.LIVE:
                peer.outbox.send(notifications.progress(position, sub.number))
            elif sub.state is State.BEHIND:
                peer.outbox.send(notifications.progress(self._view.cursor(sub.cursor), sub.number))
