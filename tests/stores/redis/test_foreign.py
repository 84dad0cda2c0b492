"""What somebody else writes into the stream's keys: it is told in words, harms nothing else, and passes."""

import asyncio

import pytest

from streamd.errors import StoreUnavailable
from streamd.filters import EVERYTHING
from tests.services import RedisServer
from tests.stores.redis.worlds import Connect
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

TOLD = "something else has written into the stream's keys"
NUMBERS = ["head", "floor", "time", "ids_since", "batches_since"]
ALL_READ = ["epoch", "chain", "head", "floor"]
"""What every script needs."""


def what_is_no_number(name: str) -> list[tuple[str, bytes | None]]:
    values = [None, b"", b"hush", b"-5", b"2.5", b"1e300", b"nan", b"9007199254740993"]
    return [(name, value) for value in values]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epoch", None),
        ("epoch", b"\xff\xfe\xff\xfe\xff\xfe\xff\xfe"),
        ("epoch", b"of another length"),
        ("chain", None),
        *(case for name in NUMBERS for case in what_is_no_number(name)),
    ],
)
async def test_a_meta_key_that_is_not_ours_is_not_built_upon(
    redis_server: RedisServer,
    redis_url: str,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    field: str,
    value: bytes | None,
) -> None:
    store = await connect(redis_url)
    async with follow(store) as followed:
        await put(store, numbered([1, 2]))
        await followed.reach(2)
        meta, client = store._names.meta, redis_server.client
        before = client.hgetall(meta)
        if value is None:
            client.hdel(meta, field)
        else:
            client.hset(meta, field, value)
        calls = [put(store, [draft({"user": 3}, "id-3")])]
        if field in ALL_READ:
            calls += [store.state(), read_all(store), store.after(0, EVERYTHING, PLENTY)]
        for call in calls:
            with pytest.raises(StoreUnavailable, match=TOLD):
                await call
        assert client.zcard(store._names.log) == 2
        client.hset(meta, mapping=before)
        assert (await put_one(store, user=3)).seq == 3
        await followed.reach(3)
        assert not followed.turns
    assert "hush" not in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"hush",
        b"\xff\xff",
        b"3 4",
        b"3 4 9\0user:1\0{}",
        b"3 4 1\0\xff\xfe\0{}",
        b"3 x 0\0{}",
        b"x 4 0\0{}",
        b"3 4 -1\0{}",
        b"3 99999999999999999999 0\0{}",
        b"99999999999999999999 4 0\0{}",
    ],
)
async def test_an_entry_that_is_not_ours_is_told_of_and_passes(
    redis_server: RedisServer,
    redis_url: str,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    member: bytes,
) -> None:
    store, other = await connect(redis_url), await connect(redis_url)
    await put(store, [draft({"user": 1, "kind": "a"})] * 3)
    log, client = store._names.log, redis_server.client
    (entry,) = client.zrangebyscore(log, 3, 3)
    client.zrem(log, entry)
    client.zadd(log, {member: 3})
    async with follow(other, 0) as followed:
        every = {
            "user": [1, 2],
            "kind": ["a", "b"],
        }  # Terms are compared where there are several keys.
        for call in (
            read_all(store),
            store.newest(wanted(every), PLENTY),
            store.after(0, EVERYTHING, PLENTY),
            store.after(0, wanted(every), PLENTY),
            store.upkeep().read([1, 2, 3]),
        ):
            outcome = (await asyncio.gather(call, return_exceptions=True))[0]
            if isinstance(outcome, BaseException):
                assert isinstance(outcome, StoreUnavailable), repr(outcome)
                assert TOLD in outcome.message
        assert (await put_one(store, user=4)).seq == 4
        assert not followed.task.done()
        client.zrem(log, member)
        client.zadd(log, {entry: 3})
        if followed.entries[2:] == []:
            await followed.reach(4)
            assert places(followed.entries) == [1, 2, 3, 4]
    assert "hush" not in caplog.text
    assert "unexpected" not in caplog.text


async def test_a_list_that_is_none_harms_no_other(
    redis_server: RedisServer,
    redis_url: str,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = await connect(redis_url)
    async with follow(store) as followed:
        await put_one(store, user="hush")
        taken = store._names.term("user:hush")
        redis_server.client.set(taken, b"hush")
        mine = draft({"user": "hush", "kind": "mine", "tags": ["hush", "both"]}, "id-1")
        theirs = [draft({"user": n, "kind": "theirs"}, f"id-{n}") for n in range(2, 5)]
        for _ in range(2):
            stored = await put(store, [mine], theirs)
            assert [[place.seq for place in call] for call in stored] == [[2], [3, 4, 5]]
        twice = await put(store, numbered(["hush", "hush"]), numbered([9]))
        assert [len(call) for call in twice] == [2, 1]
        await followed.reach(8)
        for filter_, found in [
            ({"kind": "mine"}, [2]),
            ({"tag": "both"}, [2]),
            ({"kind": "theirs"}, [5, 4, 3]),
            ({"user": [2, 3, 4]}, [5, 4, 3]),
            ({"user": 9}, [8]),
        ]:
            page = await store.newest(wanted(filter_), PLENTY)
            assert places(page.entries) == found, filter_
        with pytest.raises(StoreUnavailable, match=TOLD):
            await store.newest(wanted({"user": "hush"}), PLENTY)
        assert not followed.turns
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 1
    assert "streamd check --repair" in said[0]
    assert "hush" not in caplog.text


@pytest.mark.parametrize("key", ["meta", "log", "ids", "old_ids", "batches", "old_batches"])
async def test_a_key_of_another_type_refuses_inserts_and_passes(
    redis_server: RedisServer, redis_url: str, connect: Connect, key: str
) -> None:
    store = await connect(redis_url)
    async with follow(store) as followed:
        await put(store, [draft({"user": 1}, "id-1")])
        await followed.reach(1)
        name, client = getattr(store._names, key), redis_server.client
        before = client.dump(name)
        client.delete(name)
        client.set(name, b"hush")
        with pytest.raises(StoreUnavailable, match=TOLD):
            await put(store, [draft({"user": 2}, "id-2")])
        assert not followed.entries[1:]
        client.delete(name)
        if before:
            client.restore(name, 0, before)
        assert (await put_one(store, user=2)).seq == 2
        await followed.reach(2)
        assert places(await read_all(store)) == [1, 2]

        async def is_quiet() -> bool:
            return not followed.turns

        await eventually(is_quiet)
