"""The newest events of many friends: from a worker's window, and from Redis where they lie below it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import redis

from benchmarks.awesomestream import AwesomeStream
from benchmarks.figures import Figure, Outcome, Scale, ratios, repeat
from benchmarks.processes import cpu_seconds
from benchmarks.stores import KEYS, NEWEST, Users, fill, read_filter, redis_server, stream
from streamd.filters import Filter
from streamd.log import Entry
from streamd.search import search
from streamd.stores.redis.scripts import Names
from streamd.turns import Turns
from streamd.window import Window
from tests.services import RedisServer

__all__ = ["reading"]

_LONG, _SHORT = 1_000_000, 10_000
_USERS = (10_000, 100_000)
_FRIENDS = 500
_PEER = 20_000
"""Events that AwesomeStream's lists are filled with: they are looked into no deeper than the page."""
_NEWEST = NEWEST.limit


def reading(scale: Scale) -> Iterator[Outcome]:
    """Measure the window, and then Redis, with few and with many users."""
    for count in _USERS:
        yield from _window(scale, Users(count, _FRIENDS))
    with redis_server() as server, asyncio.Runner() as runner:
        for count in _USERS:
            yield from runner.run(_redis(scale, server, Users(count, _FRIENDS)))
        yield from _peer(scale, server, Users(_USERS[0], _FRIENDS))


def _filters(users: Users) -> dict[str, dict[str, Any]]:
    """Return what is asked: plainly, with a key that leaves a fourth, and with one that leaves nothing."""
    return {
        "friends": {"user": users.friends},
        "kind": {"user": users.friends, "kind": "watch"},
        "never": {"user": users.friends, "kind": "issue"},
    }


def _what(asked: str, users: Users) -> str:
    more = {"kind": ", AND one kind", "never": ", AND a kind that is never theirs"}.get(asked, "")
    return f"newest {_NEWEST} of {_FRIENDS} of {users.count:,} users{more}"


# The window.


def _window(scale: Scale, users: Users) -> Iterator[Figure]:
    held = Window()
    for seq in range(1, scale.size(_LONG) + 1):
        draft = users.draft()
        held.append(Entry(seq, seq, draft.terms, draft.body))
    asked = _filters(users)
    times = max(2, scale.size(200))
    taken: dict[str, list[float]] = {"friends": [], "again": [], "kind": [], "never": []}
    for number in range(scale.rounds + 1):
        for name, seconds in (
            ("friends", _fresh(held, asked["friends"], times)),
            ("again", _again(held, asked["friends"], times)),
            ("kind", _fresh(held, asked["kind"], times)),
            ("never", _fresh(held, asked["never"], 1)),
        ):
            if number:  # The first round is for warming up.
                taken[name].append(seconds)
    looked, longest = asyncio.run(_worst(held, asked["never"]))
    name, end = f"window.{users.count}", f", {users.count:,} users"
    goals = {"friends": 60.0, "again": 60.0}
    for which, rounds in taken.items():
        what = (
            "the same, by the same filter again" + end if which == "again" else _what(which, users)
        )
        yield _figure(f"{name}.{which}", f"window: {what}", "µs", rounds, 1e6, goals.get(which))
    what, rounds = f"window: one kind of theirs ÷ all{end}", ratios(taken["kind"], taken["friends"])
    yield _figure(f"{name}.kind.ratio", what, "ratio", rounds, 1, 3.0)
    what = f"window: {_what('never', users)}"
    yield _figure(
        f"{name}.never.looked", f"{what}: entries looked at", "", [looked], 1, NEWEST.work
    )
    yield _figure(f"{name}.never.step", f"{what}: longest step of the loop", "ms", [longest], 1e3)


def _fresh(held: Window, value: dict[str, Any], times: int) -> float:
    """Return the seconds of one search; each has a filter of its own, which is parsed beforehand."""
    filters = [read_filter(value) for _ in range(times)]
    begin = time.process_time()
    for wanted in filters:
        _look(held, wanted)
    return (time.process_time() - begin) / times


def _again(held: Window, value: dict[str, Any], times: int) -> float:
    wanted = read_filter(value)
    begin = time.process_time()
    for _ in range(times):
        _look(held, wanted)
    return (time.process_time() - begin) / times


def _look(held: Window, wanted: Filter) -> None:
    held.backward(wanted, held.high + 1, limit=_NEWEST, work=NEWEST.work, size=NEWEST.size)


async def _worst(held: Window, value: dict[str, Any]) -> tuple[float, float]:
    """Return how many entries one search looks at, and how long it keeps the loop to itself at most."""
    task = asyncio.create_task(search(held, read_filter(value), held.high + 1, NEWEST, Turns()))
    longest, begin = 0.0, time.thread_time()
    while not task.done():
        await asyncio.sleep(0)
        end = time.thread_time()
        longest, begin = max(longest, end - begin), end
    return float((await task).looked), longest


# Redis.


