"""Upkeep of a Redis to which things happen, and beside other users of it."""

import pytest

from streamd.errors import StoreUnavailable, UnknownOutcome
from streamd.event import Keys
from streamd.log import Entry
from streamd.stores.base import Posting
from streamd.stores.redis import RedisStore
from tests.services import RedisServer
from tests.stores.redis.worlds import Connect, NewRedis, severed
from tests.stores.worlds import draft, follow, numbered, places, put, put_one, read_all

pytestmark = pytest.mark.redis


def some(first: int, count: int = 10, time: int = 1_000) -> list[Entry]:
    drafts = [draft({"user": seq, "kind": "same"}) for seq in range(first, first + count)]
    return [Entry(first + n, time + n, each.terms, each.body) for n, each in enumerate(drafts)]


async def index_of(store: RedisStore) -> set[Posting]:
    return {posting async for found in store.upkeep().postings() for posting in found}


async def test_what_is_restored_is_published(redis_url: str, connect: Connect) -> None:
    server = await connect(redis_url, check=60.0)
    tool = await connect(redis_url)
    async with follow(server) as followed:
        await put_one(server, user=0)
        await followed.reach(1)
        time = (await read_all(server))[0].time
        assert await tool.upkeep().restore(some(2, 1_000, time))
        await followed.reach(1_001)
        assert followed.entries == await read_all(tool)


async def test_a_long_stop_leaves_it_unknown_whether_entries_are_restored(
    new_redis: NewRedis, connect: Connect
) -> None:
    server = new_redis()
    store = await connect(server.url, store_deadline=0.3)
    server.pause()
    with pytest.raises(UnknownOutcome):
        await store.upkeep().restore(some(1))
    for call in (
        store.upkeep().read([1]),
        store.upkeep().missing(some(1)),
        store.upkeep().mend([Posting("user:1", 1)]),
        anext(store.upkeep().postings()),
    ):
        with pytest.raises(StoreUnavailable):
            await call
    server.resume()
    assert await store.upkeep().restore(some(1))
    assert await read_all(store) == some(1)


async def test_lost_connections_restore_everything_once(
    redis_server: RedisServer, redis_url: str, connect: Connect
) -> None:
    store = await connect(redis_url)
    async with severed(redis_server):
        for first in range(1, 1_000, 10):
            assert await store.upkeep().restore(some(first, time=first * 1_000))
    assert places(await read_all(store)) == list(range(1, 1_001))


async def test_without_memory_nothing_is_restored_by_halves(
    new_redis: NewRedis, connect: Connect
) -> None:
    server = new_redis()
    store = await connect(server.url)
    assert await store.upkeep().restore(some(1))
    server.client.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailable, match="out of memory"):
        await store.upkeep().restore(some(11, time=2_000))
    assert await store.upkeep().missing(await read_all(store)) == []
    assert len(await index_of(store)) == 20
    server.client.config_set("maxmemory", 0)
    assert await store.upkeep().restore(some(11, time=2_000))
    assert places(await read_all(store)) == list(range(1, 21))


async def test_the_index_is_read_whole_though_the_server_restarts(
    new_redis: NewRedis, connect: Connect
) -> None:
    server = new_redis(appendonly="yes")
    store = await connect(server.url)
    await put(store, numbered(range(6_000), kind="same"))
    right = await index_of(store)
    assert len(right) == 12_000
    found: set[Posting] = set()
    reading = store.upkeep().postings()
    for _ in range(4):
        found |= set(await anext(reading))
    server.kill()
    server.start()
    assert found < right
    async for postings in reading:
        found |= set(postings)
    assert found == right


async def test_what_others_keep_beside_the_stream_is_left_alone(
    redis_server: RedisServer, connect: Connect, stream_name: str
) -> None:
    store = await connect(redis_server.url)
    await put_one(store, user=1)
    tag = f"{{{stream_name}}}"
    redis_server.client.set(f"{tag}:user:2", "not a list of places")
    redis_server.client.zadd(tag.encode() + b":\xff\xfe", {"1": 1})
    redis_server.client.zadd(f"{tag}2:user:3", {"1": 1})
    assert await index_of(store) == {Posting("user:1", 1)}


async def test_a_user_without_the_right_to_scan_is_told(
    new_redis: NewRedis, connect: Connect, stream_name: str
) -> None:
    server = new_redis()
    rights = ("on", ">few", f"~{{{stream_name}}}*", "&*", "+@all", "-scan")
    server.client.execute_command("ACL", "SETUSER", "few", *rights)
    store = await connect(f"unix://few:few@{server.socket}")
    await put_one(store, user=1)
    with pytest.raises(StoreUnavailable, match="denies our user a command"):
        await anext(store.upkeep().postings())
    assert await store.upkeep().missing(await read_all(store)) == []


async def test_a_stream_that_goes_away_is_not_created_by_a_tool(
    new_redis: NewRedis, connect: Connect
) -> None:
    server = new_redis()
    owner = await connect(server.url)
    await put_one(owner, user=1)
    tool = await connect(server.url, keys=Keys(), store_deadline=0.5)
    await owner.aclose()  # One that has keys would begin the stream anew.
    server.client.flushall()
    with pytest.raises(StoreUnavailable, match="gone"):
        await tool.state()
    await tool.aclose()
    assert server.client.keys() == []
