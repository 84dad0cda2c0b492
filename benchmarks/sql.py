"""What the SQL store costs, and that reading does not cost more when the log is longer."""

import asyncio
import random
import secrets
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from benchmarks.inner import Row
from streamd.event import Keys, draft_event
from streamd.filters import Filter, parse_filter
from streamd.limits import Limits
from streamd.log import Draft
from streamd.stores import open_store
from streamd.stores.base import Bounds, Store, Stream

SHORT, LONG = 100_000, 1_000_000
USERS, FRIENDS = 10_000, 500
ROUNDS = 25
KEYS = Keys.parse("user,kind,repo")
LIMITS = Limits(store_deadline=60)
NEWEST = Bounds(limit=20, work=200_000, size=4 << 20)


def sql() -> list[Row]:
    """Measure SQLite, and PostgreSQL where its programs are."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="streamd-bench-") as folder:
        rows += asyncio.run(_measure("SQLite", f"sqlite:///{folder}/bench.db"))
    with _postgresql() as url:
        if url is not None:
            rows += asyncio.run(_measure("PostgreSQL", url))
    return rows


@contextmanager
def _postgresql() -> Iterator[str | None]:
    # Of the tests' services, which start and end it; with its own durability.
    from tests.services import PostgresServer, make_postgres

    if shutil.which("initdb") is None and not list(
        Path("/usr/lib/postgresql").glob("*/bin/initdb")
    ):
        yield None
        return
    made = make_postgres()
    server = PostgresServer(made, fsync="on", shared_buffers="256MB")
    try:
        yield server.start().url()
    finally:
        server.close()
        shutil.rmtree(made)


async def _measure(name: str, url: str) -> list[Row]:
    rng = random.Random(1)
    rows: list[Row] = []
    async with _stream(url) as short, _stream(url) as long:
        for size in (1, 16, 100):
            drafts = [_draft(rng) for _ in range(60 * size)]
            rows.append(await _append(f"{name}: append, batches of {size}", short, drafts, size))
        await _fill(short, SHORT, rng)
        await _fill(long, LONG, rng)
        for what, asked in _filters(rng).items():
            rows += await _compare(f"{name}: newest 20 of {what}", short, long, asked)
    return rows


@asynccontextmanager
async def _stream(url: str) -> AsyncIterator[Store]:
    async with open_store(url, Stream(secrets.token_hex(6), KEYS, LIMITS)) as store:
        yield store


def _draft(rng: random.Random) -> Draft:
    event = {
        "user": rng.randrange(USERS),
        "kind": f"kind-{rng.randrange(5)}",
        "repo": rng.randrange(50_000),
        "text": "x" * 120,
    }
    return draft_event(event, None, KEYS, LIMITS)


def _filters(rng: random.Random) -> dict[str, Filter]:
    friends = rng.sample(range(USERS), FRIENDS)
    asked = {
        f"{FRIENDS} users": {"user": friends},
        f"{FRIENDS} users and one of 5 kinds": {"user": friends, "kind": "kind-1"},
        f"all {USERS} users": {"user": list(range(USERS))},
    }
    return {what: parse_filter(value, KEYS, LIMITS) for what, value in asked.items()}


async def _append(name: str, store: Store, drafts: list[Draft], size: int) -> Row:
    rounds = []
    for first in range(0, len(drafts), size):
        calls = [[draft] for draft in drafts[first : first + size]]
        begin = time.perf_counter()
        await store.append(calls, secrets.token_hex(8))
        rounds.append(size / (time.perf_counter() - begin))
    return _row(name, "events/s", rounds)


async def _fill(store: Store, total: int, rng: random.Random) -> None:
    left = total - (await store.state()).head
    while left > 0:
        size = min(left, 2_000)
        await store.append([[_draft(rng) for _ in range(size)]], secrets.token_hex(8))
        left -= size


async def _compare(name: str, short: Store, long: Store, asked: Filter) -> list[Row]:
    times: dict[Store, list[float]] = {short: [], long: []}
    for _ in range(ROUNDS):
        for store, taken in times.items():
            begin = time.perf_counter()
            await store.newest(asked, NEWEST)
            taken.append((time.perf_counter() - begin) * 1e3)
    ratio = statistics.median(times[long]) / statistics.median(times[short])
    return [
        _row(f"{name}, {SHORT:,} events", "ms", times[short]),
        _row(f"{name}, {LONG:,} events", "ms", times[long]),
        {"name": f"{name}: {LONG:,} ÷ {SHORT:,}", "unit": "ratio", "value": ratio},
    ]


def _row(name: str, unit: str, rounds: list[float]) -> Row:
    value = statistics.median(rounds)
    return {"name": name, "unit": unit, "value": value, "least": min(rounds), "most": max(rounds)}
