"""Watching a worker: whether it can serve, how far its tail is behind, how late its event loop is."""

import asyncio
import logging
import resource
import time
from pathlib import Path

from streamd.errors import CallError
from streamd.hub import Hub
from streamd.meters import Meters
from streamd.view import View

__all__ = ["Watch"]

logger = logging.getLogger("streamd.watch")

_LOOK = 1.0
"""Seconds between looks at the store."""
_BEAT = 0.1
"""Seconds between samples of the event loop."""
_SILENCE = 10.0
"""Seconds without a sign of life after which a tail is not believed to follow."""


class Watch:
    """Keep what is said of a worker true to the facts."""

    def __init__(self, view: View, hub: Hub, meters: Meters) -> None:
        self._view = view
        self._hub = hub
        self._meters = meters
        self._used = 0.0
        """Seconds of processors that were counted."""
        self._behind_since: float | None = None
        """When the look began that has not shown yet that the tail is where the store is."""
        self.trouble: str | None = "it has not started yet"
        """What keeps it from serving, as the last look showed, in a sentence for everybody."""

    @property
    def ready(self) -> bool:
        """Whether it can serve: the store answers, and the tail moves."""
        return self.trouble is None

    def begin(self) -> None:
        """Take note that it serves."""
        self.trouble = None

    def end(self) -> None:
        """Take note that it serves no more."""
        self.trouble = "it has ended"

    @property
    def alive(self) -> bool:
        """Whether it may become ready without being started anew: what pushes has not ended."""
        return self._hub.following

    # The store and the tail.

    async def look(self) -> None:
        """Look at the store again and again, until cancelled."""
        while True:
            self._note(await self._trouble())
            await asyncio.sleep(_LOOK)

    async def _trouble(self) -> str | None:
        """Return what keeps the worker from serving.

        A store that answers and a tail that has what the store has are no proof yet where nobody
        inserts: so the tail must have given a sign of life.
        """
        now = asyncio.get_running_loop().time
        if self._behind_since is None:
            self._behind_since = now()
        try:
            await self._view.fresh()
        except CallError as error:
            return error.message
        except Exception:
            logger.exception("the store could not be looked at")
            return "the store could not be looked at"
        self._behind_since = None
        if not self._hub.following:
            return "the tail has ended"
        if now() - self._hub.heard > _SILENCE:
            return "the tail gives no sign of life"
        return None

    def _note(self, trouble: str | None) -> None:
        if trouble is not None and self.ready:
            logger.warning("not ready: %s", trouble)
        elif trouble is None and not self.ready:
            logger.info("ready")
        self.trouble = trouble
        self.measure()

    # What is measured by the clock.

    async def beat(self) -> None:
        """Sample the event loop again and again, until cancelled."""
        now = asyncio.get_running_loop().time
        last = now()
        while True:
            due = now() + _BEAT
            await asyncio.sleep(_BEAT)
            self._meters.loop_lag.observe(max(now() - due, 0.0))
            if now() - last >= _LOOK:
                last = now()
                self.measure()

    def measure(self) -> None:
        """Take note of how things are now."""
        meters, view = self._meters, self._view
        since = self._behind_since
        now = asyncio.get_running_loop().time()
        meters.tail_lag.set(0.0 if since is None else now - since)
        meters.tail_lag_entries.set(max(view.head - view.position, 0))
        meters.postings.set(self._hub.num_postings)
        meters.ready.set(self.ready)
        used = time.process_time()
        meters.processor.add(used - self._used)
        self._used = used
        meters.memory.set(_resident_memory())


def _resident_memory() -> int:
    """Return the bytes of memory that this process has, where the system tells (proc(5))."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * resource.getpagesize()
