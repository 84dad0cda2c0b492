"""The tail, and stores whose connections or whose Redis stop."""

import asyncio
import secrets

import pytest

from streamd.errors import StoreUnavailable, UnknownOutcome
from streamd.filters import EVERYTHING
from tests.services import RedisServer
from tests.stores.faults import assert_a_short_stop_is_waited_for
from tests.stores.redis.worlds import Connect, NewRedis, bodies, make, severed
from tests.stores.worlds import (
    PLENTY,
    Told,
    batch_id,
    draft,
    eventually,
    follow,
    numbered,
    places,
    put,
    put_one,
    read_all,
    wanted,
)

pytestmark = pytest.mark.redis


# The tail.


async def test_killed_subscriptions_lose_nothing(
    redis_server: RedisServer, redis_url: str, connect: Connect
) -> None:
    one, other = await connect(redis_url), await connect(redis_url)
    async with follow(one) as first, follow(other) as second:
        for n in range(60):
            await put(one, numbered([n, n]))
            if n % 10 == 5:
                redis_server.client.execute_command("CLIENT KILL TYPE pubsub")
            if n % 10 == 8:
                await second.reach(2 * n)
        for followed in (first, second):
            await followed.reach(120)
            assert followed.entries == await read_all(one)
            assert not followed.turns


async def test_an_observer_is_told_of_losses_and_of_gaps_and_of_nothing_else(
    redis_server: RedisServer, redis_url: str, connect: Connect
) -> None:
    store, mute = await connect(redis_url), await connect(redis_url)
    mute._names.channel = "nowhere"
    store.observer = observer = Told()
    await put(store, numbered(range(2_500)))
    async with follow(store, 0) as followed:
        await followed.reach(2_500)
        await put(store, numbered(range(50)))
        await followed.reach(2_550)
        assert observer.told == [], "neither the beginning nor what is pushed is a gap"
        await put(mute, numbered(range(2_500)))
        await put_one(store, user=1)
        await followed.reach(5_051)
        assert observer.told == ["repaired"], "however often it had to be read"
        (tail,) = store._tails
        lost = tail._connection
        redis_server.client.execute_command("CLIENT KILL TYPE pubsub")
        await followed.until(lambda: "lost" in observer.told)
        await put_one(mute, user=2)
        await followed.reach(5_052)
        await followed.until(lambda: tail._connection not in (None, lost))
        assert observer.told[:3] == ["repaired", "lost", "found"]


async def test_a_lost_last_message_is_found_in_the_quiet(redis_url: str, connect: Connect) -> None:
    store, mute = await connect(redis_url), await connect(redis_url)
    mute._names.channel = "nowhere"  # What this store publishes reaches nobody.
    async with follow(store) as followed:
        for n in range(1, 4):
            await put_one(mute, user=n)
            await followed.reach(n, deadline=3)
        await put_one(mute, user=4)
        await put_one(store, user=5)
        await followed.reach(5, deadline=3)
        assert places(followed.entries) == [1, 2, 3, 4, 5]


async def test_a_tail_that_is_told_nothing_or_foreign_things_subscribes_anew(
    redis_server: RedisServer, redis_url: str, connect: Connect
) -> None:
    store, mute = await connect(redis_url), await connect(redis_url)
    mute._names.channel = "nowhere"
    async with follow(store) as followed:
        await put_one(store, user=0)
        await followed.reach(1)
        (tail,) = store._tails

        connection = tail._connection
        await put_one(mute, user=1)
        await followed.reach(2)

        async def is_subscribed_anew() -> bool:
            return tail._connection not in (None, connection)

        await eventually(is_subscribed_anew)
        connection = tail._connection

        async def has_left_for_what_it_was_told() -> bool:
            redis_server.client.publish(
                store._names.channel, b"foreign0 1 9 9 1\n\0\0\0\x070\0{...}"
            )
            return await is_subscribed_anew()

        await eventually(has_left_for_what_it_was_told)
        await put_one(store, user=2)
        await followed.reach(3)
        assert not followed.turns