async def _redis(scale: Scale, server: RedisServer, users: Users) -> list[Figure]:
    url = f"redis://127.0.0.1:{server.port}/0"
    long_name, short_name = f"long-{users.count}", f"short-{users.count}"
    async with stream(url, long_name) as long, stream(url, short_name) as short:
        await fill(short, scale.size(_SHORT), users)
        await fill(long, scale.size(_LONG), users)
        lists = [Names(long_name, 0).term(f"user:{friend}") for friend in users.friends]
        asked = {name: read_filter(value) for name, value in _filters(users).items()}

        async def unite() -> None:
            _unite(server.client, lists)

        taken = await _in_turns(
            scale,
            server,
            friends=(20, lambda: long.newest(asked["friends"], NEWEST)),
            kind=(20, lambda: long.newest(asked["kind"], NEWEST)),
            never=(1, lambda: long.newest(asked["never"], NEWEST)),
            short=(20, lambda: short.newest(asked["friends"], NEWEST)),
            union=(3, unite),
        )
        worst = await _count(server.client, lambda: long.newest(asked["never"], NEWEST))
    return [*_times(users, taken), *_quotients(users, taken), *_work(users, worst)]


def _unite(client: redis.Redis, lists: list[str]) -> None:
    """Find the newest as one command of Redis finds them."""
    pipeline = client.pipeline(transaction=False)
    pipeline.zunionstore("united", lists, aggregate="MAX")
    pipeline.zrevrange("united", 0, _NEWEST - 1)
    pipeline.execute()


@dataclass(slots=True)
class _Taken:
    """Seconds that one call took, round by round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Of Redis."""


async def _in_turns(
    scale: Scale, server: RedisServer, **calls: tuple[int, Callable[[], Awaitable[object]]]
) -> dict[str, _Taken]:
    """Make some calls, each so often in every round."""
    taken = {name: _Taken() for name in calls}
    for number in range(scale.rounds + 1):
        for name, (times, call) in calls.items():
            begin, cpu = time.perf_counter(), cpu_seconds(server.pid)
            for _ in range(times):
                await call()
            if number:  # The first round is for warming up.
                taken[name].wall.append((time.perf_counter() - begin) / times)
                taken[name].cpu.append((cpu_seconds(server.pid) - cpu) / times)
    return taken


async def _count(client: redis.Redis, call: Callable[[], Awaitable[object]]) -> dict[str, float]:
    """Return what Redis tells of the scripts of one call."""
    client.config_resetstat()
    await call()
    told: dict[str, float] = client.info("commandstats")["cmdstat_evalsha"]
    return told


def _times(users: Users, taken: dict[str, _Taken]) -> Iterator[Figure]:
    name = f"redis.{users.count}"
    for asked in _filters(users):
        what = f"Redis: {_what(asked, users)}"
        yield _figure(f"{name}.{asked}", what, "ms", taken[asked].wall, 1e3)
        yield _figure(f"{name}.{asked}.cpu", f"{what}: CPU of Redis", "ms", taken[asked].cpu, 1e3)
    what = f"ZUNIONSTORE and ZREVRANGE of the same {_FRIENDS} sets, {users.count:,} users"
    yield _figure(f"{name}.union", what, "ms", taken["union"].wall, 1e3)


def _quotients(users: Users, taken: dict[str, _Taken]) -> Iterator[Figure]:
    # Of many users, most have done nothing yet in the short log, and little in the long one.
    few = users.count == _USERS[0]
    for name, what, above, below, most in (
        ("union", "newest of friends ÷ ZUNIONSTORE", "friends", "union", 1 / 40 if few else None),
        ("kind", "one kind of theirs ÷ all", "kind", "friends", 3.0),
        ("length", f"{_LONG:,} events ÷ {_SHORT:,}", "friends", "short", 1.3 if few else None),
    ):
        name, what = f"redis.{users.count}.{name}.ratio", f"Redis: {what}, {users.count:,} users"
        over, under = taken[above], taken[below]
        yield _figure(name, what, "ratio", ratios(over.wall, under.wall), 1, most)
        what = f"{what}: CPU of Redis"
        yield _figure(f"{name}.cpu", what, "ratio", ratios(over.cpu, under.cpu), 1, most)


def _work(users: Users, told: dict[str, float]) -> Iterator[Figure]:
    what = f"Redis: {_what('never', users)}"
    name = f"redis.{users.count}.never"
    yield _figure(f"{name}.scripts", f"{what}: scripts", "", [told["calls"]], 1)
    each = f"{what}: one of its scripts"
    yield _figure(f"{name}.script", each, "ms", [told["usec_per_call"]], 1e-3)


# AwesomeStream.


def _peer(scale: Scale, server: RedisServer, users: Users) -> Iterator[Figure]:
    """Ask AwesomeStream's lists the same: a call for each combination of the values."""
    lists = AwesomeStream(server.client, KEYS.names)
    for _ in range(scale.size(_PEER) // 10):
        lists.insert_many([users.event() for _ in range(10)])
    for asked, value in _filters(users).items():
        wanted = {key: each if isinstance(each, list) else [each] for key, each in value.items()}

        def once(wanted: dict[str, list[Any]] = wanted) -> float:
            begin = time.perf_counter()
            lists.items(wanted, _NEWEST)
            return time.perf_counter() - begin

        what = f"AwesomeStream's lists: {_what(asked, users)}"
        yield _figure(f"awesomestream.{asked}", what, "ms", repeat(scale, once), 1e3)


def _figure(
    name: str, what: str, unit: str, rounds: list[float], scale: float, most: float | None = None
) -> Figure:
    return Figure(
        name=name,
        what=what,
        unit=unit,
        rounds=[each * scale for each in rounds],
        at_most=most,
        headline=most is not None,
    )
