"""Tokens that are renewed at any moment: what was sent was allowed then, and of what always was nothing is missing."""

import asyncio
import random
from typing import Any

import pytest

from streamd.subscription import State
from tests.harness import until
from tests.parts import Client, turns
from tests.test_access import Json, matches, may_read
from tests.test_guard import World, world

KINDS = "ab"
SEEDS = 60


class Feed:
    """A subscription as its reader sees it."""

    def __init__(self, query: Json, answer: Json) -> None:
        self.query = query
        self.number: int = answer["subscription"]
        self.backfill: list[Json] = [entry["event"] for entry in answer["entries"]]


class Story:
    """A writer, and a reader who stalls, reads on and comes with other grants."""

    def __init__(self, w: World, writer: Client, rng: random.Random) -> None:
        self.w = w
        self.writer = writer
        self.rng = rng
        self.log: list[Json] = []
        self.grants = [self.some_grants()]
        self.renewals: list[str] = []
        """The ids of the calls, one for each but the first of the grants."""
        self.feeds: list[Feed] = []
        self.since = 0
        """The first event that nothing but the last grants has a say in."""

    def some_grants(self) -> list[Json]:
        return [self.some_grant() for _ in range(self.rng.randint(1, 3))]

    def some_grant(self) -> Json:
        rng = self.rng
        grant = {
            "user": rng.sample(range(4), rng.randint(1, 3)),
            "kind": rng.choice(KINDS),
            "tag": rng.sample(range(3), rng.randint(1, 2)),
        }
        return {key: grant[key] for key in grant if rng.random() < 0.5}

    async def begin(self) -> None:
        self.reader = await self.w.known({"read": self.grants[0]})
        await self.insert(self.rng.randint(0, 20))
        for _ in range(self.rng.randint(1, 4)):
            query = self.rng.choice([{}, {"user": [1, 2]}, {"kind": "a"}, {"tag": [0, 1]}])
            place = self.rng.choice([{"after": "start"}, {"backfill": 1_000}])
            self.feeds.append(
                Feed(query, await self.reader.call("subscribe", {"filter": query, **place}))
            )

    async def insert(self, number: int) -> None:
        rng = self.rng
        for _ in range(number):
            event = {
                "n": len(self.log),
                "user": rng.randrange(4),
                "kind": rng.choice(KINDS),
                "tags": rng.sample(range(3), rng.randint(0, 3)),
            }
            self.log.append(event)
            await self.writer.call("insert", {"event": event})

    async def go_on(self) -> None:
        rng, transport = self.rng, self.reader.transport
        what = rng.choice(["insert", "insert", "stall", "read on", "wait", "renew"])
        if what == "insert":
            await self.insert(rng.randint(1, 15))
        elif what == "stall":
            transport.stall(rng.choice([0, 500, 2_000]))
        elif what == "read on":
            transport.read_on()
        elif what == "wait":
            await turns(rng.randint(0, 30))
        else:
            transport.read_on()
            await self.renew()

    async def renew(self) -> None:
        self.grants.append(self.some_grants())
        made = self.w.token({"read": self.grants[-1]})
        self.renewals.append(self.reader.ask("authenticate", {"token": made}))
        await asyncio.gather(
            self.reader.answer(self.renewals[-1]), self.insert(self.rng.choice([0, 0, 5]))
        )
        self.since = len(self.log)

    async def end(self) -> None:
        self.reader.transport.read_on()
        await self.insert(1)
        await until(
            lambda: all(
                sub.state is State.LIVE for sub in self.reader.session.peer.subscriptions.values()
            )
        )
        await turns()
        assert self.reader.ended == []

    def check(self) -> None:
        messages = self.reader.transport.messages
        for feed in self.feeds:
            self.check_feed(feed, messages)

    def check_feed(self, feed: Feed, messages: list[Any]) -> None:
        seen = list(feed.backfill)
        assert all(self.allowed(feed, event, self.grants[:1]) for event in seen)
        renewed, closed = 0, False
        for message in messages:
            renewed += message.get("id") in self.renewals
            params = message.get("params", {})
            if params.get("subscription") != feed.number:
                continue
            closed = closed or message["method"] == "closed"
            if message["method"] == "event":
                assert not closed
                # By the grants of the last answer, or by those whose answer comes next.
                assert self.allowed(feed, params["event"], self.grants[renewed : renewed + 2])
                seen.append(params["event"])
        places = [event["n"] for event in seen]
        assert places == sorted(set(places)), "in order, each once"
        due = [
            event["n"]
            for event in self.log
            if all(self.allowed(feed, event, [grants]) for grants in self.grants)
            or (event["n"] >= self.since and self.allowed(feed, event, self.grants[-1:]))
        ]
        assert closed or set(due) <= set(places)

    @staticmethod
    def allowed(feed: Feed, event: Json, some: list[list[Json]]) -> bool:
        return matches(feed.query, event) and any(may_read(grants, event) for grants in some)


@pytest.mark.parametrize("window", [2, 5, 50])
async def test_whatever_is_sent_was_allowed_and_nothing_that_always_was_is_missing(
    window: int,
) -> None:
    for seed in range(SEEDS):
        rng = random.Random(f"{window} {seed}")
        async with world(window=window, outbox_bytes=2_000) as w:
            story = Story(w, await w.known(), rng)
            await story.begin()
            for _ in range(rng.randint(1, 12)):
                await story.go_on()
            await story.end()
            story.check()
