"""Catching up: subscriptions that are behind are read forward, connections in turn."""

import asyncio
import logging
from collections.abc import Callable

from streamd.errors import CallError, PlaceLost, StoreUnavailable
from streamd.log import Entry
from streamd.stores.base import Bounds
from streamd.subscription import Peer, State, Subscription
from streamd.turns import Turns
from streamd.view import View

__all__ = ["CatchUp"]

logger = logging.getLogger("streamd.catchup")

_STORE_READS = 4
"""Reads from the store at a time, for all connections of a worker."""

_ROUND = Bounds(limit=256, work=5_000, size=64 << 10)
"""What one subscription may read before the next connection is served."""

_RETRY_AFTER = 0.5
"""Seconds until a store that failed is asked again."""


class CatchUp:
    """Read subscriptions forward until they are where the tail is.

    A round reads one stretch for one subscription and writes it. From the window that takes no
    `await`, so nothing comes between "caught up" and "live"; the store is asked by a few tasks.
    In the line for the event loop all of them have one place: as many rounds in a turn as a share allows.
    """

    def __init__(
        self,
        view: View,
        *,
        frames: Callable[[Subscription, list[Entry]], bytes],
        go_live: Callable[[Subscription], None],
        lose: Callable[[Subscription, CallError], None],
        turns: Turns,
    ) -> None:
        self._view = view
        self._turns = turns
        self._frames = frames
        self._go_live = go_live
        self._lose = lose
        self._waiting: dict[Peer, None] = {}
        """Connections waiting for a round, in order."""
        self._far: asyncio.Queue[Subscription] = asyncio.Queue()
        """Subscriptions waiting for the store: at most all that there are, each once."""
        self._reading: set[Peer] = set()
        """Connections with a subscription in `_far` or at the store."""
        self._serving = False
        self._closed = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to serve."""
        self._tasks = [
            asyncio.create_task(self._serve_far(), name="catch-up: store reads")
            for _ in range(_STORE_READS)
        ]

    async def aclose(self) -> None:
        """End serving; idempotent."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def add(self, peer: Peer) -> None:
        """Give a connection its turn: it has a subscription that is behind, and takes bytes."""
        if peer not in self._reading:
            self._waiting[peer] = None
            if not self._serving:
                self._serving = True
                self._turns.add(self._serve_one)

    def _serve_one(self) -> bool:
        """Read the first of those who wait forward; tell whether another waits."""
        if self._closed:
            return False
        peer = next(iter(self._waiting))
        del self._waiting[peer]
        try:
            self._round(peer)
        except Exception:
            # A defect; it must not end the reading for everybody.
            logger.exception("a connection could not be read forward")
        self._serving = bool(self._waiting)
        return self._serving

    def _next(self, peer: Peer) -> Subscription | None:
        if peer.outbox.paused or peer.outbox.closed:
            return None  # `on_drained` brings it back.
        behind = [sub for sub in peer.subscriptions.values() if sub.state is State.BEHIND]
        # The one that is furthest behind: so all of them move.
        return min(behind, key=lambda sub: sub.cursor, default=None)

    def _round(self, peer: Peer) -> None:
        sub = self._next(peer)
        if sub is None:
            return
        view = self._view
        if sub.cursor > view.position:
            return  # Void since the log was forked: the hub is about to tell.
        if sub.cursor < view.floor - 1:
            self._lose(sub, PlaceLost("expired"))
        elif sub.cursor < view.window.low - 1:
            self._reading.add(peer)
            self._far.put_nowait(sub)
            return
        else:
            found = view.window.forward(
                sub.wanted, sub.cursor, limit=_ROUND.limit, work=_ROUND.work, size=_ROUND.size
            )
            self._send(sub, found.entries, found.upto)
        self._waiting[peer] = None

    def _send(self, sub: Subscription, entries: list[Entry], upto: int) -> None:
        if entries:
            sub.peer.outbox.write(self._frames(sub, entries))
        sub.cursor = upto
        if upto >= self._view.position:
            self._go_live(sub)

    async def _serve_far(self) -> None:
        while True:
            sub = await self._far.get()
            try:
                await self._read_far(sub)
            except StoreUnavailable:
                await asyncio.sleep(_RETRY_AFTER)
            except Exception:
                # As above.
                logger.exception("a subscription could not be read forward")
                await asyncio.sleep(_RETRY_AFTER)
            finally:
                self._reading.discard(sub.peer)
                self.add(sub.peer)

    async def _read_far(self, sub: Subscription) -> None:
        if sub.state is not State.BEHIND or sub.peer.outbox.closed:
            return
        since, wanted = sub.cursor, sub.wanted
        run = await self._view.after(since, wanted, _ROUND)
        if run.state.chain != self._view.chain:
            # The tail is about to bring the change, and the hub then judges all places.
            await self._view.fresh()
            return
        if sub.state is not State.BEHIND or sub.peer.outbox.closed or sub.cursor != since:
            return
        if sub.wanted is not wanted:
            return  # It may read something else by now.
        if since < run.state.floor - 1:
            self._lose(sub, PlaceLost("expired"))
        else:
            # What lies beyond the tail's position is for the window to bring.
            upto = min(run.upto, self._view.position)
            self._send(sub, [entry for entry in run.entries if entry.seq <= upto], upto)
