"""What can happen to a Redis, and what the store makes of it."""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import pytest
import redis

from streamd.cursor import Chain, parse_cursor
from streamd.errors import StartupError, StoreUnavailable, UnknownOutcome
from streamd.event import Keys
from streamd.filters import EVERYTHING
from streamd.limits import Limits
from streamd.log import Draft, LogState
from streamd.stores.base import Observer, Stream
from streamd.stores.redis import RedisStore
from streamd.stores.redis.retention import Sweeper
from streamd.stores.redis.scripts import EXPIRED, SEARCH, Script
from tests.services import RedisServer, free_port
from tests.stores.faults import assert_outages_of_retention_are_told_once
from tests.stores.worlds import (
    KEYS,
    PLENTY,
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

NewRedis = Callable[..., RedisServer]
Connect = Callable[..., Any]


def make(url: str, name: str, keys: Keys = KEYS, check: float = 0.1, **limits: Any) -> RedisStore:
    return RedisStore(url, Stream(name, keys, Limits(**limits)), check=check)


@pytest.fixture
async def connect(stream_name: str) -> AsyncIterator[Connect]:
    """Open stores on this test's stream of a server."""
    async with AsyncExitStack() as stack:

        async def connect(url: str, **options: Any) -> RedisStore:
            return await stack.enter_async_context(make(url, stream_name, **options))

        yield connect


def bodies(entries: Any) -> list[bytes]:
    return [entry.body for entry in entries]


def assert_names_differ(named: dict[str, bytes], state: LogState, entries: Any) -> None:
    """Fail if a cursor that once named an event now names another; remember the new ones."""
    for entry in entries:
        assert named.setdefault(state.chain.cursor(entry.seq), entry.body) == entry.body


# Opening.


async def test_a_redis_that_is_absent_is_refused_with_its_name_and_without_its_password() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        store = make(f"redis://me:hush@127.0.0.1:{port}/3", "s", store_deadline=0.3)
        with pytest.raises(StartupError) as refused:
            await store.open()
    assert f"127.0.0.1:{port} can't be reached (" in str(refused.value)
    assert "hush" not in str(refused.value)
    await store.aclose()


async def test_a_redis_that_does_not_answer_is_refused(new_redis: NewRedis) -> None:
    server = new_redis()
    server.pause()
    store = make(server.url, "s", store_deadline=0.3)
    with pytest.raises(StartupError, match="does not answer"):
        await store.open()


def test_a_url_that_is_none_is_refused() -> None:
    for url in (
        "redis://host:port",
        "redis://:hush@h:99999999999999999999x",
        "redis://:hush@h/0?no_such_option=1",
        "redis://:hush@h/0?health_check_interval=often",
    ):
        with pytest.raises(StartupError) as refused:
            make(url, "s")
        assert "hush" not in str(refused.value)


async def test_a_redis_that_drops_keys_is_refused(new_redis: NewRedis) -> None:
    server = new_redis(maxmemory_policy="allkeys-lru")
    with pytest.raises(StartupError, match=r"allkeys-lru.*noeviction"):
        await make(server.url, "s").open()


def test_an_old_redis_is_refused() -> None:
    store = make("redis://127.0.0.1", "s")
    with pytest.raises(StartupError, match=r"6\.2\.14.*7\.0"):
        store._check_server(b"# Server\r\nredis_version:6.2.14\r\n")
    store._check_server(b"redis_version:7.2.4\r\nvalkey_version:8.1.0\r\n")


async def test_a_stream_with_other_keys_is_refused(redis_url: str, stream_name: str) -> None:
    async with make(redis_url, stream_name):
        pass
    other = make(redis_url, stream_name, Keys.parse("user,repo=repo.name"))
    with pytest.raises(StartupError) as refused:
        await other.open()
    assert "user,kind,tag=tags" in str(refused.value)
    assert "user,repo=repo.name" in str(refused.value)


async def test_a_wrong_password_is_refused(new_redis: NewRedis) -> None:
    server = new_redis()
    server.client.config_set("requirepass", "right")
    with pytest.raises(StartupError) as refused:
        await make(f"unix://:wrong@{server.socket}", "s").open()
    assert "password" in str(refused.value)
    assert "wrong" not in str(refused.value)
    with pytest.raises(StartupError, match="password"):
        await make(server.url, "s").open()
    async with make(f"unix://:right@{server.socket}?db=2", "s") as store:
        assert (await put_one(store, user=1)).seq == 1
    server.client.auth("right")


async def test_missing_rights_are_found_before_anything_is_stored(new_redis: NewRedis) -> None:
    server = new_redis()
    server.client.execute_command(
        *["ACL", "SETUSER", "half", "on", ">half", "~*", "&*", "+@all", "-zadd"]
    )
    with pytest.raises(StartupError, match="denies"):
        await make(f"unix://half:half@{server.socket}", "s").open()
    assert server.client.dbsize() == 0


async def test_rights_are_looked_at_in_a_stream_that_is_there(new_redis: NewRedis) -> None:
    server = new_redis()
    async with make(server.url, "s"):
        pass
    for command in ("zadd", "exists"):
        server.client.execute_command(
            *["ACL", "SETUSER", "half", "reset", "on", ">half", "~*", "&*", "+@all", f"-{command}"]
        )
        with pytest.raises(StartupError, match="denies"):
            await make(f"unix://half:half@{server.socket}", "s").open()


async def test_entries_without_their_meta_key_are_not_built_upon(
    redis_server: RedisServer, redis_url: str, stream_name: str
) -> None:
    async with make(redis_url, stream_name) as store:
        await put_one(store, user=1)
        redis_server.client.delete(f"{{{stream_name}}}meta")
        with pytest.raises(StoreUnavailable, match="meta"):
            await put_one(store, user=2)
    with pytest.raises(StartupError, match="meta"):
        await make(redis_url, stream_name).open()


async def test_streams_and_databases_do_not_meet(redis_server: RedisServer) -> None:
    name = "t-" + secrets.token_hex(4)
    tcp = f"redis://127.0.0.1:{redis_server.port}"
    urls = [
        (redis_server.url, name),
        (redis_server.url + "?db=1", name),
        (tcp + "/2", name),
        (tcp, name + "."),
    ]
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(make(*where)) for where in urls]
        follows = [await stack.enter_async_context(follow(store)) for store in stores]
        for n, store in enumerate(stores):
            await put(store, numbered([n] * (n + 1)))
        for n, (store, followed) in enumerate(zip(stores, follows, strict=True)):
            await followed.reach(n + 1)
            assert places(await read_all(store)) == list(range(1, n + 2))
            assert not followed.turns


