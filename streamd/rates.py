"""Rates: how many calls and events a peer may bring in a time. No clock of its own."""

import math
from collections.abc import Callable

from streamd.errors import RateLimited
from streamd.limits import Limits

__all__ = ["Pace", "Rate", "Rates"]

_ROUNDING = 1e-3
"""The part of one that a sum of many may be wrong by: it is not to cost anybody a call."""


class Rate:
    """So many in a second; who was quiet may bring at once what comes in the time of a burst, one at least.

    It is a token bucket. All that is kept of a peer is one number, the time at which the bucket is full again.
    """

    __slots__ = ("_burst", "_each", "per_second")

    def __init__(self, per_second: float, burst: float) -> None:
        self.per_second = per_second
        self._each = 1 / per_second
        self._burst = max(burst, self._each)

    def wait(self, full_at: float, number: int, now: float) -> float:
        """Return the seconds until so many may come, 0 for now.

        More than a bucket holds may come when it is full: what they are too many delays those that follow.
        """
        needed = min(number * self._each, self._burst)
        wait = max(full_at - now, 0.0) + needed - self._burst
        return wait if wait > self._each * _ROUNDING else 0.0

    def after(self, full_at: float, number: int, now: float) -> float:
        """Return when the bucket is full again, now that so many have come."""
        return max(full_at, now) + number * self._each


class Pace:
    """The rates that peers are held to."""

    __slots__ = ("calls", "events", "now", "refusals")

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        """Take the limits; `now` is in seconds, and never goes back."""
        self.now = now
        self.calls = _rate(limits.calls_per_second, limits.burst)
        self.events = _rate(limits.events_per_second, limits.burst)
        self.refusals = Rate(limits.refusals / limits.burst, limits.burst)

    def begin(self) -> "Rates | None":
        """Return what holds a new peer to them; None if there are none."""
        return None if self.calls is None and self.events is None else Rates(self)


def _rate(per_second: float | None, burst: float) -> Rate | None:
    return None if per_second is None else Rate(per_second, burst)


class Rates:
    """Hold one peer to its rates; who is refused too often is barred for a while."""

    __slots__ = ("_barred_until", "_calls", "_events", "_pace", "_refusals")

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._calls = self._events = self._refusals = self._barred_until = 0.0

    def take_call(self) -> None:
        """Count a call; raise RateLimited if it comes too soon."""
        rate = self._pace.calls
        if rate is not None:
            now = self._pace.now()
            self._check("calls_per_second", rate, rate.wait(self._calls, 1, now), now)
            self._calls = rate.after(self._calls, 1, now)

    def take_events(self, number: int) -> None:
        """Count events that are to be inserted; raise RateLimited if they come too soon."""
        rate = self._pace.events
        if rate is not None:
            now = self._pace.now()
            self._check("events_per_second", rate, rate.wait(self._events, number, now), now)
            self._events = rate.after(self._events, number, now)

    def take_faults(self, number: int) -> None:
        """Count what was sent and is no call as if it were some; each has its own error already."""
        for _ in range(number):
            try:
                self.take_call()
            except RateLimited:
                continue

    def barred(self) -> float:
        """Return the seconds for which nothing more is to be heard from this peer; 0 for none."""
        return max(self._barred_until - self._pace.now(), 0.0) if self._barred_until else 0.0

    def _check(self, limit: str, rate: Rate, wait: float, now: float) -> None:
        if not wait:
            return
        refusals = self._pace.refusals
        too_many = refusals.wait(self._refusals, 1, now)
        if too_many:
            self._barred_until = now + too_many
        else:
            self._refusals = refusals.after(self._refusals, 1, now)
        raise RateLimited(limit, rate.per_second, math.ceil(wait * 1000))
