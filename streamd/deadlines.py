"""Deadlines of many, to the second: one task for all, and no timer of each one's own."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Deadlines", "Expiring"]

logger = logging.getLogger("streamd.deadlines")

_STEP = 1.0
_FARTHEST = 3_600
"""Steps ahead that are kept apart; what is later is looked at again then."""
_SLICE = 100
"""Whose time is over at once, and who are told before others have their turn."""


class Expiring(Protocol):
    """What has a time that ends."""

    def expire(self) -> None:
        """Take note that the time is over."""


class Deadlines:
    """Tell each when its time is over, up to a second later."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Begin; `now` is in seconds, and never goes back."""
        self._now = now
        self._at: dict[Expiring, tuple[float, int]] = {}
        """When, and the step at which it is looked at."""
        self._steps: dict[int, dict[Expiring, None]] = {}
        self._done = math.floor(now())

    def __len__(self) -> int:
        return len(self._at)

    def set(self, each: Expiring, seconds: float) -> None:
        """Let the time of one be over in so many seconds; the last that is said counts."""
        self.forget(each)
        self._file(each, self._now() + seconds)

    def _file(self, each: Expiring, at: float) -> None:
        step = min(max(math.ceil(at), self._done + 1), self._done + _FARTHEST)
        self._at[each] = at, step
        self._steps.setdefault(step, {})[each] = None

    def forget(self, each: Expiring) -> None:
        """Let no time be over for one; idempotent."""
        found = self._at.pop(each, None)
        if found is not None:
            del self._steps[found[1]][each]
            if not self._steps[found[1]]:
                del self._steps[found[1]]

    def due(self) -> list[Expiring]:
        """Return those whose time is over, and forget them."""
        over: list[Expiring] = []
        before, self._done = self._done, max(math.floor(self._now()), self._done)
        # Behind the farthest there is nothing, however long the process stood still.
        for step in range(before + 1, min(before + _FARTHEST, self._done) + 1):
            for each in self._steps.pop(step, ()):
                at, _ = self._at.pop(each)
                if at <= self._done:
                    over.append(each)
                else:
                    self._file(each, at)
        return over

    async def run(self) -> None:
        """Tell them, for ever."""
        while True:
            await asyncio.sleep(_STEP)
            for number, each in enumerate(self.due(), 1):
                try:
                    # While others were told, it may have got a later time.
                    if each not in self._at:
                        each.expire()
                except Exception:
                    # A defect; it must not keep the others.
                    logger.exception("an end could not be told")
                if number % _SLICE == 0:
                    await asyncio.sleep(0)
