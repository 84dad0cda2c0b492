"""Producers whose servers are killed again and again: what was acknowledged is there, each event once."""

import asyncio
import itertools
import random
import signal
from dataclasses import dataclass, field
from typing import Any

from streamd_client import PlaceLost, connect
from websockets.exceptions import WebSocketException

from tests.promises.chaos import read_log
from tests.promises.serving import Daemon
from tests.promises.wire import Message, Wire

LOST = (OSError, EOFError, WebSocketException)
"""What whoever connects sees of a server that is killed."""
UNKNOWN, UNAVAILABLE = -32010, -32011


@dataclass
class Call:
    """One call of a producer: some events with ids, all or none of them stored."""

    numbers: list[str]
    cursors: list[str] | None = None
    """Where they went, if that was ever said."""

    def post(self, wire: Wire) -> asyncio.Future[Message]:
        """Send it: each time the same."""
        events = [{"user": number.partition(".")[0], "n": number} for number in self.numbers]
        if len(events) == 1:
            return wire.post("insert", event=events[0], id=self.numbers[0])
        return wire.post("insert_many", events=events, ids=self.numbers)

    def take(self, answer: Message) -> bool:
        """Note the answer; tell whether it was one."""
        if "error" in answer:
            assert answer["error"]["code"] in (UNKNOWN, UNAVAILABLE), answer
            return False
        result = answer["result"]
        cursors = [entry["cursor"] for entry in result.get("entries", [result])]
        assert self.cursors in (None, cursors), "a repeated call was stored elsewhere"
        self.cursors = cursors
        return True


@dataclass
class Producer:
    """Insert without pause, over as many connections as it takes."""

    name: str
    rng: random.Random
    calls: list[Call] = field(default_factory=list)
    _left: list[Call] = field(default_factory=list)
    """Sent, not answered, and to be sent again."""
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def _next(self) -> Call:
        count = self.rng.choice([1, 1, 1, 2, 7])
        call = Call([f"{self.name}.{next(self._numbers)}" for _ in range(count)])
        self.calls.append(call)
        return call

    async def run(self, urls: list[str], stopped: asyncio.Event) -> None:
        """Insert until stopped, then until every call that is to be repeated has its answer."""
        while not stopped.is_set() or self._left:
            try:
                wire = await Wire.connect(self.rng.choice(urls))
            except LOST:
                await asyncio.sleep(0.02)
                continue
            while not stopped.is_set() or self._left:
                if not await self._burst(wire):
                    break
            await wire.close()

    async def _burst(self, wire: Wire) -> bool:
        """Send some calls at a time; tell whether the connection is still there."""
        calls, self._left = self._left, []
        calls += [self._next() for _ in range(self.rng.choice([1, 3, 9]))]
        futures = [call.post(wire) for call in calls]
        answers = await asyncio.gather(*futures, return_exceptions=True)
        for call, answer in zip(calls, answers, strict=True):
            lost = isinstance(answer, ConnectionError)
            assert lost or isinstance(answer, dict), answer
            # Some give up, and never know.
            if (lost or not call.take(answer)) and self.rng.random() < 0.7:
                self._left.append(call)
        await asyncio.sleep(self.rng.choice([0, 0.03, 0.06]))
        return not any(isinstance(answer, ConnectionError) for answer in answers)


async def follow(url: str, received: list[str]) -> None:
    """Follow the whole feed with the client, from the first event on."""
    async with connect(url, timeout=60, backoff=lambda attempt: 0.1) as client:
        async with client.subscribe(after="start") as feed:
            try:
                async for entry in feed:
                    received.append(entry.cursor)  # noqa: PERF401 - it is watched while it grows
            except PlaceLost as lost:
                received.append(f"lost: {lost}")


async def kill_and_start(server: Daemon, rng: random.Random) -> None:
    """Kill a server, sometimes again while it starts, and wait until it serves."""
    await asyncio.sleep(rng.uniform(0.0, 0.4))
    await server.stop(signal.SIGKILL)
    if rng.random() < 0.3:
        await server.launch()
        await asyncio.sleep(rng.uniform(0.0, 1.0))
        await server.stop(signal.SIGKILL)
    await server.start()


async def run(servers: list[Daemon], kills: int, seed: int) -> None:
    """Let it happen, then compare the log with what was said about it."""
    print(f"kills with seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    rng = random.Random(seed)
    urls = [server.url for server in servers]
    producers = [Producer(f"p{n}", random.Random(f"{seed}/{n}")) for n in range(4)]
    stopped = asyncio.Event()
    received: list[str] = []
    following = asyncio.create_task(follow(urls[0], received))
    async with asyncio.TaskGroup() as group:
        for producer in producers:
            group.create_task(producer.run(urls, stopped))
        for number in range(kills):
            await kill_and_start(servers[number % len(servers)], rng)
        stopped.set()
    log = await read_log(urls[-1])
    check(log, [call for producer in producers for call in producer.calls], seed)
    async with asyncio.timeout(30):
        while len(received) < len(log) and not following.done():
            await asyncio.sleep(0.02)
    assert received == [cursor for cursor, _ in log]
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


def check(log: list[tuple[str, dict[str, Any]]], calls: list[Call], seed: int) -> None:
    """Fail if an acknowledged event is missing, an event there twice, or a call stored by halves."""
    about = f"seed {seed}"
    order = [event["n"] for _, event in log]
    places = {number: place for place, number in enumerate(order)}
    assert len(places) == len(order), f"events are there twice; {about}"
    acknowledged = 0
    for call in calls:
        found = [places.pop(number, None) for number in call.numbers]
        if call.cursors is None and found[0] is None:
            assert found == [None] * len(found), f"half of {call} is there; {about}"
            continue
        first = found[0]
        assert first is not None, f"{call} was acknowledged and is not there; {about}"
        assert found == list(range(first, first + len(found))), f"{call} is torn; {about}"
        if call.cursors is not None:
            assert [log[place][0] for place in found] == call.cursors, f"{call} moved; {about}"
            acknowledged += len(found)
    assert not places, f"nobody sent {places}; {about}"
    assert acknowledged > 0
