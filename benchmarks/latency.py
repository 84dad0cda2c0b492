"""How late an event arrives that was planned for a moment, and whom a slow subscriber delays."""

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.clients import Clients, befriended, call, subscribe
from benchmarks.figures import Figure, Outcome, Scale, ratios
from benchmarks.paced import Lateness, Plan, listen, processes, produce, quantile
from benchmarks.processes import Served
from benchmarks.watched import Watched, watched

__all__ = ["latency", "slow"]

_RATE = 1_000
_SUBSCRIBERS = 1_000
_METERS = 50
"""Of the subscribers, those that look at every event at once; the others only take their bytes."""
_USERS = 2_000
"""200 friends of so many: 1 in 10 of the events is for a subscriber."""
_SWEEP = 0.05
"""Seconds between two looks of those that only take their bytes."""
_SETTLING = 2.0
"""Seconds of load before anything counts."""

_SLOW_BUFFER = 8 << 10
_HELD = 256


@dataclass(slots=True)
class _Load:
    """A server under the load of these measurements, for some time."""

    port: int
    begin: float
    others: Clients
    meters: Future[Lateness]
    producer: Future[None]

    def sweep(self, until: float) -> None:
        """Take what comes, until this moment of the monotonic clock."""
        while time.monotonic() < until:
            self.others.turn(0)
            time.sleep(_SWEEP)

    def lateness(self) -> Lateness:
        """Wait for the end, and return what was seen."""
        while not self.meters.done():
            self.sweep(time.monotonic() + _SWEEP)
        self.producer.result()
        return self.meters.result()


@contextmanager
def _load(served: Served, scale: Scale, seconds: float) -> Iterator[_Load]:
    """Let a producer insert for so long after it has settled, and subscribers read."""
    size = scale.size(_SUBSCRIBERS)
    feeds = [befriended(number, _USERS) for number in range(size)]
    # Evenly among the others: fan-out serves subscribers in the order in which they came.
    step = max(2, size // _METERS)
    others = Clients(served.port)
    with processes(2) as pool:
        begin = time.monotonic() + 0.5 + size / 500
        plan = Plan(_RATE, begin, _SETTLING + seconds, _USERS)
        meters = pool.submit(listen, served.port, feeds[::step], begin + plan.seconds + 1)
        others.gather(subscribe(friends, backfill=0) for n, friends in enumerate(feeds) if n % step)
        producer = pool.submit(produce, served.port, plan)
        try:
            yield _Load(served.port, begin + _SETTLING, others, meters, producer)
        finally:
            others.close()


def latency(scale: Scale) -> Iterator[Outcome]:
    """Measure the time from insert to push through Redis, and the longest step of the event loop."""
    from tests.services import RedisServer  # Of the tests' services, which start and end it.

    each = 1.0 if scale.quick else 12.0
    redis = RedisServer().start()
    try:
        with watched(redis.url) as worker:
            begin, lateness, longest = _follow(worker, scale, each)
    finally:
        redis.close()
    late = [
        lateness.between(begin + number * each, begin + (number + 1) * each)
        for number in range(scale.rounds)
    ]
    load = f"{_RATE:,} events/s to {scale.size(_SUBSCRIBERS):,} subscribers, each for 1 in 10"
    for name, part, goal in (("p50", 0.5, None), ("p99", 0.99, 10), ("p99.9", 0.999, None)):
        yield Figure(
            name=f"latency.{name}",
            what=f"insert → push through Redis, {load}: {name}",
            unit="ms",
            rounds=[quantile(some, part) * 1e3 for some in late],
            headline=True,
            at_most=goal,
        )
    yield Figure(
        name="latency.step",
        what=f"longest step of the worker's event loop in {each * scale.rounds:g} s, its thread's CPU time",
        unit="ms",
        rounds=[longest * 1e3],
        at_most=50,
    )


def _follow(worker: Watched, scale: Scale, each: float) -> tuple[float, Lateness, float]:
    with _load(worker.served, scale, each * scale.rounds) as load:
        load.sweep(load.begin)
        worker.ask()
        load.sweep(load.begin + each * scale.rounds)
        longest = worker.ask()["longest_step"]
        return load.begin, load.lateness(), longest


class _Slow:
    """A subscriber to everything that reads about one event in a second."""

    def __init__(self, port: int) -> None:
        self._clients = Clients(port)
        self._client = self._clients.open(0, call("subscribe", backfill=0), buffer=_SLOW_BUFFER)
        self._clients.settle()
        self._client.socket.settimeout(_SETTLING)

    def read(self) -> None:
        """Read what is about an event; raise SystemExit if it has been cut off."""
        if not self._client.socket.recv(256):
            raise SystemExit("the slow subscriber was cut off")

    def close(self) -> None:
        self._clients.close()


def slow(scale: Scale) -> Iterator[Outcome]:
    """Measure what a subscriber that reads one event a second costs the others, and what is kept for it."""
    each = 2.0 if scale.quick else 8.0
    spans = [(number, paired) for number in range(scale.rounds) for paired in (False, True)]
    seconds = len(spans) * (each + 1)
    held: list[float] = []
    marks: dict[tuple[int, bool], float] = {}
    with watched() as worker, _load(worker.served, scale, seconds) as load:
        load.sweep(load.begin)
        for span in spans:
            begin = time.monotonic()
            if span[1]:
                held.append(_with_slow(worker, load, begin + each))
            else:
                load.sweep(begin + each)
            marks[span] = begin
            load.sweep(begin + each + 1)
        lateness = load.lateness()
    medians = {
        span: statistics.median(lateness.between(begin + 1, begin + each))
        for span, begin in marks.items()
    }
    disturbed, alone = (
        [medians[number, paired] for number in range(scale.rounds)] for paired in (True, False)
    )
    yield Figure(
        name="slow.ratio",
        what="median latency of the others beside a subscriber that reads 1 event/s ÷ without it",
        unit="",
        rounds=ratios(disturbed, alone),
        at_most=1.25,
    )
    yield Figure(
        name="slow.latency",
        what="median latency of the others beside it",
        unit="ms",
        rounds=[value * 1e3 for value in disturbed],
    )
    yield Figure(
        name="slow.held",
        what="bytes kept for it at most: the process' buffer and what the kernel has not got rid of",
        unit="KiB",
        rounds=[value / 1024 for value in held],
        at_most=_HELD,
    )


def _with_slow(worker: Watched, load: _Load, until: float) -> float:
    """Let it be there until then; return the most that was kept for it."""
    slow = _Slow(load.port)
    most = 0.0
    while time.monotonic() < until:
        slow.read()
        load.sweep(min(until, time.monotonic() + 1))
        most = max(most, worker.ask()["held"])
    slow.close()
    return most
