"""Query ∪ push under chaos: writers at full speed, subscribers that come, stall, go and resume.

What each subscriber got must equal the log filtered from its start: in order, nothing missing,
nothing twice. The log itself must hold every acknowledged insert at the cursor it was given.
"""

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from typing import Any

from tests.promises.wire import Message, Wire

USERS = 60
UNANSWERED = 1 << 30
KINDS = ("watch", "fork", "friend", "push", "star")


@dataclass
class Chaos:
    """One run: how much of what, from which seed."""

    urls: list[str]
    seed: int
    events: int = 3_000
    subscribers: int = 150
    writers: int = 4
    deadline: float = 20.0
    acked: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Cursor → event of every acknowledged insert."""
    written: asyncio.Event = field(default_factory=asyncio.Event)
    log: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Every entry, oldest first, as the query tells it afterwards."""


def make_filter(rng: random.Random) -> dict[str, Any]:
    """Return one of the filters that dashboards use, and some that nobody does."""
    friends = rng.sample(range(USERS), rng.choice([1, 2, 5, 20]))
    return rng.choice(
        [
            {},
            {"user": friends},
            {"user": friends, "kind": rng.choice(KINDS)},
            {"kind": rng.sample(KINDS, 2)},
            {"kind": [], "user": friends},
            {"tag": ["a", "b"]},
        ]
    )


def make_event(rng: random.Random, number: int) -> dict[str, Any]:
    """Return an event; some have two tags, so that a filter matches by both."""
    event = {
        "n": number,
        "user": rng.randrange(USERS),
        "kind": rng.choice(KINDS),
        "pad": "x" * rng.choice([10, 200, 1500]),
    }
    if rng.random() < 0.3:
        event["tag"] = rng.sample(["a", "b", "c"], 2)
    return event


def matches(wanted: dict[str, Any], event: dict[str, Any]) -> bool:
    """Tell what the filter means, in the plainest way."""
    for key, values in wanted.items():
        values = values if isinstance(values, list) else [values]
        got = event.get(key, [])
        got = got if isinstance(got, list) else [got]
        if not {str(value) for value in values} & {str(value) for value in got}:
            return False
    return True


@dataclass
class Follower:
    """One subscriber's life, over all its connections."""

    chaos: Chaos
    rng: random.Random
    wanted: dict[str, Any]
    start: str = ""
    cursor: str = ""
    backfill: list[str] = field(default_factory=list)
    received: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    number: int = 0
    wire: Wire | None = None
    story: list[str] = field(default_factory=list)

    def notified(self, message: Message) -> None:
        params = message["params"]
        if message["method"] == "event":
            if params["subscription"] == self.number:
                self.received.append(params["cursor"])
                self.cursor = params["cursor"]
            elif params["subscription"] > self.number:
                self.trouble.append("an event came before its subscription's answer")
        elif message["method"] == "progress":
            # One for the whole connection says nothing of a subscription that is not answered yet.
            if self.number in range(1, UNANSWERED) and (
                params.get("subscription", self.number) == self.number
            ):
                self.cursor = params["cursor"]
        else:
            self.trouble.append(f"was told {message['method']}")

    async def join(self) -> None:
        self.number = 0
        url = self.rng.choice(self.chaos.urls)
        small = self.rng.random() < 0.5
        self.wire = await Wire.connect(url, self.notified, receive_buffer=4096 if small else None)
        params: dict[str, Any] = {"filter": self.wanted}
        if self.cursor:
            params["after"] = self.cursor
        else:
            params["backfill"] = self.rng.choice([0, 1, 20])
        answer = self.wire.post("subscribe", self._answered, **params)
        await asyncio.wait_for(answer, self.chaos.deadline)

    def _answered(self, answer: Message) -> None:
        if "result" not in answer:
            self.trouble.append(f"subscribe failed: {answer}")
            return
        result = answer["result"]
        self.number = result["subscription"]
        if self.cursor and result["resumed"] is not True:
            self.trouble.append(f"was not resumed: {result}")
        if not self.cursor:
            self.backfill = [entry["cursor"] for entry in result["entries"]]
            self.start = result["cursor"]
        self.cursor = result["cursor"]

    async def live(self) -> None:
        """Come and go until the writing ends, then stay until all has come."""
        await asyncio.sleep(self.rng.random() * 0.5)
        await self.join()
        while not self.chaos.written.is_set():
            await self.step()
        await self.finish()

    async def step(self) -> None:
        assert self.wire
        action = self.rng.choice(["read", "read", "stall", "cut", "leave", "again"])
        self.story.append(action)
        if action == "read":
            await asyncio.sleep(self.rng.random() * 0.3)
        elif action == "stall":
            self.wire.pause()
            await asyncio.sleep(self.rng.random() * 0.5)
            self.wire.resume()
        elif action == "again":
            await self.wire.call("unsubscribe", subscription=self.number)
            self.number = UNANSWERED
            answer = self.wire.post(
                "subscribe", self._answered, filter=self.wanted, after=self.cursor
            )
            await asyncio.wait_for(answer, self.chaos.deadline)
        else:
            await (self.wire.cut() if action == "cut" else self.wire.close())
            await asyncio.sleep(self.rng.random() * 0.2)
            await self.join()

    async def finish(self) -> None:
        assert self.wire
        self.wire.resume()
        expected = self.expected()
        with contextlib.suppress(TimeoutError):  # What is missing, `check` tells.
            async with asyncio.timeout(self.chaos.deadline):
                while len(self.received) < len(expected) and not self.trouble:
                    await asyncio.sleep(0.02)
        await self.wire.call("ping")  # Whatever was too much has come before the answer.
        await self.wire.close()

    def expected(self) -> list[str]:
        places = {cursor: number for number, (cursor, _) in enumerate(self.chaos.log)}
        first = places.get(self.start, -1) + 1
        return [cursor for cursor, event in self.chaos.log[first:] if matches(self.wanted, event)]

    def check(self) -> None:
        """Fail with the first thing that is wrong."""
        about = f"seed {self.chaos.seed}, filter {self.wanted}, story {self.story}"
        assert not self.trouble, (self.trouble, about)
        expected = self.expected()
        if self.received != expected:
            at = next(
                (
                    i
                    for i, (a, b) in enumerate(zip(self.received, expected, strict=False))
                    if a != b
                ),
                min(len(self.received), len(expected)),
            )
            raise AssertionError(
                f"received {len(self.received)} of {len(expected)} entries, differing from {at}: "
                f"{self.received[at : at + 3]} instead of {expected[at : at + 3]}; {about}"
            )
        places = [cursor for cursor, event in self.chaos.log if matches(self.wanted, event)]
        before = places[: len(places) - len(expected)]
        assert before[len(before) - len(self.backfill) :] == self.backfill, about


