"""The Python client against the daemon."""

import asyncio
import random
import signal

import pytest
from streamd_client import (
    FeedState,
    HandshakeRefused,
    InvalidParams,
    LimitExceeded,
    PlaceLost,
    connect,
)

from tests.clients.proxy import Proxy
from tests.promises.serving import daemon

STORY = [
    {"kind": "create-repo", "repo": 17, "user": 291, "name": "frist", "description": "This is my first repo ever!"},
    {"kind": "delete-repo", "repo": 17, "user": 291, "reason": "Made a typo :("},
    {"kind": "watch", "repo": 2842, "user": 291, "owner": 23},
    {"kind": "friend", "user": 291, "friend": 23},
    {"kind": "friend", "user": 23, "friend": 291},
]  # fmt: skip


@pytest.fixture
async def server():
    async with daemon("--keys", "user,kind,repo", "--store", "memory:") as server:
        yield server


@pytest.fixture
async def client(server):
    async with connect(server.url, backoff=lambda attempt: 0.05) as client:
        yield client


async def taken(feed, count):
    """The events of the next so many entries."""
    return [(await anext(feed)).event for _ in range(count)]


async def test_the_story_of_awesomestream(client):
    for event in STORY:
        await client.insert(event)
    newest = STORY[::-1]
    assert await client.items() == newest
    assert await client.items(kind="friend") == newest[:2]
    assert await client.items(kind="friend", user=23) == newest[:1]
    assert await client.items(user=[23, 291]) == newest
    assert await client.items(user=[23, 291], start=1, end=3) == newest[1:3]


async def test_why_an_entry_comes_or_not(client):
    placed = await client.insert({"kind": "watch", "user": 291})
    told = await client.explain(cursor=placed.cursor, user=[23, 291], kind="friend")
    assert (told.found, told.matches, told.grants) == (True, False, None)
    assert [(key.key, key.wanted, key.matched, key.values) for key in told.keys] == [
        ("user", 2, True, ["291"]),
        ("kind", 1, False, ["watch"]),
    ]
    assert told.entry.event == {"kind": "watch", "user": 291}
    assert (await client.explain(event={"user": "291"}, filter={"user": 291})).matches
    with pytest.raises(InvalidParams):
        await client.explain(cursor=f"zzzzzzzz{placed.cursor[8:]}")


async def test_how_far_subscriptions_are(client):
    async with client.subscribe(user=[23, 291]) as feed:
        placed = await client.insert({"user": 291})
        assert (await anext(feed)).cursor == placed.cursor
        (told,) = await client.subscriptions()
    assert told.filter == {"user": {"count": 2, "values": ["23", "291"]}}
    assert (told.state, told.cursor, told.lag, told.entries) == ("live", placed.cursor, 0, 1)
    assert told.bytes > 50


async def test_the_same_with_compression():
    options = ("--keys", "user,kind,repo", "--store", "memory:", "--compression")
    async with daemon(*options) as server, connect(server.url, compression=True) as client:
        await test_the_story_of_awesomestream(client)
        await client.insert_many([{"user": 291, "text": "again and " * 1000}] * 100)
        assert len(await client.items(user=291, start=0, end=50)) == 50


async def test_a_feed_goes_from_the_past_into_the_future(client):
    await client.insert_many(STORY[:3])
    async with client.subscribe(user=[23, 291], backfill=2) as feed:
        assert await taken(feed, 2) == STORY[1:3]
        await client.insert({"user": 7})
        await client.insert_many(STORY[3:])
        assert await taken(feed, 2) == STORY[3:]
        page = await client.history(before=feed.before)
        assert [entry.event for entry in page.entries] == STORY[:1]


async def test_a_stored_cursor_is_good_tomorrow(client):
    inserted = await client.insert_many(STORY)
    async with client.subscribe(after=inserted[1].cursor) as feed:
        assert await taken(feed, 3) == STORY[2:]
    async with client.subscribe(after=feed.cursor) as feed:
        assert await taken(feed, 1) == STORY[4:]


async def test_an_insert_repeated_with_its_id_adds_nothing(client):
    first = await client.insert(STORY[0], "mine")
    again = await client.insert(STORY[0], "mine")
    assert (again.cursor, again.time, again.duplicate) == (first.cursor, first.time, True)
    with pytest.raises(InvalidParams) as info:
        await client.insert(STORY[1], "mine")
    assert info.value.data["reason"] == "id_reused"