async def test_closing_leaves_nothing_behind(
    redis_server: RedisServer, redis_url: str, stream_name: str
) -> None:
    tasks = asyncio.all_tasks()
    client = redis_server.client
    connections = len(client.client_list())
    store = make(redis_url, stream_name)
    await store.open()
    tail = store.tail(0, Chain(""))
    await asyncio.gather(*(store.state() for _ in range(20)), put_one(store, user=1), anext(tail))
    await store.aclose()
    await tail.aclose()
    assert asyncio.all_tasks() == tasks

    async def are_gone() -> bool:
        return len(client.client_list()) == connections

    await eventually(are_gone)


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


class Told(Observer):
    """What a tail has told, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def lost(self) -> None:
        self.told.append("lost")

    def found(self) -> None:
        self.told.append("found")

    def repaired(self) -> None:
        self.told.append("repaired")


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
    store = await connect(server.url, store_deadline=2.0)
    server.pause()
    asyncio.get_running_loop().call_later(1.3, server.resume)
    placed, state = await asyncio.gather(put(store, numbered([1, 2])), store.state())
    assert [(p.seq, p.duplicate) for p in placed[0]] == [(1, False), (2, False)]
    assert state.head in (0, 2)
    assert places(await read_all(store)) == [1, 2]


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
    stop = asyncio.Event()

    async def sever() -> None:
        while not stop.is_set():
            for found in redis_server.client.client_list(_type="normal"):
                # Only connections of this test's own: the others belong to the same process.
                if found["cmd"] in ("evalsha", "eval"):
                    redis_server.client.client_kill_filter(_id=found["id"])
            await asyncio.sleep(0.002)

    severing = asyncio.create_task(sever())
    try:
        for n in range(150):
            (placed,) = await put(store, numbered([n, n]))
            assert [(p.seq, p.duplicate) for p in placed] == [
                (2 * n + 1, False),
                (2 * n + 2, False),
            ]
    finally:
        stop.set()
        await severing
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


# Logs that lose their end.


async def test_a_restart_from_an_older_copy_forks_the_log(
    new_redis: NewRedis, connect: Connect
) -> None:
    server = new_redis()
    store = await connect(server.url)
    named: dict[str, bytes] = {}
    await put(store, numbered(range(1, 6)))
    server.client.save()
    async with follow(store, 0) as followed:
        await put(store, numbered([6, 7, 8]))
        await followed.reach(8)
        old = await store.state()
        assert_names_differ(named, old, followed.entries)
        server.kill()
        server.start()
        # Nobody has inserted yet: already now the rest of the old epoch is void.
        state = await store.state()
        assert (state.head, state.chain.closed) == (5, ((old.chain.epoch, 5),))
        await put(store, numbered([60, 70, 80, 90]))
        await followed.until(lambda: len(followed.entries) == 9)
        assert [run.since for run in followed.turns] == [5]
        assert bodies(followed.entries) == bodies(await read_all(store))
        state = await store.state()
        assert_names_differ(named, state, followed.entries)
        cursors = [parse_cursor(old.chain.cursor(n), "after") for n in range(9)]
        assert [state.chain.holds(cursor) for cursor in cursors] == [True] * 6 + [False] * 3
        # Ids of lost events are forgotten with them, those of kept events are not.
        assert places((await store.newest(wanted({"user": 6}), PLENTY)).entries) == []


async def test_flushall_begins_another_log(
    redis_server: RedisServer, new_redis: NewRedis, connect: Connect
) -> None:
    server = new_redis()
    store, other = await connect(server.url), await connect(server.url)
    await put(store, [draft({"user": n}, f"id-{n}") for n in range(5)])
    old = await store.state()
    async with follow(store) as followed, follow(other, 0) as second:
        await second.reach(5)
        server.client.flushall()
        placed = await put(other, [draft({"user": n}, f"id-{n}") for n in range(3)])
        assert [(p.seq, p.duplicate) for p in placed[0]] == [(1, False), (2, False), (3, False)]
        new = await store.state()
        assert (new.head, new.chain.closed) == (3, ())
        assert new.chain.epoch != old.chain.epoch
        assert not new.chain.holds(parse_cursor(old.chain.cursor(2), "after"))
        for tail in (followed, second):
            await tail.until(lambda tail=tail: places(tail.entries) == [1, 2, 3])
            assert [run.since for run in tail.turns] == [0]


async def test_flushall_in_the_quiet_is_noticed(new_redis: NewRedis, connect: Connect) -> None:
    server = new_redis()
    store = await connect(server.url)
    await put(store, numbered(range(5)))
    async with follow(store, 0) as followed:
        await followed.reach(5)
        server.client.flushall()
        await followed.until(lambda: bool(followed.turns))
        assert (followed.turns[0].since, followed.turns[0].entries) == (0, [])
        assert (await store.state()) == followed.turns[0].state


async def test_a_new_tenure_of_the_same_server_changes_no_place(
    new_redis: NewRedis, connect: Connect
) -> None:
    server = new_redis(enable_debug_command="yes")
    store = await connect(server.url)
    async with follow(store) as followed:
        for n in range(1, 6):
            old = await store.state()
            await put(store, numbered([n, n]))
            await followed.reach(2 * n)
            server.client.execute_command("DEBUG CHANGE-REPL-ID")
            new = await store.state()
            assert new.head == 2 * n
            assert new.chain.epoch != old.chain.epoch
            assert [new.chain.cursor(seq) for seq in range(2 * n + 1)] == [
                old.chain.cursor(seq) for seq in range(2 * n + 1)
            ]
            for strange in (
                "not a message of ours",
                "",
                "\n",
                "x 1\n",
                "x 1 5\n1 2 3",
                "x 1 2 3 4\n",
                b"\xff\n",
            ):
                server.client.publish(store._names.channel, strange)
        await put_one(store, user=0)
        await followed.reach(11)
        assert followed.entries == await read_all(store)


async def test_few_rights_are_enough(new_redis: NewRedis, stream_name: str) -> None:
    server = new_redis()
    commands = (
        "info eval evalsha time exists get set hget hmget hset zadd zcard zrevrange zrangebyscore "
        "zrevrangebyscore zremrangebyscore rename unlink pexpire publish subscribe"
    )
    rights = [f"+{command}" for command in commands.split()]
    tag = f"{{{stream_name}}}*"
    server.client.execute_command(
        "ACL", "SETUSER", "few", "on", ">few", f"~{tag}", f"&{tag}", *rights
    )
    async with make(f"unix://few:few@{server.socket}", stream_name, max_age=0.3) as store:
        async with follow(store) as followed:
            await put(store, [draft({"user": 1, "kind": 2}, "a")], numbered([1]))
            await followed.reach(2)
            assert len(await read_all(store, wanted({"user": 1, "kind": 2}))) == 1
            assert (
                await store.newest(wanted({"user": [1, 3]}), PLENTY._replace(limit=1), 3)
            ).entries

            async def is_swept() -> bool:
                return server.client.zcard(store._names.log) == 0

            await eventually(is_swept)


# Replicas.


class Pair:
    """A primary and its replica, behind one name that can be led to either."""

    def __init__(self, new_redis: NewRedis) -> None:
        self.port = free_port()
        fast = {"repl_diskless_sync_delay": "0", "repl_ping_replica_period": "1"}
        self.primary = new_redis(port=str(self.port), **fast)
        self.replica = new_redis(**fast)
        self._name = self.primary.folder / "name"
        self.lead_to(self.primary)
        self.url = f"unix://{self._name}"

    def lead_to(self, server: RedisServer) -> None:
        fresh = self._name.with_suffix(".new")
        fresh.symlink_to(server.socket)
        os.replace(fresh, self._name)

    async def join(self) -> None:
        """Let the replica follow, and wait until it has all."""
        self.replica.client.execute_command("REPLICAOF", "127.0.0.1", self.port)
        await self.agree()

    async def agree(self) -> None:
        async def have_same() -> bool:
            ours = self.primary.client.info("replication")
            theirs = self.replica.client.info("replication")
            return (
                theirs.get("master_link_status") == "up"
                and theirs["slave_repl_offset"] >= ours["master_repl_offset"]
            )

        await eventually(have_same)

    def cut(self) -> None:
        """Let the replica hear nothing any more."""
        self.primary.client.config_set("port", 0)
        self.primary.client.execute_command("CLIENT KILL TYPE replica")

    def promote(self) -> None:
        self.replica.client.execute_command("REPLICAOF NO ONE")
        self.lead_to(self.replica)


@pytest.fixture
async def pair(new_redis: NewRedis) -> Pair:
    return Pair(new_redis)


async def test_a_replica_promoted_behind_its_primary_gives_no_cursor_a_second_event(
    pair: Pair, connect: Connect
) -> None:
    store = await connect(pair.url)
    await pair.join()
    named: dict[str, bytes] = {}
    async with follow(store, 0) as followed:
        await put(store, numbered([1, 2, 3]))
        await pair.agree()
        pair.cut()
        await put(store, [draft({"user": 4}, "four"), draft({"user": 5})])
        await followed.reach(5)
        old = await store.state()
        assert_names_differ(named, old, followed.entries)
        pair.promote()
        pair.primary.kill()
        state = await store.state()
        closed = (*old.chain.closed, (old.chain.epoch, 3))
        assert (state.head, state.chain.closed) == (3, closed)
        placed = await put(store, numbered([40, 50, 60]))
        assert [p.seq for p in placed[0]] == [4, 5, 6]
        assert (await put(store, [draft({"user": 4}, "four")]))[0][0].seq == 7
        await followed.until(lambda: len(followed.entries) == 7)
        assert [run.since for run in followed.turns] == [3]
        state = await store.state()
        assert_names_differ(named, state, followed.entries)
        assert bodies(followed.entries) == bodies(await read_all(store))
        holds = [state.chain.holds(parse_cursor(old.chain.cursor(n), "after")) for n in range(6)]
        assert holds == [True, True, True, True, False, False]


async def test_a_primary_that_takes_over_older_data_and_returns_forks_the_log(
    pair: Pair, connect: Connect
) -> None:
    """The same process, the same connections: yet numbers would be given out twice."""
    store = await connect(pair.primary.url)
    await pair.join()
    await put(store, numbered([1, 2, 3]))
    await pair.agree()
    pair.cut()
    await put(store, numbered([4, 5]))
    old = await store.state()
    # Nobody of ours ever speaks to the other server.
    pair.replica.client.execute_command("REPLICAOF NO ONE")
    port = free_port()
    pair.replica.client.config_set("port", port)
    pair.primary.client.execute_command("REPLICAOF", "127.0.0.1", port)

    async def has_joined() -> bool:
        return pair.primary.client.info("replication").get("master_link_status") == "up"

    await eventually(has_joined)
    pair.primary.client.execute_command("REPLICAOF NO ONE")
    assert [p.seq for p in (await put(store, numbered([40, 50])))[0]] == [4, 5]
    new = await store.state()
    assert new.chain.closed == (*old.chain.closed, (old.chain.epoch, 3))
    assert new.chain.cursor(4) != old.chain.cursor(4)
    assert new.chain.cursor(3) == old.chain.cursor(3)


async def test_a_replica_is_neither_written_nor_read(pair: Pair, connect: Connect) -> None:
    store = await connect(pair.url, store_deadline=0.3)
    await put_one(store, user=1)
    await pair.join()
    with pytest.raises(StartupError, match="replica"):
        await make(pair.replica.url, "s", store_deadline=0.3).open()
    pair.lead_to(pair.replica)
    pair.primary.client.execute_command("CLIENT KILL TYPE normal")
    for call in (store.state(), store.newest(EVERYTHING, PLENTY), put_one(store, user=2)):
        with pytest.raises(StoreUnavailable, match="read-only replica"):
            await call
    pair.lead_to(pair.primary)
    assert (await put_one(store, user=2)).seq == 2


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
    for start in range(0, 5_000, 1_000):
        await put(
            one,
            [draft({"user": n, "kind": n % 3, "tags": [n]}) for n in range(start, start + 1_000)],
        )
    assert len(keys_of(redis_server, stream_name)) > 10_000
    tag = f"{{{stream_name}}}"

    async def is_empty() -> bool:
        left = {key.removeprefix(tag) for key in keys_of(redis_server, stream_name)}
        return left <= {"meta", "lease", "batches", "batches-old"}

    await eventually(is_empty)
    assert (await other.state()).floor == 5_001
    assert (await put_one(other, user=1)).seq == 5_001


async def test_retention_by_number_returns_the_memory(
    new_redis: NewRedis, connect: Connect
) -> None:
    server = new_redis()
    store = await connect(server.url, max_events=500, max_age=3600.0)

    async def fill() -> int:
        for start in range(0, 4_000, 1_000):
            await put(
                store, [draft({"user": n, "text": "x" * 500}) for n in range(start, start + 1_000)]
            )

        async def is_swept() -> bool:
            return server.client.zcard(store._names.log) == 500

        await eventually(is_swept)
        assert server.client.dbsize() <= 510
        used: int = server.client.info("memory")["used_memory"]
        return used

    first = await fill()
    for _ in range(2):
        last = await fill()
    assert last < first * 1.2
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


# Costs.


async def test_insert_ids_are_gone_after_two_lifetimes(
    redis_server: RedisServer, redis_url: str, connect: Connect
) -> None:
    store = await connect(redis_url, insert_id_lifetime=0.2)
    names = store._names

    def ids(start: int) -> list[Draft]:
        return [draft({"user": 1}, f"id-{n}") for n in range(start, start + 100)]

    await put(store, ids(0))
    assert redis_server.client.hlen(names.ids) == 100
    await asyncio.sleep(0.45)  # Time itself is what is tested.
    await put(store, ids(100))
    assert redis_server.client.hlen(names.ids) == 100
    assert redis_server.client.exists(names.old_ids) == 0
    assert redis_server.client.pttl(names.ids) > 0


async def test_an_insert_id_is_remembered_across_the_change_of_hashes(
    redis_server: RedisServer, redis_url: str, connect: Connect
) -> None:
    store = await connect(redis_url, insert_id_lifetime=1.0)
    begin = (await put(store, [draft({"user": 0}, "first")]))[0][0].time

    async def put_at(offset: int, insert_id: str) -> bool:
        while (placed := await put_one(store, user=9)).time < begin + offset:
            await asyncio.sleep(0.01)
        placed = (await put(store, [draft({"user": 0}, insert_id)]))[0][0]
        return placed.duplicate

    assert not await put_at(700, "late")
    assert not await put_at(1_001, "next")
    assert redis_server.client.exists(store._names.old_ids)
    assert await put_at(0, "late")
    assert not await put_at(0, "first")


async def test_other_clients_are_served_during_long_searches(
    new_redis: NewRedis, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = new_redis()
    store = await connect(server.url)
    for start in range(0, 60_000, 2_000):
        await put(
            store, [draft({"user": n % 10, "kind": "a"}) for n in range(start, start + 2_000)]
        )
    looked, commands = [], []
    run = store._access.run

    async def counted(*script: Any) -> Any:
        server.client.config_resetstat()
        reply = await run(*script)
        stats = server.client.info("commandstats")
        commands.append(sum(stats[name]["calls"] for name in stats if name != "cmdstat_evalsha"))
        looked.append(reply.rest[1])
        return reply

    monkeypatch.setattr(store._access, "run", counted)
    page = await store.newest(wanted({"user": [1, 2], "kind": ["a", "b"], "tag": "none"}), PLENTY)
    assert page.entries == []
    what = wanted({"kind": ["a", "c"], "user": [1, 2, 3, 77]})
    page = await store.newest(what, PLENTY._replace(skip=17_990))
    assert len(page.entries) == 10
    # An entry read is three of the 5,000 steps that one script may take; few are other commands.
    assert sum(looked) >= 18_000
    assert max(looked) <= 5_000 / 3 + 1
    assert max(commands) <= 5_000 / 3 + 200


def test_the_driver_is_what_it_is_taken_for() -> None:
    # Codes that the driver cuts off its errors' texts are known by the errors' classes.
    for code, error in {
        "LOADING": redis.exceptions.BusyLoadingError,
        "READONLY": redis.exceptions.ReadOnlyError,
        "OOM": redis.exceptions.OutOfMemoryError,
        "NOSCRIPT": redis.exceptions.NoScriptError,
        "NOPERM": redis.exceptions.NoPermissionError,
        "WRONGPASS": redis.exceptions.AuthenticationError,
        "MASTERDOWN": redis.exceptions.MasterDownError,
    }.items():
        from redis._parsers.base import BaseParser

        assert type(BaseParser.parse_error(f"{code} some text")) is error
