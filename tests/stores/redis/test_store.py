"""What a Redis must be to be opened, and what its store costs."""

import asyncio
import secrets
import socket
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis

from streamd.cursor import Chain
from streamd.errors import StartupError, StoreUnavailable, UnknownOutcome
from streamd.event import Keys
from streamd.log import Draft
from tests.services import RedisServer
from tests.stores.redis.worlds import Connect, NewRedis, make
from tests.stores.worlds import (
    PLENTY,
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
        "redis://host/hush",
        "redis://host/1/2",
        "rediss://host/-1",
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


@pytest.mark.parametrize(
    "right", ["-zadd", "-publish", "-hset", "-pexpire", "-unlink", "-rename", "resetchannels"]
)
async def test_rights_that_are_taken_away_leave_no_half_of_a_batch(
    new_redis: NewRedis, caplog: pytest.LogCaptureFixture, right: str
) -> None:
    server = new_redis()
    server.client.execute_command(
        *["ACL", "SETUSER", "ours", "reset", "on", ">ours", "~*", "&*", "+@all"]
    )
    async with make(f"unix://ours:ours@{server.socket}", "s") as store, follow(store) as followed:
        await put(store, [draft({"user": 1}, "id-1")])
        server.client.execute_command("ACL", "SETUSER", "ours", right)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="denies"):
                await put(store, [draft({"user": 2}, "id-2")])
        server.client.execute_command("ACL", "SETUSER", "ours", "&*", "+@all")
        ((stored,),) = await put(store, [draft({"user": 2}, "id-2")])
        assert (stored.seq, stored.duplicate) == (2, False)
        await followed.reach(2)
        assert places(followed.entries) == places(await read_all(store)) == [1, 2]
    assert "unexpected" not in caplog.text


async def test_a_password_that_is_set_meanwhile_is_told(
    new_redis: NewRedis, caplog: pytest.LogCaptureFixture
) -> None:
    server = new_redis()
    async with make(server.url, "s") as store:
        await put_one(store, user=1)
        server.client.config_set("requirepass", "hush")
        server.client.execute_command("AUTH", "hush")
        server.client.client_kill_filter(_type="normal", skipme=True)
        with pytest.raises(StoreUnavailable, match="password"):
            await store.state()
        # Redis hangs up on who says more than a few words, and that may be all that is heard of it.
        with pytest.raises((StoreUnavailable, UnknownOutcome)):
            await put_one(store, user=2)
        server.client.config_set("requirepass", "")
        assert (await put_one(store, user=2)).seq == 2
    assert "unexpected" not in caplog.text


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
