"""The wheel that finds dead peers: one for all connections of a process.

Alive is a peer from which anything came, or which took any byte of its backlog. A peer that had no
backlog since the ping must be heard within `pong` seconds; one that has a backlog must take a byte
within `write_deadline` seconds, or it is cut. Being far behind is no reason to cut anybody. A slow
reader is one whose buffer was full for a second without a break: of that, operators are told.

The wheel turns by ticks, and time is counted in them: however long the event loop stood still, it is
one tick to the wheel, so nobody is cut for a silence that was ours.
"""

import asyncio
import logging
import math
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from streamd.limits import Limits

__all__ = ["Keepalive", "Lingering", "Pinged", "SlowReaders"]

logger = logging.getLogger("streamd.keepalive")

_LONGEST_TICK = 1.0
_SHORTEST_TICK = 0.01
_TICKS_PER_DEADLINE = 8
_GOODBYE = 2.0
"""Seconds that a peer has to answer a close."""
_SLOW = 1.0
"""Seconds that a peer's buffer is full before it is called a slow reader."""


class Lingering(Protocol):
    """A connection that may linger with a backlog."""

    heard: int
    """The tick at which anything last came from it; 0 where what comes is no sign of life."""
    number: int
    """What it is called in the log; 0 where it has no number."""

    @property
    def address(self) -> str:
        """Where it comes from."""

    def unsent(self) -> int:
        """Return the bytes that it has not taken."""

    def taken(self) -> int:
        """Return a number that grows whenever it takes a byte."""

    def cut(self, why: str) -> None:
        """End it: it is not alive."""

    def abort(self) -> None:
        """End it at once."""


class Pinged(Lingering, Protocol):
    """A connection that the wheel pings."""

    pinged: int
    """The tick of its last ping, 0 if there was none."""
    lagging: bool
    """Whether it had a backlog at its last ping or since."""
    slot: int
    """Its place on the wheel."""

    @property
    def deaf(self) -> bool:
        """Whether it is not being read, so that it could not be heard."""

    def ping(self) -> None:
        """Send a ping."""


P = TypeVar("P", bound=Pinged)


class SlowReaders:
    """Be told of slow readers, and of every tick; this one does not mind."""

    def slow(self, number: int, address: str, unsent: int) -> None:
        """A connection has become one, with so many bytes unsent."""

    def caught_up(self, number: int, seconds: float) -> None:
        """It is none any more, or gone, after about so long."""

    def tick(self) -> None:
        """Time goes by."""


class _Backlog:
    """What was last seen of a peer that has a backlog."""

    __slots__ = ("full", "is_slow", "since", "taken")

    def __init__(self, taken: int, since: int) -> None:
        self.taken = taken
        self.since = since
        self.full = since
        """The tick since which its buffer was full; 0 while it is not."""
        self.is_slow = False


