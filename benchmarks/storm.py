"""Everybody is cut off at once and comes back at once, while events go in."""

import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.clients import Client, Clients, befriended, subscribe
from benchmarks.connections import USERS
from benchmarks.figures import Figure, Outcome, Scale
from benchmarks.paced import EVENT, Lateness, Plan, author, listen, processes, produce, quantile
from benchmarks.processes import streamd

if TYPE_CHECKING:
    import redis

__all__ = ["Readers", "storm"]

_RATE = 1_000
_CLIENTS = 9_000
_ROUND = 30.0
_QUICK_ROUND = 5.0
"""Seconds from storm to storm."""
_CALM = 4.0
"""Seconds of load before each storm."""
_DEADLINE = 60.0
_HEALTHY_FRIENDS = 2_000
"""20 subscribers stay, and hear of 20 events a second each."""


@dataclass(slots=True)
class _Reader:
    """What one client remembers from connection to connection."""

    friends: list[int]
    cursor: str = ""
    numbers: "array[int]" = field(default_factory=lambda: array("q"))
    """The numbers of the events, as they came."""
    live: bool = False


class Readers:
    """All clients, each with its own friends."""

    def __init__(self, port: int, many: int) -> None:
        self.readers = [_Reader(befriended(number, USERS)) for number in range(many)]
        self.clients = Clients(port, self._take)
        self.live = 0

    def __len__(self) -> int:
        return len(self.readers)

    def _take(self, client: Client) -> None:
        reader = self.readers[client.number]
        if client.ready and not reader.live:
            self._look(client.received, reader)
        end = 0
        for found in EVENT.finditer(client.received):
            reader.cursor = found[1].decode()
            reader.numbers.append(int(found[3]))
            end = found.end()
        client.received = client.received[end:]

    def _look(self, received: bytes, reader: _Reader) -> None:
        """Look for what says that it is live: the answer, or else a `progress`."""
        if b'"resumed":false' in received:
            raise SystemExit("a client lost its place")
        if not reader.cursor:
            reader.cursor = received.partition(b'"cursor":"')[2].partition(b'"')[0].decode()
        reader.live = b'"live":true' in received
        self.live += reader.live

    def come(self, *, at_once: int) -> None:
        """Let all come, or come back, and wait until all are live."""
        for number, reader in enumerate(self.readers):
            after = {"after": reader.cursor} if reader.cursor else {}
            self.clients.open(number, subscribe(reader.friends, backfill=0, **after))
            while self.clients.opening >= at_once:
                self.clients.turn()
        end = time.monotonic() + _DEADLINE
        while self.live < len(self):
            self.clients.turn(0.1)
            if time.monotonic() > end:
                raise SystemExit(f"only {self.live} clients of {len(self)} are live")

    def go(self) -> None:
        """Hang up, all at once."""
        self.clients.close()
        for reader in self.readers:
            reader.live = False
        self.live = 0

    def read(self, until: float) -> None:
        """Read until this moment of the monotonic clock."""
        while (left := until - time.monotonic()) > 0:
            self.clients.turn(left)

    def check(self, events: int) -> None:
        """Raise SystemExit unless everybody has received what is theirs of all events, once and in order."""
        by_user: dict[int, list[int]] = {}
        for number in range(events):
            by_user.setdefault(author(number, USERS), []).append(number)
        for number, reader in enumerate(self.readers):
            theirs = sorted(n for friend in reader.friends for n in by_user.get(friend, ()))
            if list(reader.numbers) != theirs:
                missing = len(set(theirs) - set(reader.numbers))
                raise SystemExit(
                    f"client {number} got {len(reader.numbers)} events for {len(theirs)}, {missing} are missing"
                )


class _Calls:
    """The calls of a store, counted by Redis itself."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self._last = self._count()

    def _count(self) -> int:
        said = self._client.info("commandstats")
        calls = {name: int(stats["calls"]) for name, stats in said.items()}
        # Every script is one EVALSHA. That which inserts publishes once, and no other does.
        return calls.get("cmdstat_evalsha", 0) - calls.get("cmdstat_publish", 0)

    def since(self) -> int:
        """Return how many there were since the last time, but for inserts."""
        last, self._last = self._last, self._count()
        return self._last - last


@dataclass(slots=True)
class _Seen:
    """What was seen of storms, each in its turn."""

    spans: list[tuple[float, float]] = field(default_factory=list)
    """From the cut until all were live again."""
    calls: list[float] = field(default_factory=list)
    """Calls of the store per 100 clients, but for inserts and what is due without a storm."""


def storm(scale: Scale) -> Iterator[Outcome]:
    """Measure what it takes until all clients that were cut off are back, and that they lack nothing."""
    from tests.services import RedisServer  # Of the tests' services, which start and end it.

    many, each = scale.size(_CLIENTS), _QUICK_ROUND if scale.quick else _ROUND
    redis = RedisServer().start()
    try:
        with streamd(redis.url) as served, processes(2) as pool:
            readers = Readers(served.port, many)
            readers.come(at_once=64)
            plan = Plan(_RATE, time.monotonic() + 1, scale.rounds * each, USERS)
            end = plan.begin + plan.seconds
            healthy = [befriended(-number, USERS, _HEALTHY_FRIENDS) for number in range(1, 21)]
            meters = pool.submit(listen, served.port, healthy, end + 1)
            producer = pool.submit(produce, served.port, plan)
            seen = _storms(readers, _Calls(redis.client), plan.begin, scale.rounds, each)
            readers.read(end + 2)
            producer.result()
            lateness = meters.result()
            readers.check(plan.events)
            readers.go()
    finally:
        redis.close()
    yield from _figures(many, seen, lateness)


def _storms(readers: Readers, calls: _Calls, first: float, rounds: int, each: float) -> _Seen:
    seen = _Seen()
    for number in range(rounds):
        cut = first + number * each + _CALM
        readers.read(cut - _CALM / 2)
        calls.since()
        begin = time.monotonic()
        readers.read(cut)
        # Of a worker that nothing happens to but inserts: it reads the head once a second.
        idle = calls.since() / (time.monotonic() - begin)
        begin = time.monotonic()
        readers.go()
        readers.come(at_once=len(readers) + 1)
        seconds = time.monotonic() - begin
        seen.calls.append((calls.since() - idle * seconds) / len(readers) * 100)
        seen.spans.append((begin, begin + seconds))
    return seen


def _figures(many: int, seen: _Seen, lateness: Lateness) -> Iterator[Outcome]:
    what = f"{many:,} clients cut off and back at once, {_RATE:,} events/s, nothing lost or twice"
    yield Figure(
        name="storm.calls",
        what=f"{what}: store calls per 100 clients",
        unit="",
        rounds=seen.calls,
        at_most=1,
    )
    yield Figure(
        name="storm.seconds",
        what=f"{what}: until all are live again",
        unit="s",
        rounds=[end - begin for begin, end in seen.spans],
        headline=True,
    )
    during = [lateness.between(begin, end) for begin, end in seen.spans]
    before = [lateness.between(begin - _CALM / 2, begin) for begin, _ in seen.spans]
    for name, when, late in (("calm", "before", before), ("delay", "meanwhile", during)):
        yield Figure(
            name=f"storm.{name}",
            what=f"{what}: p99 of insert → push for those who stayed, {when}",
            unit="ms",
            rounds=[quantile(some, 0.99) * 1e3 for some in late],
        )
