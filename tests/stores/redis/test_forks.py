"""Logs that lose their end, by a restart or a failover: no cursor names another event."""

import os

import pytest

from streamd.cursor import parse_cursor
from streamd.errors import StartupError, StoreUnavailable
from streamd.filters import EVERYTHING
from tests.services import RedisServer, free_port
from tests.stores.redis.worlds import Connect, NewRedis, assert_names_differ, bodies, make
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
