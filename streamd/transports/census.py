"""Who is here: connections are counted, in all and by where they come from, and too many are not let in.

It is asked before anything is read of a connection; behind a trusted proxy the address is known only
with the handshake, or with a request. Of everybody who was here lately as much is kept as rates need.
"""

import math
from collections import Counter, OrderedDict

from streamd.cells import Gauge
from streamd.limits import Limits
from streamd.rates import Pace, Rate, Rates
from streamd.transports.door import Refusal
from streamd.transports.proxies import Proxies, neighbourhood

__all__ = ["Census"]

_REMEMBERED = 65_536
"""Addresses of which it is known what they did lately; who has more of them, has more rates."""
_COME_BACK = 5
"""Seconds until it is worth to try again where there was no room."""

_FULL = Refusal(503, "connections", "there are as many connections as there may be", _COME_BACK)
_TOO_MANY = Refusal(
    429,
    "address_connections",
    "there are as many connections of this address as may be",
    _COME_BACK,
)


class _Visitor:
    """What an address did lately."""

    __slots__ = ("connects", "rates")

    def __init__(self, rates: Rates | None) -> None:
        self.connects = 0.0
        """When it may open as many connections again as ever (see Rate)."""
        self.rates = rates
        """What its POSTs are held to."""


class Census:
    """Count connections, and say who is not let in."""

    def __init__(self, limits: Limits, proxies: Proxies, pace: Pace, seats: Gauge) -> None:
        """Begin with nobody; how many are let in is told to `seats`, too."""
        self._limits = limits
        self._proxies = proxies
        self._pace = pace
        per_second = limits.connects_per_second
        self._connects = None if per_second is None else Rate(per_second, limits.burst)
        self._heeds_addresses = per_second is not None or limits.address_connections is not None
        self._seats = seats
        self._has_rates = pace.begin() is not None
        self._present: Counter[str] = Counter()
        self._visitors: OrderedDict[str, _Visitor] = OrderedDict()
        self.connections = 0
        """Those that are let in."""
        self.turned_away = 0
        """Those that are just being told why they are not."""

    # Connections.

    def enter(self, address: str) -> Refusal | None:
        """Count a new connection, or say why it is not let in."""
        if self.connections >= self._limits.connections:
            return _FULL
        refusal = self.claim(address)
        if refusal is None:
            self._count(1)
        return refusal

    def leave(self, address: str) -> None:
        """Forget a connection, and that it was the address's which claimed it."""
        self._count(-1)
        if self._heeds(address):
            place = neighbourhood(address)
            self._present[place] -= 1
            if not self._present[place]:
                del self._present[place]

    def _count(self, more: int) -> None:
        self.connections += more
        self._seats.set(self.connections)

    def claim(self, address: str) -> Refusal | None:
        """Count a connection for an address, or say why it may have no more; a proxy's is nobody's yet."""
        if not self._heeds(address):
            return None
        place = neighbourhood(address)
        refusal = self._too_many(place) or self._too_fast(place)
        if refusal is None:
            self._present[place] += 1
        return refusal

    def _heeds(self, address: str) -> bool:
        return self._heeds_addresses and not self._proxies.trusts(address)

    def _too_many(self, place: str) -> Refusal | None:
        most = self._limits.address_connections
        if most is None or self._present[place] < most:
            return None
        return _TOO_MANY

    def _too_fast(self, place: str) -> Refusal | None:
        if self._connects is None:
            return None
        now, visitor = self._pace.now(), self._visit(place)
        wait = self._connects.wait(visitor.connects, 1, now)
        if wait:
            message = "connections of this address come too fast"
            return Refusal(429, "connects_per_second", message, math.ceil(wait))
        visitor.connects = self._connects.after(visitor.connects, 1, now)
        return None

    # Requests.

    def rates(self, address: str) -> Rates | None:
        """Return what the calls of all requests of an address are held to."""
        return self._visit(neighbourhood(address)).rates if self._has_rates else None

    def _visit(self, place: str) -> _Visitor:
        visitor = self._visitors.get(place)
        if visitor is None:
            visitor = self._visitors[place] = _Visitor(self._pace.begin())
            if len(self._visitors) > _REMEMBERED:
                self._visitors.popitem(last=False)
        else:
            self._visitors.move_to_end(place)
        return visitor