class Keepalive(Generic[P]):
    """Ping every connection in turn, and cut those that are dead."""

    def __init__(self, limits: Limits, slow_readers: SlowReaders | None = None) -> None:
        self._slow_readers = slow_readers or SlowReaders()
        shortest = min(limits.ping, limits.pong, limits.write_deadline)
        self.step = min(_LONGEST_TICK, max(_SHORTEST_TICK, shortest / _TICKS_PER_DEADLINE))
        """Seconds of one tick."""
        self.now = 1
        """The number of this tick."""
        self._slots: list[set[P]] = [set() for _ in range(max(2, self._ticks(limits.ping)))]
        # The verdict on one ping comes before the next.
        self._pong = min(self._ticks(limits.pong), len(self._slots) - 1)
        self._write_deadline = self._ticks(limits.write_deadline)
        self._goodbye = self._ticks(_GOODBYE)
        self._slow = self._ticks(_SLOW)
        self._backlogs: dict[Lingering, _Backlog] = {}
        self._leaving: dict[Lingering, int] = {}
        self._spread = 0

    def _ticks(self, seconds: float) -> int:
        return max(1, math.ceil(seconds / self.step - 1e-9))

    def __iter__(self) -> Iterator[P]:
        return (peer for slot in self._slots for peer in tuple(slot))

    def __len__(self) -> int:
        return sum(map(len, self._slots))

    # What connections tell.

    def add(self, peer: P) -> None:
        """Begin to look after a connection. Connections that come together are pinged apart."""
        self._spread = peer.slot = (self._spread + 1) % len(self._slots)
        self._slots[peer.slot].add(peer)

    def remove(self, peer: P) -> None:
        """Forget a connection; idempotent."""
        self._slots[peer.slot].discard(peer)
        self.forget(peer)

    def watch(self, peer: Lingering) -> None:
        """Cut the connection unless it takes its backlog, or a byte of it from time to time."""
        backlog = self._backlogs.get(peer)
        if backlog is None:
            self._backlogs[peer] = _Backlog(peer.taken(), self.now)
        elif not backlog.full:
            backlog.full = self.now

    def relieve(self, peer: Lingering) -> None:
        """Take note that there is room in the connection's buffer; idempotent."""
        backlog = self._backlogs.get(peer)
        if backlog is not None:
            self._end_slowness(peer, backlog)
            backlog.full = 0

    def part(self, peer: Lingering) -> None:
        """Abort the connection if it is still there when a goodbye should have been answered."""
        self._leaving.setdefault(peer, self.now + self._goodbye)

    def forget(self, peer: Lingering) -> None:
        """Watch a connection no longer; idempotent."""
        self._drop(peer)
        self._leaving.pop(peer, None)

    # Time.

    async def run(self) -> None:
        """Turn the wheel, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self.step
            await asyncio.sleep(self.step)
            if loop.time() - due > self.step:
                # Let the sockets be read first.
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            try:
                self.tick()
            except Exception:
                # A defect; one peer must not stop the wheel for all.
                logger.exception("a connection could not be looked after")

    def tick(self) -> None:
        """Turn the wheel by one slot."""
        self.now += 1
        self._slow_readers.tick()
        for peer in tuple(self._slots[(self.now - self._pong) % len(self._slots)]):
            self._judge(peer)
        for peer in tuple(self._slots[self.now % len(self._slots)]):
            self._ping(peer)
        for lingering, backlog in tuple(self._backlogs.items()):
            self._look(lingering, backlog)
        for lingering, deadline in tuple(self._leaving.items()):
            if self.now >= deadline:
                self.forget(lingering)
                lingering.abort()

    def _ping(self, peer: Pinged) -> None:
        peer.lagging = peer.unsent() > 0
        peer.pinged = self.now
        peer.ping()

    def _judge(self, peer: Pinged) -> None:
        """Give the verdict on the last ping."""
        # Pings go out when a tick begins: what was heard in the same tick came after it.
        if not peer.pinged or peer.heard >= peer.pinged or peer.deaf or peer in self._leaving:
            return
        if peer.lagging:
            self.watch(peer)
        else:
            self.forget(peer)
            peer.cut("no answer to a ping")

    def _look(self, peer: Lingering, backlog: _Backlog) -> None:
        taken = peer.taken()
        if taken > backlog.taken:
            backlog.since = self.now
        backlog.taken = taken
        unsent = peer.unsent()
        if unsent and backlog.full and not backlog.is_slow:
            backlog.is_slow = self.now - backlog.full >= self._slow
            if backlog.is_slow:
                self._slow_readers.slow(peer.number, peer.address, unsent)
        if not unsent:
            self._drop(peer)
        elif self.now - max(backlog.since, peer.heard) >= self._write_deadline:
            self.forget(peer)
            peer.cut("nothing was taken within write_deadline")

    def _drop(self, peer: Lingering) -> None:
        backlog = self._backlogs.pop(peer, None)
        if backlog is not None:
            self._end_slowness(peer, backlog)

    def _end_slowness(self, peer: Lingering, backlog: _Backlog) -> None:
        if backlog.is_slow:
            backlog.is_slow = False
            self._slow_readers.caught_up(peer.number, (self.now - backlog.full) * self.step)