async def test_what_strangers_publish_is_not_logged(
    redis_server: RedisServer,
    redis_url: str,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = await connect(redis_url)
    async with follow(store) as followed:
        await put_one(store, user=0)
        await followed.reach(1)
        redis_server.client.publish(store._names.channel, b"epoch 1 9 9 hush\n")

        async def is_said() -> bool:
            return "the tail lost Redis" in caplog.text

        await eventually(is_said)
        await put_one(store, user=1)
        await followed.reach(2)
    assert "hush" not in caplog.text


async def test_what_an_older_version_published_is_not_taken_for_entries(
    redis_server: RedisServer, redis_url: str, connect: Connect
) -> None:
    store = await connect(redis_url)
    async with follow(store) as followed:
        await put(store, numbered(range(50)))
        await followed.reach(50)
        epoch = (await store.state()).chain.epoch.encode()
        # It told `epoch floor length…`: of three entries, as many numbers as of a place, a time and a count.
        texts = [b"51 1 1\0user:1\0".ljust(51, b"x"), b"y" * 300, b"z" * 60]
        lengths = b" ".join(b"%d" % len(text) for text in texts)
        redis_server.client.publish(
            store._names.channel, b"%b 1 %b\n%b" % (epoch, lengths, b"".join(texts))
        )
        await put_one(store, user=1)
        await followed.reach(51)
        assert followed.entries == await read_all(store)


async def test_flushed_scripts_are_sent_again(
    redis_server: RedisServer, redis_url: str, connect: Connect
) -> None:
    store = await connect(redis_url)
    for n in range(1, 6):
        redis_server.client.script_flush()
        assert (await put_one(store, user=n)).seq == n
        redis_server.client.script_flush()
        assert (await store.newest(wanted({"user": n}), PLENTY)).entries
        assert (await store.after(n - 1, EVERYTHING, PLENTY)).upto == n


# Stops and losses of the connection.


async def test_a_short_stop_is_waited_for(new_redis: NewRedis, connect: Connect) -> None:
    server = new_redis()
    await assert_a_short_stop_is_waited_for(await connect(server.url, store_deadline=2.0), server)


async def test_a_long_stop_leaves_the_outcome_unknown_and_ids_make_it_known(
    new_redis: NewRedis, connect: Connect
) -> None:
    server = new_redis()
    store = await connect(server.url, store_deadline=0.4)
    await put_one(store, user=0)
    drafts = [draft({"user": n}, f"id-{n}") for n in range(1, 6)]
    async with follow(store) as followed:
        server.pause()
        started = asyncio.get_running_loop().time()
        outcomes = await asyncio.gather(
            *(store.append([[item]], batch_id()) for item in drafts),
            store.state(),
            store.newest(EVERYTHING, PLENTY),
            store.after(0, EVERYTHING, PLENTY),
            return_exceptions=True,
        )
        assert asyncio.get_running_loop().time() - started < 1.5
        assert [type(outcome) for outcome in outcomes] == [UnknownOutcome] * 5 + [
            StoreUnavailable
        ] * 3
        server.resume()
        placed = [(await put(store, [item]))[0][0] for item in drafts]
        assert sorted(p.seq for p in placed) == [2, 3, 4, 5, 6]
        await followed.reach(6)
        assert sorted(bodies(followed.entries)) == [item.body for item in drafts]
        assert not followed.turns


async def test_a_connection_that_is_dead_without_a_word_is_left_in_time(
    redis_server: RedisServer, connect: Connect
) -> None:
    swallowing = False
    pumps: list[asyncio.Task[None]] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mute = False
        try:
            while data := await reader.read(65_536):
                # Once it has swallowed something, a connection stays dead.
                mute = mute or swallowing
                if not mute:
                    writer.write(data)
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(redis_server.socket)
        pumps.append(asyncio.create_task(pump(reader, back)))
        pumps.append(asyncio.create_task(pump(there, writer)))

    def swallow(value: bool) -> None:
        nonlocal swallowing
        swallowing = value

    path = redis_server.folder / secrets.token_hex(4)
    async with await asyncio.start_unix_server(serve, path):
        store = await connect(f"unix://{path}", store_deadline=1.0)
        assert (await put_one(store, user=1)).seq == 1
        swallow(True)
        asyncio.get_running_loop().call_later(0.2, swallow, False)
        assert (await put_one(store, user=2)).seq == 2
        assert places(await read_all(store)) == [1, 2]
        await store.aclose()
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def test_lost_connections_store_every_batch_once(
    redis_server: RedisServer, redis_url: str, connect: Connect
) -> None:
    store = await connect(redis_url)
    async with severed(redis_server):
        for n in range(150):
            (placed,) = await put(store, numbered([n, n]))
            assert [(p.seq, p.duplicate) for p in placed] == [
                (2 * n + 1, False),
                (2 * n + 2, False),
            ]
    assert places(await read_all(store)) == list(range(1, 301))


async def test_a_redis_that_is_down_is_unavailable_and_comes_back(
    new_redis: NewRedis, connect: Connect
) -> None:
    server = new_redis(appendonly="yes", appendfsync="always")
    store = await connect(server.url, store_deadline=0.4)
    await put(store, numbered(range(5)))
    before = await store.state()
    async with follow(store) as followed:
        server.kill()
        with pytest.raises(StoreUnavailable, match="can't be reached"):
            await store.state()
        with pytest.raises(StoreUnavailable, match="can't be reached"):
            await put_one(store, user=1)
        server.start()
        state = await store.state()
        # The same data by another process: a new epoch, and all cursors as they were.
        assert (state.head, state.floor) == (5, 1)
        assert state.chain.closed == ((before.chain.epoch, 5),)
        assert all(state.chain.cursor(n) == before.chain.cursor(n) for n in range(1, 6))
        assert (await put_one(store, user=6)).seq == 6
        await followed.reach(6)
        assert places(followed.entries) == [6]
        assert [run.since for run in followed.turns] == [5]


async def test_a_restart_without_news_closes_no_epoch(
    new_redis: NewRedis, connect: Connect
) -> None:
    server = new_redis(appendonly="yes", appendfsync="always")
    store = await connect(server.url)
    first = await store.state()
    for _ in range(2):
        server.kill()
        server.start()
        state = await store.state()
        # The place before the first entry keeps its name; the epochs after it named none.
        assert state.chain.closed == ((first.chain.epoch, 0),)
        assert state.chain.epoch != first.chain.epoch
        assert state.chain.cursor(0) == first.chain.cursor(0)
    await put_one(store, user=1)
    for _ in range(2):
        epoch = (await store.state()).chain.epoch
        server.kill()
        server.start()
    assert len((await store.state()).chain.closed) == 2
    assert epoch not in (await store.state()).chain.cursor(1)


async def test_loading_is_waited_for(new_redis: NewRedis, connect: Connect) -> None:
    server = new_redis()
    store = await connect(server.url)
    await put(store, numbered(range(3_000)))
    server.client.save()
    server.kill()
    # Each key takes 300 microseconds to load.
    server.start(wait=False, key_load_delay="300", loading_process_events_interval_bytes="1024")

    async def is_up() -> bool:
        return server.socket.exists()

    await eventually(is_up)
    with pytest.raises(StoreUnavailable, match="loading"):
        await make(server.url, store._stream.name, store_deadline=0.2).state()
    assert (await put_one(store, user=1)).seq == 3_001
    server.wait()
