"""Outages of what a log is kept in: each is told once when it begins, and once when it is over."""

import logging
import time
from random import Random

from streamd.stores.base import Observer

__all__ = ["Outage", "pause_of"]

_LONGEST_PAUSE = 2.0
"""Seconds between two attempts, at most."""
_CALM = 1.0
"""Seconds without a failure after which it is said to be over: a store at its brim, or one whose connections
are cut again and again, does what it is asked now and then.
"""


class Outage:
    """The failures of something that tries until it is done.

    Args:
        logger: Where it is told.
        begins: What is said of the first, before its reason.
        is_over: What is said when an attempt has succeeded again.
        observer: Who is to know, too, and of each time.
    """

    __slots__ = ("_begins", "_failed_at", "_is_over", "_logger", "_observer", "_told", "failures")

    def __init__(
        self, logger: logging.Logger, begins: str, is_over: str, observer: Observer | None = None
    ) -> None:
        self._logger = logger
        self._begins = begins
        self._is_over = is_over
        self._observer = observer or Observer()
        self._told = False
        self._failed_at = 0.0
        self.failures = 0
        """Attempts in a row that have failed."""

    def fail(self, reason: object) -> None:
        """Note an attempt that has failed."""
        self.failures += 1
        self._failed_at = time.monotonic()
        if self.failures == 1:
            self._observer.lost()
        if not self._told:
            self._told = True
            self._logger.warning("%s: %s", self._begins, reason)

    def succeed(self) -> None:
        """Note one that has not."""
        if self.failures:
            self.failures = 0
            self._observer.found()
        if self._told and time.monotonic() - self._failed_at >= _CALM:
            self._told = False
            self._logger.info(self._is_over)


def pause_of(failures: int, random: Random) -> float:
    """Return the seconds before the next attempt, the more the more of them have failed."""
    longest = min(_LONGEST_PAUSE, 0.05 * 2.0 ** min(failures, 10))
    return random.uniform(0.2, 1) * longest