async def write(chaos: Chaos, writer: int) -> None:
    """Insert this writer's share of the events, some dozens at a time."""
    rng = random.Random(f"{chaos.seed}/writer/{writer}")
    wire = await Wire.connect(rng.choice(chaos.urls))
    numbers = range(writer, chaos.events, chaos.writers)
    while numbers:
        burst, numbers = numbers[:16], numbers[16:]
        events = [make_event(rng, number) for number in burst]
        answers = await asyncio.gather(
            *[wire.post("insert", event=event, id=f"{chaos.seed}-{event['n']}") for event in events]
        )
        for event, answer in zip(events, answers, strict=True):
            assert "result" in answer, answer
            assert answer["result"]["cursor"] not in chaos.acked, "one cursor for two events"
            chaos.acked[answer["result"]["cursor"]] = event
    await wire.close()


async def read_log(url: str) -> list[tuple[str, dict[str, Any]]]:
    """Return every entry, oldest first."""
    wire = await Wire.connect(url)
    entries: list[tuple[str, dict[str, Any]]] = []
    page = await wire.call("history", limit=1000)
    while True:
        entries += [(entry["cursor"], entry["event"]) for entry in page["entries"]]
        if page["before"] is None:
            await wire.close()
            return entries[::-1]
        page = await wire.call("history", limit=1000, before=page["before"])


async def run(chaos: Chaos) -> None:
    """Let it happen, then hold everybody to what was promised."""
    print(f"chaos with seed {chaos.seed}")  # noqa: T201 - pytest shows it when the test fails
    followers = []
    for number in range(chaos.subscribers):
        rng = random.Random(f"{chaos.seed}/follower/{number}")
        followers.append(Follower(chaos, rng, make_filter(rng)))
    async with asyncio.TaskGroup() as group:
        for follower in followers:
            group.create_task(follower.live())
        async with asyncio.TaskGroup() as writers:
            for writer in range(chaos.writers):
                writers.create_task(write(chaos, writer))
        chaos.log = await read_log(chaos.urls[0])
        chaos.written.set()
    assert len(chaos.log) == chaos.events
    assert dict(chaos.log) == chaos.acked
    for follower in followers:
        follower.check()
