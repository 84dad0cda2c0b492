"""What the SQL store costs, and that reading does not cost more when the log is longer."""

import asyncio
import secrets
import tempfile
import time
from collections.abc import Iterator

from benchmarks.figures import Figure, Outcome, Scale, Skipped, ratios
from benchmarks.stores import NEWEST, Users, fill, postgresql, read_filter, stream
from streamd.filters import Filter
from streamd.stores.base import Store

__all__ = ["sql"]

_SHORT, _LONG = 100_000, 1_000_000
_USERS, _FRIENDS = 10_000, 500
_BATCHES = 20
"""Batches that are appended in a round."""


def sql(scale: Scale) -> Iterator[Outcome]:
    """Measure SQLite, and PostgreSQL where its programs are."""
    with tempfile.TemporaryDirectory(prefix="streamd-bench-") as folder:
        yield from asyncio.run(_measure(scale, "SQLite", f"sqlite:///{folder}/bench.db"))
    with postgresql() as url:
        if url is None:
            yield Skipped("postgresql", "its programs are not installed")
        else:
            yield from asyncio.run(_measure(scale, "PostgreSQL", url))


async def _measure(scale: Scale, name: str, url: str) -> list[Figure]:
    users = Users(_USERS, _FRIENDS)
    async with stream(url, "short") as short, stream(url, "long") as long:
        figures = [await _append(scale, name, short, users, size) for size in (1, 16, 100)]
        await fill(short, scale.size(_SHORT), users)
        await fill(long, scale.size(_LONG), users)
        for which, (what, wanted) in _filters(users).items():
            taken = await _compare(scale, short, long, wanted)
            figures += _figures(f"{name.lower()}.{which}", f"{name}: newest 20 of {what}", taken)
    return figures


def _filters(users: Users) -> dict[str, tuple[str, Filter]]:
    return {
        "friends": (f"{_FRIENDS} users", read_filter({"user": users.friends})),
        "kind": (
            f"{_FRIENDS} users and one kind",
            read_filter({"user": users.friends, "kind": "watch"}),
        ),
        "everybody": (f"all {_USERS:,} users", read_filter({"user": list(range(_USERS))})),
    }


async def _append(scale: Scale, name: str, store: Store, users: Users, size: int) -> Figure:
    rounds = []
    for _ in range(scale.rounds + 1):
        batches = [[[users.draft()] for _ in range(size)] for _ in range(_BATCHES)]
        begin = time.perf_counter()
        for calls in batches:
            await store.append(calls, secrets.token_hex(8))
        rounds.append(size * _BATCHES / (time.perf_counter() - begin))
    return Figure(
        name=f"{name.lower()}.append.{size}",
        what=f"{name}: append, batches of {size}",
        unit="events/s",
        rounds=rounds[1:],
    )


async def _compare(
    scale: Scale, short: Store, long: Store, wanted: Filter
) -> tuple[list[float], list[float]]:
    """Return the seconds of one query in the short log and in the long one, taken in turns."""
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(scale.rounds + 1):
        for store, seconds in zip((short, long), taken, strict=True):
            begin = time.perf_counter()
            for _ in range(5):
                await store.newest(wanted, NEWEST)
            if number:  # The first round is for warming up.
                seconds.append((time.perf_counter() - begin) / 5)
    return taken


def _figures(name: str, what: str, taken: tuple[list[float], list[float]]) -> Iterator[Figure]:
    for which, events, seconds in zip(("short", "long"), (_SHORT, _LONG), taken, strict=True):
        yield Figure(
            name=f"{name}.{which}",
            what=f"{what}, {events:,} events",
            unit="ms",
            rounds=[each * 1e3 for each in seconds],
        )
    yield Figure(
        name=f"{name}.ratio",
        what=f"{what}: {_LONG:,} ÷ {_SHORT:,} events",
        unit="ratio",
        rounds=ratios(taken[1], taken[0]),
    )
