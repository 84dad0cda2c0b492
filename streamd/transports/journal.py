"""Who comes and goes, who is refused, and who does not keep up: counted, and told in the log.

Of 9,000 who come back within a second a log is to say that they did, not 9,000 times: so of each kind of
news a few lines a second are written, and one for the rest. At the level `debug` every line is. Of a peer
the log has its address and a number: no header, no token, nothing that it said.
"""

import asyncio
import logging
from collections import Counter
from typing import Any, NamedTuple

from streamd.meters import Meters, Reason
from streamd.transports.keepalive import SlowReaders

__all__ = ["Journal", "Totals"]

logger = logging.getLogger("streamd.peers")

_LINES = 10
"""Lines of one kind that are written within a moment."""
_MOMENT = 1.0
"""Seconds that a moment has."""


class Totals(NamedTuple):
    """What came of a WebSocket."""

    entries: int
    """Entries written to it."""
    bytes: int
    """Bytes of all messages written to it."""
    seconds: float
    """How long it was open."""


class _News:
    """Lines of one kind, which are only so many in a moment."""

    def __init__(self, level: int, message: str) -> None:
        self._level = level
        self._message = message
        self._told = 0
        self._until = 0.0
        self._rest: Counter[str] = Counter()

    def tell(self, what: object, **more: Any) -> None:
        """Write a line; or count it, by what it is about."""
        self.tell_rest()
        self._told += 1
        if self._told <= _LINES:
            logger.log(self._level, self._message, extra=more)
            return
        self._rest[str(what)] += 1
        logger.debug(self._message, extra=more)

    def tell_rest(self) -> None:
        """Write what was counted, if the moment is over."""
        now = asyncio.get_running_loop().time()
        if now < self._until:
            return
        self._told, self._until = 0, now + _MOMENT
        rest, self._rest = self._rest, Counter()
        if rest:
            more = {"times": rest.total(), "of": dict(rest)}
            logger.log(self._level, "%s: and more", self._message, extra=more)


class Journal(SlowReaders):
    """Count the WebSockets of a worker, and tell of them."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._last = 0
        self._refused = _News(logging.INFO, "refused")
        self._disconnected = _News(logging.INFO, "disconnected")
        self._slow = _News(logging.WARNING, "slow reader")
        self._caught_up = _News(logging.INFO, "slow reader caught up or gone")

    def tick(self) -> None:
        """Write what is left of the last moment."""
        for news in (self._refused, self._disconnected, self._slow, self._caught_up):
            news.tell_rest()

    def refused(self, reason: Reason, address: str, why: str = "") -> None:
        """Take note that somebody did not get in; of a token, why it was refused."""
        self._meters.refused[reason].add()
        self._refused.tell(why or reason, reason=reason, address=address, **_said(why))

    def opened(self, address: str | None) -> int:
        """Take note of a new WebSocket; return its number."""
        self._last += 1
        self._meters.connects.add()
        self._meters.connections.add()
        logger.debug("connected", extra={"connection": self._last, "address": address})
        return self._last

    def closed(
        self, number: int, address: str | None, code: int, totals: Totals, why: str = ""
    ) -> None:
        """Take note that it has ended, with a close code, and why where that was ours."""
        self._meters.connections.add(-1)
        self._meters.disconnects[code].add()
        known = {"connection": number, "address": address, "code": code}
        self._disconnected.tell(code, **known, **_said(why), **totals._asdict())

    def slow(self, number: int, address: str, unsent: int) -> None:
        """Take note that a peer does not take what it is sent; over HTTP its number is 0."""
        self._meters.slow_readers.add()
        self._slow.tell("connections", connection=number, address=address, unsent=unsent)

    def caught_up(self, number: int, seconds: float) -> None:
        """Take note that it does again, or is gone."""
        self._meters.slow_readers.add(-1)
        self._caught_up.tell("connections", connection=number, seconds=round(seconds, 1))


def _said(why: str) -> dict[str, str]:
    return {"why": why} if why else {}