async def test_errors_are_typed(client):
    with pytest.raises(InvalidParams) as info:
        await client.items(colour="red")
    assert info.value.data == {"unknown": ["colour"], "keys": ["user", "kind", "repo"]}
    with pytest.raises(LimitExceeded) as limit:
        await client.insert_many([{}] * 1001)
    assert (limit.value.limit, limit.value.max, limit.value.got) == ("insert_many", 1000, 1001)
    with pytest.raises(InvalidParams):
        async with client.subscribe(after="rubbish"):
            pytest.fail("not entered")


async def test_what_the_server_says_about_itself(client):
    info = await client.info()
    assert (info.server, info.keys) == ("streamd", ["user", "kind", "repo"])
    assert info.limits["message_bytes"] == 1024 * 1024
    assert await client.ping() > 0


async def test_a_slow_body_loses_nothing(client):
    async with client.subscribe(after="start") as feed:
        for n in range(0, 6_000, 500):
            await client.insert_many([{"n": n + m} for m in range(500)])
        assert feed.state is FeedState.PAUSED
        assert await taken(feed, 6_000) == [{"n": n} for n in range(6_000)]


async def test_a_thousand_calls_at_the_same_time_keep_their_order(client):
    await asyncio.gather(*(client.insert({"n": n}) for n in range(1_000)))
    assert await client.items(end=1_000) == [{"n": n} for n in reversed(range(1_000))]


async def test_a_lost_log_is_a_lost_place(server, client):
    await client.insert_many(STORY[:2])
    async with client.subscribe() as feed:
        assert await taken(feed, 2) == STORY[:2]
        await server.stop()
        await server.start()
        await client.insert(STORY[2])
        with pytest.raises(PlaceLost) as info:
            await anext(feed)
        assert info.value.reason == "epoch"
        assert await taken(feed, 1) == STORY[2:3]
        await client.insert(STORY[3])
        assert await taken(feed, 1) == STORY[3:4]


async def test_calls_wait_for_a_server_that_restarts(server, client):
    await client.ping()
    await server.stop()
    call = asyncio.create_task(client.insert(STORY[0], timeout=30))
    await server.start()
    await call
    assert await client.items() == STORY[:1]


async def test_a_server_that_freezes_is_left_and_found_again(server):
    url, quick = server.url, {"ping_interval": 0.2, "ping_timeout": 0.4}
    async with connect(url, backoff=lambda attempt: 0.05, **quick) as client:
        async with client.subscribe() as feed:
            await client.insert(STORY[0])
            assert await taken(feed, 1) == STORY[:1]
            server.send(signal.SIGSTOP)
            call = asyncio.create_task(client.insert(STORY[1], timeout=30))
            while client.connected:
                await asyncio.sleep(0.02)
            server.send(signal.SIGCONT)
            await call
            assert await taken(feed, 1) == STORY[1:2]
            assert await client.items() == STORY[1::-1]


async def test_a_path_that_there_is_not_stops_the_client(server):
    async with connect(server.url + "no/such/path") as client:
        with pytest.raises(HandshakeRefused):
            await client.ping()


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_breaks_the_feeds_equal_the_log(server, seed):
    dice = random.Random(seed)
    total, kinds = 3_000, 3

    async def read(client, kind, wanted, *, slow):
        numbers = []
        async with client.subscribe(kind=kind, after="start") as feed:
            async for entry in feed:
                numbers.append(entry.event["n"])
                if len(numbers) == wanted:
                    break
                if slow and dice.random() < 0.01:
                    await asyncio.sleep(0.02)
        return numbers

    async def break_off(proxy):
        while True:
            await asyncio.sleep(dice.random() * 0.15)
            proxy.break_off()

    options = {"backoff": lambda attempt: 0.01, "timeout": 30}
    async with Proxy(server.port) as proxy, connect(proxy.url, **options) as client:
        expected = {
            tuple(kind): [n for n in range(total) if n % kinds in kind]
            for kind in ([0], [1], [2], [0, 1], [0, 1, 2])
        }
        readers = {
            (kind, slow): asyncio.create_task(read(client, kind, len(numbers), slow=slow))
            for kind, numbers in expected.items()
            for slow in (False, True)
        }
        breaker = asyncio.create_task(break_off(proxy))
        for start in range(0, total, 50):
            await asyncio.gather(
                *(client.insert({"n": n, "kind": n % kinds}) for n in range(start, start + 50))
            )
        for (kind, _), reader in readers.items():
            assert await reader == expected[kind]
        breaker.cancel()
        newest = await client.items(end=1_000)
        assert [event["n"] for event in newest] == list(reversed(range(total)))[:1_000]
