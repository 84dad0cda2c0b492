"""What users see while things break around the server: delay, or a word about it; never silence."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from streamd_client import PlaceLost, connect

from tests.harness import until
from tests.promises.chaos import Chaos, read_log, run
from tests.promises.kills import LOST
from tests.promises.serving import Daemon, daemon, workers_of
from tests.promises.test_query_push import seed
from tests.promises.wire import Heard, Message, Wire
from tests.services import RedisServer

pytestmark = pytest.mark.timeout(120)

NewRedis = Callable[..., RedisServer]


@pytest.mark.redis
async def test_push_and_query_agree_while_pubsub_is_being_killed(
    redis_server: RedisServer, stream_name: str
) -> None:
    options = ("--store", redis_server.url, "--stream", stream_name, "--keys", "user,kind,tag")
    async with daemon(*options) as one, daemon(*options) as two:
        killed = 0

        async def kill() -> None:
            nonlocal killed
            while True:
                killed += await asyncio.to_thread(
                    redis_server.client.execute_command, "CLIENT", "KILL", "TYPE", "pubsub"
                )
                await asyncio.sleep(0.3)

        killing = asyncio.create_task(kill())
        try:
            await run(Chaos([one.url, two.url], seed(), events=2_000, subscribers=100))
        finally:
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)
        assert killed


async def test_an_acknowledged_event_is_in_every_answer_of_every_worker(
    shared_url: str, stream_name: str
) -> None:
    options = ("--store", shared_url, "--stream", stream_name)
    async with daemon(*options) as one, daemon(*options) as two:
        wires = [await Wire.connect(one.url), await Wire.connect(two.url)]
        for number in range(200):
            here, there = wires[number % 2], wires[1 - number % 2]
            await here.call("insert", event={"user": 1, "n": number})
            assert (await there.call("items", filter={"user": 1}, end=1))[0]["n"] == number
            page = await there.call("history", limit=1)
            assert page["entries"][0]["event"]["n"] == number
        for wire in wires:
            await wire.close()


async def test_racing_inserts_of_one_id_add_one_event(shared_url: str, stream_name: str) -> None:
    options = ("--store", shared_url, "--stream", stream_name)
    async with daemon(*options) as one, daemon(*options) as two:
        wires = [await Wire.connect(url) for url in (one.url, two.url) * 5]
        for number in range(20):
            event = {"user": 1, "n": number}
            results = await asyncio.gather(
                *[wire.call("insert", event=event, id=f"id-{number}") for wire in wires]
            )
            assert len({result["cursor"] for result in results}) == 1
            assert sum(not result["duplicate"] for result in results) == 1
        assert len(await wires[0].call("items", end=100)) == 20
        for wire in wires:
            await wire.close()


@pytest.mark.redis
async def test_inserts_are_refused_while_redis_stands_still_and_feeds_go_on_after(
    new_redis: NewRedis,
) -> None:
    redis = new_redis()
    async with daemon("--store", redis.url, "--store-deadline", "1") as server:
        heard = Heard()
        wire = await Wire.connect(server.url, heard)
        await wire.call("subscribe")
        await wire.call("insert", event={"n": 0})
        redis.pause()
        try:
            answers = await asyncio.gather(
                wire.post("insert", event={"n": 1}, id="one"), wire.post("items")
            )
            assert answers[0]["error"]["code"] in (-32010, -32011)
            assert answers[1]["error"]["code"] == -32011
            async with asyncio.timeout(10):
                while await server.is_ready():
                    await asyncio.sleep(0.1)
            assert await wire.call("ping") == "pong"
        finally:
            redis.resume()
        async with asyncio.timeout(20):
            while "error" in await wire.post("insert", event={"n": 1}, id="one"):
                await asyncio.sleep(0.1)
        await heard.until(lambda: len(heard.events()) >= 2)
        assert heard.events() == [{"n": 0}, {"n": 1}]
        assert await wire.call("items") == [{"n": 1}, {"n": 0}]
        await wire.close()


@pytest.mark.redis
async def test_a_flush_ends_every_feed_with_a_word(new_redis: NewRedis) -> None:
    redis = new_redis()
    async with daemon("--store", redis.url) as server:
        heard = Heard()
        wire = await Wire.connect(server.url, heard)
        await wire.call("subscribe")
        before = await wire.call("insert", event={"n": 0})
        await heard.until(lambda: heard.events() == [{"n": 0}])
        redis.client.flushall()
        await heard.until(lambda: bool(heard.of("closed")))
        (closed,) = heard.of("closed")
        assert (closed["subscription"], closed["code"]) == (1, -32007)
        assert closed["data"] == {"reason": "epoch"}
        again = await wire.call("subscribe", after=before["cursor"])
        assert (again["resumed"], again["reason"], again["entries"]) == (False, "epoch", [])
        after = await wire.call("insert", event={"n": 1})
        assert after["cursor"] != before["cursor"]
        await heard.until(lambda: heard.events() == [{"n": 0}, {"n": 1}])
        assert await wire.call("items") == [{"n": 1}]
        await wire.close()


@pytest.mark.redis
async def test_a_clean_restart_of_redis_resets_nobody(new_redis: NewRedis) -> None:
    redis = new_redis(appendonly="yes", appendfsync="always")
    async with daemon("--store", redis.url, "--store-deadline", "2") as server:
        heard = Heard()
        wire = await Wire.connect(server.url, heard)
        await wire.call("subscribe")
        for number in range(20):
            await wire.call("insert", event={"n": number})
        redis.kill()
        redis.start()
        async with asyncio.timeout(20):
            while "error" in await wire.post("insert", event={"n": 20}, id="after"):
                await asyncio.sleep(0.1)
        await heard.until(lambda: len(heard.events()) >= 21)
        assert heard.events() == [{"n": number} for number in range(21)]
        assert not heard.of("closed")
        await wire.close()


async def test_a_reader_overtaken_by_retention_is_told(shared_url: str, stream_name: str) -> None:
    options = ("--store", shared_url, "--stream", stream_name, "--max-events", "200")
    async with daemon(*options, "--window", "100", "--outbox-bytes", "16384") as server:
        heard = Heard()
        slow = await Wire.connect(server.url, heard, receive_buffer=4096)
        await slow.call("subscribe")
        slow.pause()
        fast = await Wire.connect(server.url)
        pad = "x" * 20_000
        for first in range(0, 2_000, 50):
            events = [{"n": number, "pad": pad} for number in range(first, first + 50)]
            await fast.call("insert_many", events=events)
        slow.resume()
        await heard.until(lambda: bool(heard.of("closed")))
        (closed,) = heard.of("closed")
        assert (closed["code"], closed["data"]) == (-32007, {"reason": "expired"})
        numbers = [event["n"] for event in heard.events()]
        assert numbers == list(range(len(numbers)))
        last = heard.of("event")[-1]["cursor"]
        again = await slow.call("subscribe", after=last, backfill=1)
        assert (again["resumed"], again["reason"]) == (False, "expired")
        assert again["entries"][0]["event"]["n"] == 1_999
        await slow.close()
        await fast.close()


async def test_shutdown_says_goodbye_and_the_next_start_goes_on(
    shared_url: str, stream_name: str
) -> None:
    async with daemon("--store", shared_url, "--stream", stream_name) as server:
        heard = Heard()
        wire = await Wire.connect(server.url, heard)
        await wire.call("subscribe", filter={"user": 1})
        for number in range(5):
            await wire.call("insert", event={"user": number, "n": number})
        await heard.until(lambda: len(heard.events()) == 1)
        server.send(signal.SIGTERM)
        await heard.until(lambda: bool(heard.of("shutdown")))
        assert [message["method"] for message in heard.messages[-2:]] == ["progress", "shutdown"]
        assert heard.of("shutdown")[0]["reconnect_after_ms"] >= 0
        assert await wire.closed() == 1012
        assert await server.stop() == 0
        await server.start()
        wire = await Wire.connect(server.url, heard)
        cursor = heard.of("progress")[-1]["cursor"]
        result = await wire.call("subscribe", filter={"user": 1}, after=cursor)
        assert result["resumed"] is True
        await wire.call("insert", event={"user": 1, "n": 5})
        await heard.until(lambda: len(heard.events()) == 2)
        assert [event["n"] for event in heard.events()] == [1, 5]
        await wire.close()


async def follow(url: str, received: list[str], **keys: Any) -> None:
    """Follow a feed with the client until cancelled."""
    async with connect(url, timeout=60) as client, client.subscribe(after="start", **keys) as feed:
        try:
            async for entry in feed:
                received.append(entry.cursor)  # noqa: PERF401 - it is watched while it grows
        except PlaceLost as lost:
            received.append(f"lost: {lost}")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.redis
async def test_feeds_and_inserts_go_through_restarts_of_the_servers(
    redis_url: str, stream_name: str, how: signal.Signals
) -> None:
    options = ("--store", redis_url, "--stream", stream_name, "--drain", "2")
    async with daemon(*options) as one, daemon(*options) as two:
        feeds: list[tuple[dict[str, Any], list[str]]] = [
            (keys, [])
            for keys in ({}, {"user": [1, 2]}, {"user": 3, "kind": "a"})
            for _ in range(8)
        ]
        tasks = [
            asyncio.create_task(follow((one, two)[number % 2].url, received, **keys))
            for number, (keys, received) in enumerate(feeds)
        ]

        async def insert(url: str, first: int) -> None:
            async with connect(url, timeout=30) as client:
                for number in range(first, 600, 2):
                    await client.insert(
                        {"n": number, "user": number % 5, "kind": "ab"[number % 3 > 1]}
                    )

        async def restart(server: Daemon) -> None:
            for _ in range(2):
                await server.stop(how)
                await server.start()

        await asyncio.gather(insert(one.url, 0), insert(two.url, 1), restart(one), restart(two))
        log = await read_log(one.url)
        assert sorted(event["n"] for _, event in log) == list(range(600))
        for task, (keys, received) in zip(tasks, feeds, strict=True):
            expected = [cursor for cursor, event in log if wanted(keys, event)]
            with contextlib.suppress(TimeoutError):  # What is missing, the comparison tells.
                async with asyncio.timeout(30):
                    while len(received) < len(expected) and not task.done():
                        await asyncio.sleep(0.05)
            assert not task.done(), task
            assert received == expected
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def wanted(keys: dict[str, Any], event: dict[str, Any]) -> bool:
    """Tell whether an event matches, in the plainest way."""
    return all(
        event[key] in (values if isinstance(values, list) else [values])
        for key, values in keys.items()
    )


@pytest.mark.redis
async def test_redis_that_is_absent_keeps_the_server_from_starting_with_a_sentence() -> None:
    server = Daemon(1, ("--store", "redis://:secret@127.0.0.1:1/0", "--store-deadline", "1"), "/")
    with pytest.raises(AssertionError):
        await server.start()
    assert server.process
    assert await server.process.wait() == 1
    text = server.output.decode()
    assert "127.0.0.1:1" in text
    assert "secret" not in text
    assert "Traceback" not in text


class Follower:
    """Follow one user on a bare connection; cut off, come back at once with the last cursor."""

    def __init__(self, url: str, user: int) -> None:
        self._url = url
        self.user = user
        self.numbers: list[int] = []
        """The events, as they came."""
        self.comes = 0
        self._cursor: str | None = None

    def _hear(self, message: Message) -> None:
        if message["method"] == "event":
            self.numbers.append(message["params"]["event"]["n"])
        self._cursor = message["params"]["cursor"]

    def _begin(self, answer: Message) -> None:
        result = answer["result"]
        assert result["resumed"] is (None if self._cursor is None else True)
        self._cursor = result["cursor"]
        self.comes += 1

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            try:
                wire = await Wire.connect(self._url, self._hear)
            except LOST:
                await asyncio.sleep(0.01)
                continue
            after = {} if self._cursor is None else {"after": self._cursor}
            keys = {"user": self.user}
            try:
                await wire.post("subscribe", self._begin, filter=keys, backfill=0, **after)
                await wire.ended()
            except ConnectionError:
                pass
            finally:
                await wire.cut()


@pytest.mark.redis
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the workers in /proc")
async def test_a_worker_that_is_killed_costs_its_readers_a_moment_and_the_others_nothing(
    new_redis: NewRedis,
) -> None:
    """Those who come back at once are served from memory: the store is not asked for each."""
    redis = new_redis()
    many = 300
    async with daemon("--store", redis.url, "--workers", "2") as server:
        assert server.process
        followers = [Follower(server.url, number % 10) for number in range(many)]
        tasks = []
        for follower in followers:
            # Those who come at once are mostly let in by one worker: it takes as many as there are.
            tasks.append(asyncio.create_task(follower.run()))
            await until(lambda follower=follower: follower.comes)
        other, victim = workers_of(server.process.pid)

        async def insert(first: int) -> None:
            async with connect(server.url, timeout=30) as client:
                for number in range(first, 1_200, 6):
                    await client.insert({"user": number % 10, "n": number})

        # Some of these are with the other worker, so that events come while those who were cut off are away.
        inserting = asyncio.gather(*map(insert, range(6)))
        await until(lambda: all(len(follower.numbers) > 30 for follower in followers))
        before, began = reads(redis), time.monotonic()
        os.kill(victim, signal.SIGKILL)
        await inserting
        await until(lambda: all(len(follower.numbers) >= 120 for follower in followers))
        cut = sum(follower.comes - 1 for follower in followers)
        asked, seconds = reads(redis) - before, time.monotonic() - began
        await until(lambda: len(workers_of(server.process.pid)) == 2)
        assert other in workers_of(server.process.pid)
        for task in tasks:
            assert not task.done(), task
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        log = [event for _, event in await read_log(server.url)]
    for follower in followers:
        theirs = [event["n"] for event in log if event["user"] == follower.user]
        assert follower.numbers == theirs
        assert follower.comes <= 2, "it was cut off once at most"
    # A worker asks for the head once a second, and a new one for its window.
    assert asked < 10 + 3 * seconds < cut < many, (
        "one worker's are cut off, and not asked for one by one"
    )


def reads(redis: RedisServer) -> int:
    """Return how often a store has asked something: every call of it is a script, and those that insert publish."""
    stats = redis.client.info("commandstats")
    calls = {
        name: stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "publish")
    }
    return calls["evalsha"] - calls["publish"]
