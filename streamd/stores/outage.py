"""Outages of what a log is kept in: each is told once when it begins, and once when it is over."""

import logging
from random import Random

from streamd.stores.base import Observer

__all__ = ["Outage", "pause_of"]

_LONGEST_PAUSE = 2.0
"""Seconds between two attempts, at most."""


class Outage:
    """The failures in a row of something that tries until it is done.

    Args:
        logger: Where it is told.
        begins: What is said of the first, before its reason.
        is_over: What is said when an attempt has succeeded again.
        observer: Who is to know, too.
    """

    __slots__ = ("_begins", "_is_over", "_logger", "_observer", "failures")

    def __init__(
        self, logger: logging.Logger, begins: str, is_over: str, observer: Observer | None = None
    ) -> None:
        self._logger = logger
        self._begins = begins
        self._is_over = is_over
        self._observer = observer or Observer()
        self.failures = 0

    def fail(self, reason: object) -> None:
        """Note an attempt that has failed."""
        self.failures += 1
        if self.failures == 1:
            self._logger.warning("%s: %s", self._begins, reason)
            self._observer.lost()

    def succeed(self) -> None:
        """Note one that has not."""
        if self.failures:
            self._logger.info(self._is_over)
            self._observer.found()
            self.failures = 0


def pause_of(failures: int, random: Random) -> float:
    """Return the seconds before the next attempt, the more the more of them have failed."""
    longest = min(_LONGEST_PAUSE, 0.05 * 2.0 ** min(failures, 10))
    return random.uniform(0.2, 1) * longest
