"""Inserts over the whole way: Python clients, one worker, Redis; on the cores that there are."""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass

import uvloop
from streamd_client import Client, connect

from benchmarks.awesomestream import AwesomeStream
from benchmarks.figures import Figure, Outcome, Scale, repeat
from benchmarks.processes import Served, cpu_seconds, streamd
from benchmarks.stores import KEYS, redis_server

__all__ = ["inserting"]

_CONNECTIONS = 50
_IN_FLIGHT = 20
"""Calls of one connection that are under way at a time, where they are single inserts."""
_MANY = 100
"""Events of one `insert_many`."""
_LOADERS = 2
"""Processes that the clients are in."""


def inserting(scale: Scale) -> Iterator[Outcome]:
    """Insert one by one, many at a time on each connection; a hundred with each call; and as AwesomeStream."""
    singles, many = scale.size(40_000), scale.size(100_000)
    with redis_server() as redis:
        url = f"redis://127.0.0.1:{redis.port}/0"
        with streamd(url) as served, _loaders(served) as loaders:
            parties = _Parties(served, redis.pid, loaders)
            yield from _measure(scale, parties, "insert", singles, 1, 15_000)
            yield from _measure(scale, parties, "insert_many", many, _MANY, 40_000)
        yield from _peer(scale, AwesomeStream(redis.client, KEYS.names))


def _peer(scale: Scale, lists: AwesomeStream) -> Iterator[Figure]:
    """Insert into AwesomeStream's lists from one process, without a server between: it had none on this way."""
    rng, count = random.Random(1), scale.size(2_000)

    def one_by_one() -> float:
        begin = time.perf_counter()
        for _ in range(count):
            lists.insert(_event(rng))
        return count / (time.perf_counter() - begin)

    def pipelined() -> float:
        begin = time.perf_counter()
        for _ in range(0, count, _MANY):
            lists.insert_many([_event(rng) for _ in range(_MANY)])
        return count / (time.perf_counter() - begin)

    for name, what, once in (
        ("awesomestream.insert", "as it was: a command at a time", one_by_one),
        ("awesomestream.insert_many", f"pipelines of {_MANY} events", pipelined),
    ):
        yield Figure(
            name=name,
            what=f"AwesomeStream's lists in Redis, {what}",
            unit="events/s",
            rounds=repeat(scale, once),
            headline=True,
        )


@contextmanager
def _loaders(served: Served) -> Iterator[list[subprocess.Popen[str]]]:
    share = _CONNECTIONS // _LOADERS
    command = [sys.executable, "-m", "benchmarks.inserting", str(served.port), str(share)]
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(_LOADERS)
        ]
        # Each ends when its input does.


@dataclass(frozen=True, slots=True)
class _Parties:
    """Who takes part, and the CPU time that each has taken."""

    served: Served
    redis: int
    loaders: list[subprocess.Popen[str]]

    def cpu(self) -> tuple[float, float, float]:
        clients = sum(cpu_seconds(loader.pid) for loader in self.loaders)
        return self.served.cpu_seconds(), cpu_seconds(self.redis), clients

    def insert(self, events: int, size: int) -> float:
        """Have the loaders insert so many events by calls of some `size`; return the seconds."""
        begin = time.perf_counter()
        for loader in self.loaders:
            assert loader.stdin is not None
            print(events // len(self.loaders), size, file=loader.stdin, flush=True)
        for loader in self.loaders:
            assert loader.stdout is not None
            if loader.stdout.readline() != "done\n":
                raise SystemExit("a loader has failed")
        return time.perf_counter() - begin


def _measure(
    scale: Scale, parties: _Parties, name: str, events: int, size: int, goal: float
) -> Iterator[Figure]:
    parties.insert(events, size)
    rates: list[float] = []
    costs: dict[str, list[float]] = {"server": [], "Redis": [], "clients": []}
    for _ in range(scale.rounds):
        before = parties.cpu()
        rates.append(events / parties.insert(events, size))
        for taken, since, until in zip(costs.values(), before, parties.cpu(), strict=True):
            taken.append((until - since) / events * 1e6)
    calls = f"{name} of {size}" if size > 1 else f"{name}, {_IN_FLIGHT} under way on each"
    yield Figure(
        name=f"inserting.{name}",
        what=f"{calls} on {_CONNECTIONS} connections, through Redis",
        unit="events/s",
        rounds=rates,
        at_least=goal,
        headline=True,
    )
    for who, taken in costs.items():
        yield Figure(
            name=f"inserting.{name}.{who.lower()}",
            what=f"{name}: CPU per event, {who}",
            unit="µs",
            rounds=taken,
        )


# The process of a loader.


async def _load(port: int, connections: int) -> None:
    """Insert what is asked for by lines of input: how many events, and how many of them by each call."""
    rng = random.Random(port)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connect(f"ws://127.0.0.1:{port}/"))
            for _ in range(connections)
        ]
        for client in clients:
            await client.ping()
        while line := await asyncio.to_thread(sys.stdin.readline):
            events, size = map(int, line.split())
            await _insert_all(clients, events, size, rng)
            print("done", flush=True)


async def _insert_all(clients: list[Client], events: int, size: int, rng: random.Random) -> None:
    calls = iter(range(events // size))
    one, in_flight = (_insert, _IN_FLIGHT) if size == 1 else (_insert_many, 1)
    async with asyncio.TaskGroup() as group:
        for client in clients * in_flight:
            group.create_task(one(client, calls, rng))


async def _insert(client: Client, calls: Iterator[int], rng: random.Random) -> None:
    for _ in calls:
        await client.insert(_event(rng))


async def _insert_many(client: Client, calls: Iterator[int], rng: random.Random) -> None:
    for _ in calls:
        await client.insert_many([_event(rng) for _ in range(_MANY)])


def _event(rng: random.Random) -> dict[str, object]:
    return {
        "user": int(rng.random() * 100_000),
        "kind": ("watch", "fork", "push", "star", "issue")[int(rng.random() * 5)],
        "repo": int(rng.random() * 50_000),
        "text": "x" * 100,
    }


if __name__ == "__main__":
    uvloop.run(_load(int(sys.argv[1]), int(sys.argv[2])))
