"""What a connection costs a worker: its memory while it is idle, and the time until it is served."""

import time
from collections.abc import Callable, Iterable, Iterator

from benchmarks.clients import Clients, befriended, subscribe
from benchmarks.figures import Figure, Outcome, Scale
from benchmarks.paced import fill
from benchmarks.processes import Served, streamd

__all__ = ["USERS", "handshakes", "idle"]

USERS = 100_000
"""Of whom everybody has their own 200 friends."""
_IDLE = 9_000
_COMING = 2_000
_WINDOW = 100_000
_BACKFILL = 20

_QUIET = 1.0
"""Seconds that a value has to stay the same."""
_PATIENCE = 30.0


def settled(read: Callable[[], float], tolerance: float) -> float:
    """Return a value when it has not moved for a second, or for half a minute did not come to rest."""
    begin = since = time.monotonic()
    value = read()
    while (now := time.monotonic()) - since < _QUIET and now - begin < _PATIENCE:
        time.sleep(0.05)
        if abs(read() - value) > tolerance:
            value, since = read(), now
    return value


def idle(scale: Scale) -> Iterator[Outcome]:
    """Measure what a worker keeps in memory for each of 9,000 connections that do nothing."""
    many = scale.size(_IDLE)
    said: dict[str, tuple[str, Callable[[], Iterable[bytes]], float]] = {
        "bare": ("bare", lambda: [b""] * many, 7),
        "subscribed": (
            "with a subscription to 200 friends",
            lambda: (subscribe(befriended(number, USERS)) for number in range(many)),
            12,
        ),
    }
    for name, (what, messages, goal) in said.items():
        rounds = [_memory(messages()) / many / 1024 for _ in range(scale.rounds)]
        yield Figure(
            name=f"idle.{name}",
            what=f"memory of the worker per idle connection, {what} (RSS, {many:,} connections)",
            unit="KiB",
            rounds=rounds,
            at_most=goal,
        )


def _memory(messages: Iterable[bytes]) -> float:
    with streamd() as served:
        # What is imported and made with the first connections is not theirs.
        clients = Clients(served.port)
        clients.gather([subscribe(befriended(-1, USERS))] * 20)
        before = settled(served.resident, 64 << 10)
        clients.gather(messages)
        after = settled(served.resident, 64 << 10)
        clients.close()
        return after - before


def handshakes(scale: Scale) -> Iterator[Outcome]:
    """Measure how many connections a worker serves in a second: upgrade, subscribe, backfill."""
    many = scale.size(_COMING)
    messages = [subscribe(befriended(number, USERS), backfill=_BACKFILL) for number in range(many)]
    with streamd() as served:
        fill(served.port, _WINDOW, USERS)
        _served_per_second(served, messages)
        rounds = [_served_per_second(served, messages) for _ in range(scale.rounds)]
    what = f"connections with upgrade, subscribe (200 friends) and backfill of {_BACKFILL}"
    yield Figure(
        name="handshakes.cpu",
        what=f"{what}, per CPU second of the worker",
        unit="1/s",
        rounds=[cpu for cpu, _ in rounds],
        at_least=1_500,
    )
    yield Figure(
        name="handshakes.wall",
        what=f"{what}, per second, with the load on the same machine",
        unit="1/s",
        rounds=[wall for _, wall in rounds],
    )


def _served_per_second(served: Served, messages: list[bytes]) -> tuple[float, float]:
    """Return how many came by CPU time of the worker, and by the clock."""
    # Those of the last round are still being let go.
    settled(served.cpu_seconds, 0.02)
    clients = Clients(served.port)
    begin, cpu = time.monotonic(), served.cpu_seconds()
    clients.gather(messages)
    cpu, wall = served.cpu_seconds() - cpu, time.monotonic() - begin
    clients.close()
    return len(messages) / cpu, len(messages) / wall
