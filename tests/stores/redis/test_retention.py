"""What Redis forgets, and what it keeps when its memory is full."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from streamd.errors import StoreUnavailable
from streamd.limits import Limits
from streamd.stores.redis import RedisStore
from streamd.stores.redis.retention import Sweeper
from streamd.stores.redis.scripts import EXPIRED, SEARCH, Script
from tests.services import RedisServer
from tests.stores.faults import assert_outages_of_retention_are_told_once
from tests.stores.redis.worlds import Connect, NewRedis, make
from tests.stores.worlds import (
    PLENTY,
    draft,
    eventually,
    numbered,
    places,
    put,
    put_one,
    read_all,
    wanted,
)

pytestmark = pytest.mark.redis


# Memory.


async def test_without_memory_nothing_is_stored_by_halves_and_reads_work(
    new_redis: NewRedis, connect: Connect
) -> None:
    server = new_redis()
    store = await connect(server.url)
    await put(store, numbered(range(50)))
    server.client.config_set("maxmemory", 1)
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="out of memory"):
            await put(store, numbered(range(50)), [draft({"user": 1}, "a")])
    assert (await store.state()).head == 50
    assert len(await read_all(store)) == 50
    assert places((await store.newest(wanted({"user": 1}), PLENTY)).entries) == [2]
    late = await connect(server.url)
    assert (await late.state()).head == 50
    server.client.config_set("maxmemory", 0)
    assert [p.seq for p in (await put(store, [draft({"user": 1}, "a")]))[0]] == [51]


async def test_memory_that_ends_at_any_moment_leaves_whole_batches(
    new_redis: NewRedis, connect: Connect
) -> None:
    server = new_redis()
    store = await connect(server.url)
    used = server.client.info("memory")["used_memory"]
    server.client.config_set("maxmemory", used + 300_000)
    stored = 0
    with pytest.raises(StoreUnavailable):  # noqa: PT012 - which of the calls it is, nobody knows
        for n in range(2_000):
            await put(store, [draft({"user": n, "text": "x" * 300, "tags": [1, 2, n]})] * 10)
            stored += 10
    assert stored > 0
    assert (await store.state()).head == stored
    assert len(await read_all(store)) == stored
    for value in (1, 2):
        assert len(await read_all(store, wanted({"tag": value}))) == stored


# Retention.


def keys_of(server: RedisServer, name: str) -> set[str]:
    return {key.decode() for key in server.client.scan_iter(match=f"{{{name}}}*")}


async def test_retention_empties_log_and_lists(
    redis_server: RedisServer, redis_url: str, stream_name: str, connect: Connect
) -> None:
    one, other = await connect(redis_url, max_age=1.0), await connect(redis_url, max_age=1.0)
    for start in range(0, 2_000, 1_000):
        await put(
            one,
            [draft({"user": n, "kind": n % 3, "tags": [n]}) for n in range(start, start + 1_000)],
        )
    assert len(keys_of(redis_server, stream_name)) > 4_000
    tag = f"{{{stream_name}}}"

    async def is_empty() -> bool:
        if redis_server.client.exists(f"{tag}log"):
            return False  # To look for all that is left would keep retention waiting.
        left = {key.removeprefix(tag) for key in keys_of(redis_server, stream_name)}
        return left <= {"meta", "lease", "batches", "batches-old"}

    await eventually(is_empty)
    assert (await other.state()).floor == 2_001
    assert (await put_one(other, user=1)).seq == 2_001


async def test_retention_by_number_returns_the_memory(
    new_redis: NewRedis, connect: Connect
) -> None:
    server = new_redis()
    store = await connect(server.url, max_events=500, max_age=3600.0)

    def used() -> int:
        memory: int = server.client.info("memory")["used_memory"]
        return memory

    async def fill() -> None:
        for start in range(0, 4_000, 1_000):
            await put(
                store, [draft({"user": n, "text": "x" * 500}) for n in range(start, start + 1_000)]
            )

        async def is_swept() -> bool:
            return server.client.zcard(store._names.log) == 500

        await eventually(is_swept)
        assert server.client.dbsize() <= 510

    await fill()
    first = used()
    for _ in range(2):
        await fill()

    async def is_returned() -> bool:
        # Redis keeps what it has read of a client for some seconds.
        return used() < first * 1.2

    await eventually(is_returned)
    assert places(await read_all(store)) == list(range(11_501, 12_001))


async def test_what_was_left_over_is_removed_though_nothing_is_limited_any_more(
    redis_server: RedisServer, redis_url: str, stream_name: str, connect: Connect
) -> None:
    async with make(redis_url, stream_name, max_events=10, max_age=1e9) as store:
        store._retention.cancel()  # It crashed before it could remove anything.
        await put(store, numbered(range(1_500)))
        assert redis_server.client.zcard(store._names.log) == 1_500
    store = await connect(redis_url)

    async def is_swept() -> bool:
        return redis_server.client.zcard(store._names.log) == 10

    await eventually(is_swept)
    assert places(await read_all(store)) == list(range(1_491, 1_501))

    async def is_done() -> bool:
        return store._retention.done()

    redis_server.client.delete(store._names.lease)
    await eventually(is_done)


async def test_a_retention_that_ends_is_seen(
    redis_url: str, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    store = await connect(redis_url)
    sweeper = Sweeper(store._access, Limits(max_events=10), random=Random())
    sweeper._raise_floor = None
    with pytest.raises(TypeError):
        await sweeper.serve()
    assert "CRITICAL" in caplog.text


async def test_a_retention_that_waits_says_so_once(
    new_redis: NewRedis, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    server = new_redis()
    store = await connect(server.url)
    store._access.deadline = 1.0
    store._retention.cancel()  # Its own is not the one that is looked at.
    sweeper = Sweeper(store._access, Limits(max_events=10), random=Random(1))
    await assert_outages_of_retention_are_told_once(sweeper, server, caplog)


def between(store: RedisStore, script: Script, action: Callable[[], Any]) -> None:
    """Do something right after the next run of a script."""
    run = store._access.run

    async def run_and_act(which: Script, *args: Any, **options: Any) -> Any:
        reply = await run(which, *args, **options)
        if which is script:
            store._access.run = run
            await action()
        return reply

    store._access.run = run_and_act


async def test_two_sweepers_do_not_meet(
    redis_server: RedisServer, redis_url: str, connect: Connect
) -> None:
    store = await connect(redis_url)
    await put(store, numbered(range(1_200)))
    await asyncio.wait_for(store._retention, 10)  # Its own sweeper finds nothing to do, and ends.
    limits = Limits(max_events=10)
    one, other = (Sweeper(store._access, limits, random=Random()) for _ in range(2))
    redis_server.client.delete(store._names.lease)
    assert await one._raise_floor() == 0
    assert not await other.sweep()
    assert redis_server.client.zcard(store._names.log) == 1_200
    # Even without the lease: what the one was about to remove, the other has.
    redis_server.client.delete(store._names.lease)
    between(store, EXPIRED, one.sweep)
    assert await other._step(0) == 1_190
    assert places(await read_all(store)) == list(range(1_191, 1_201))
    assert redis_server.client.zcard(store._names.log) == 10


async def test_a_sweeper_touches_no_other_log(new_redis: NewRedis, connect: Connect) -> None:
    server = new_redis()
    store = await connect(server.url)
    await put(store, [draft({"user": 1})] * 30)
    await asyncio.wait_for(store._retention, 10)
    limits = Limits(max_events=10)
    server.client.delete(store._names.lease)
    sweeper = Sweeper(store._access, limits, random=Random())
    assert await sweeper._raise_floor() == 0

    async def begin_anew() -> None:
        server.client.flushall()
        await put(store, [draft({"user": 1})] * 50)
        assert await Sweeper(store._access, limits, random=Random())._raise_floor() == 0

    between(store, EXPIRED, begin_anew)
    await sweeper._step(0)
    assert server.client.zcard(store._names.log) == 50


async def test_forks_that_nobody_can_name_any_more_are_forgotten(
    new_redis: NewRedis, connect: Connect
) -> None:
    server = new_redis(appendonly="yes", appendfsync="always")
    store = await connect(server.url, max_events=10)
    for _ in range(3):
        await put(store, numbered(range(4)))
        server.kill()
        server.start()
    assert [last for _, last in (await store.state()).chain.closed] == [4, 8, 12]
    await put(store, numbered(range(6)))  # The floor is 9 now: cursor 8 is still good.
    before = (await store.state()).chain
    server.kill()
    server.start()
    after = (await store.state()).chain
    assert [last for _, last in after.closed] == [8, 12, 18]
    assert after.cursor(8) == before.cursor(8)
    await put_one(store, user=1)
    server.kill()
    server.start()
    assert [last for _, last in (await store.state()).chain.closed] == [12, 18, 19]


async def test_what_happens_during_a_long_search_shows_in_its_page(
    new_redis: NewRedis, connect: Connect
) -> None:
    server = new_redis()
    store = await connect(server.url, max_events=12_000)
    what = wanted({"kind": [0, 1]})
    # It looks at 10,000 entries: in two scripts.
    bounds = PLENTY._replace(skip=9_900, limit=100)

    async def fill(count: int) -> None:
        for start in range(0, count, 2_000):
            await put(store, [draft({"kind": n % 2}) for n in range(start, start + 2_000)])

    await fill(12_000)
    assert places((await store.newest(what, bounds)).entries) == list(range(2_100, 2_000, -1))
    # Fifty more come in between, and the floor with them.
    between(store, SEARCH, lambda: put(store, numbered(range(50))))
    page = await store.newest(what, bounds._replace(limit=2_100))
    assert (page.state.head, page.state.floor, page.before) == (12_000, 51, None)
    assert places(page.entries) == list(range(2_100, 50, -1))

    # Most of what the first script found is forgotten when the second has run.
    between(store, SEARCH, lambda: fill(11_500))
    page = await store.newest(what, PLENTY._replace(limit=2_000), 12_001)
    assert places(page.entries) == list(range(12_000, page.state.floor - 1, -1))
    assert page.state.floor == 12_051
    assert page.before is None

    async def begin_anew() -> None:
        server.client.flushall()
        await fill(10_000)

    between(store, SEARCH, begin_anew)
    page = await store.newest(what, bounds)
    assert places(page.entries) == list(range(100, 0, -1))
