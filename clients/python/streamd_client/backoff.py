"""How long to wait before the next attempt. No sleeping here: numbers in, numbers out."""

import random
import time
from collections.abc import Callable

__all__ = ["Backoff", "call_jitter", "full_jitter", "retry_delay"]

STABLE_AFTER = 5.0  # seconds


def full_jitter(
    attempt: int,
    *,
    low: float = 0.5,
    high: float = 20.0,
    random: Callable[[], float] = random.random,
) -> float:
    """
    Return the seconds to wait before retry number `attempt` (0, 1, 2 …), from `low` to `high`.

    The delay is spread evenly between `low` and a ceiling that doubles with every attempt, so
    that clients which lost the server together do not come back together.

    Args:
        random: Returns a number from 0 to 1.
    """
    doublings = min(attempt + 1, 32)  # keeps the power of two small; the ceiling is long reached
    ceiling: float = min(high, low * 2**doublings)
    return low + random() * (ceiling - low)


def call_jitter(attempt: int, *, random: Callable[[], float] = random.random) -> float:
    """
    Return the seconds to wait before retry number `attempt` (0, 1, 2 …) of a call.
    """
    return full_jitter(attempt, low=0.1, high=2.0, random=random)


def retry_delay(
    attempt: int, retry_after: float | None, backoff: Callable[[int], float] = call_jitter
) -> float:
    """
    Return the seconds before a call is repeated, `retry_after` of them at least.
    """
    return max(backoff(attempt), retry_after or 0.0)


class Backoff:
    """
    The delays of one client: longer with each failure, from the start after a stable connection.

    Args:
        delay: Maps the number of the attempt to seconds.
        stable_after: Seconds a connection must have lasted to count as a success.
        clock: A monotonic clock in seconds.
    """

    def __init__(
        self,
        delay: Callable[[int], float] = full_jitter,
        *,
        stable_after: float = STABLE_AFTER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._delay = delay
        self._stable_after = stable_after
        self._clock = clock
        self._attempt = 0
        self._opened_at: float | None = None
        self._told: float | None = None

    def opened(self) -> None:
        """
        Note that a connection is open.
        """
        self._opened_at = self._clock()
        self._told = None

    def told(self, seconds: float) -> None:
        """
        Note that the server named the next delay; it goes before the computed one, once.
        """
        self._told = max(0.0, seconds)

    def next(self) -> float:
        """
        Return the seconds to wait now that the connection was lost or could not be opened.
        """
        if self.stable:
            self._attempt = 0
        self._opened_at = None
        if self._told is not None:
            told, self._told = self._told, None
            return told
        self._attempt += 1
        return self._delay(self._attempt - 1)

    @property
    def stable(self) -> bool:
        """Whether the connection that is open, or was the last, has lasted long enough."""
        if self._opened_at is None:
            return False
        return self._clock() - self._opened_at >= self._stable_after
