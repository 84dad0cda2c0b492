"""What a PostgreSQL must be to be opened, what it may do, and in which order it has the events."""

import asyncio
import logging
import secrets
import socket
from contextlib import AsyncExitStack
from random import Random

import asyncpg
import pytest

from streamd.cursor import parse_cursor
from streamd.errors import StoreUnavailable
from streamd.filters import EVERYTHING
from streamd.limits import Limits
from streamd.stores.sql.retention import Sweeper
from tests.services import PostgresServer
from tests.stores.faults import (
    Writer,
    assert_outages_of_retention_are_told_once,
    assert_stored_once,
    make,
    refusal,
)
from tests.stores.postgres.worlds import Connect, NewPostgres, do
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

pytestmark = pytest.mark.postgres


# Opening.


async def test_a_postgres_that_is_absent_is_refused_with_its_name_in_time() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        begun = asyncio.get_running_loop().time()
        url = f"postgresql://me:hush@127.0.0.1:{port}/feeds"
        sentence = await refusal(url, store_deadline=0.5)
        assert asyncio.get_running_loop().time() - begun < 2
    assert f"127.0.0.1:{port}" in sentence
    assert "can't be reached" in sentence


async def test_a_host_without_a_name_or_a_way_to_it_is_refused_in_time() -> None:
    for host in ("no-such-host.invalid", "192.0.2.1"):
        begun = asyncio.get_running_loop().time()
        assert host in await refusal(f"postgresql://me:hush@{host}/feeds", store_deadline=0.5)
        assert asyncio.get_running_loop().time() - begun < 3


async def test_a_postgres_that_does_not_answer_is_refused_in_time(
    new_postgres: NewPostgres,
) -> None:
    server = new_postgres()
    server.pause()
    begun = asyncio.get_running_loop().time()
    assert f"127.0.0.1:{server.port}" in await refusal(server.url(), store_deadline=0.5)
    assert asyncio.get_running_loop().time() - begun < 2


async def test_a_wrong_password_is_refused_and_never_shown(
    postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    begun = asyncio.get_running_loop().time()
    sentence = await refusal(postgres_server.url(password="hush"), store_deadline=5.0)
    assert "password" in sentence
    assert str(postgres_server.port) in sentence
    # It does not get better by waiting.
    assert asyncio.get_running_loop().time() - begun < 2
    assert "hush" not in caplog.text


async def test_a_password_may_have_any_signs(postgres_server: PostgresServer) -> None:
    role = "r-" + secrets.token_hex(4)
    postgres_server.sql(f"""CREATE ROLE "{role}" LOGIN PASSWORD 'p@ss:/w?r#d% é'""")
    postgres_server.sql(f'CREATE DATABASE "{role} db" OWNER "{role}"')
    place = f"127.0.0.1:{postgres_server.port}/{role}%20db"
    async with make(f"postgresql://{role}:p%40ss%3A%2Fw%3Fr%23d%25%20%C3%A9@{place}") as store:
        assert (await put_one(store, user=1)).seq == 1


async def test_a_unix_socket_will_do(postgres_server: PostgresServer, stream_name: str) -> None:
    place = f"?host={postgres_server.folder}&port={postgres_server.port}"
    async with make(f"postgresql://streamd@/feeds{place}", stream_name) as store:
        assert (await put_one(store, user=1)).seq == 1
    assert str(postgres_server.folder) in await refusal(
        f"postgresql://streamd@/nothing?host={postgres_server.folder}&port={postgres_server.port}"
    )


@pytest.mark.parametrize("url", ["postgresql://h:port/x", "postgresql://me:hush@h/x?sslmode=often"])
async def test_a_url_that_is_none_is_refused(url: str) -> None:
    assert "URL" in await refusal(url, store_deadline=1.0)


async def test_a_database_that_is_not_there_is_refused(postgres_server: PostgresServer) -> None:
    assert "no_such" in await refusal(postgres_server.url(database="no_such"))


async def test_a_database_of_another_encoding_is_refused(postgres_server: PostgresServer) -> None:
    name = "latin-" + secrets.token_hex(4)
    options = "ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    sentence = await refusal(postgres_server.new_database(name, options))
    assert "LATIN1" in sentence
    assert "UTF8" in sentence
    assert postgres_server.sql(
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database=name
    ) == ["0"]


async def test_commits_that_a_crash_may_lose_are_refused(
    postgres_server: PostgresServer, stream_name: str
) -> None:
    url = postgres_server.new_database(stream_name)
    postgres_server.sql(f'ALTER DATABASE "{stream_name}" SET synchronous_commit = off')
    assert "synchronous_commit" in await refusal(url)
    postgres_server.sql(f'ALTER DATABASE "{stream_name}" SET synchronous_commit = local')
    async with make(url) as store:
        assert (await put_one(store, user=1)).seq == 1


async def test_commits_are_durable_whatever_the_administrator_sets_meanwhile(
    new_postgres: NewPostgres, connect: Connect
) -> None:
    server = new_postgres()
    store = await connect(server.url())

    async def shown() -> set[str]:
        """Return how those connections commit that two calls at once have."""
        async with store._access.engine.connect() as one, store._access.engine.connect() as two:
            show = "SHOW synchronous_commit"
            return {(await each.exec_driver_sql(show)).scalar_one() for each in (one, two)}

    assert await shown() == {"on"}
    server.sql("ALTER SYSTEM SET synchronous_commit = off")
    server.sql("SELECT pg_reload_conf()")
    assert "off" in server.sql("SHOW synchronous_commit")
    await put_one(store, user=1)
    assert await shown() == {"on"}
    server.terminate()
    await put_one(store, user=2)
    assert await shown() == {"on"}
    server.sql("ALTER SYSTEM SET synchronous_commit = remote_apply")
    server.sql("SELECT pg_reload_conf()")
    server.terminate()
    await put_one(store, user=3)
    assert await shown() == {"remote_apply"}


async def test_missing_rights_are_refused(postgres_server: PostgresServer) -> None:
    name = "bare-" + secrets.token_hex(4)
    url = postgres_server.new_database(name)
    postgres_server.sql(
        "ALTER SCHEMA public OWNER TO postgres; REVOKE CREATE ON SCHEMA public FROM public",
        database=name,
    )
    postgres_server.sql(f'ALTER DATABASE "{name}" OWNER TO postgres')
    assert "denies" in await refusal(url)
    postgres_server.sql("GRANT CREATE ON SCHEMA public TO streamd", database=name)
    async with make(url) as store:
        assert (await put_one(store, user=1)).seq == 1
    postgres_server.sql(
        "REVOKE CREATE ON SCHEMA public FROM streamd; ALTER TABLE streamd_log OWNER TO postgres;"
        "GRANT SELECT, INSERT ON streamd_log TO streamd",
        database=name,
    )
    # What is not allowed is told, and nothing is stored by halves.
    async with make(url, store_deadline=1.0) as store:
        assert (await put_one(store, user=2)).seq == 2
        postgres_server.sql("REVOKE INSERT ON streamd_log FROM streamd", database=name)
        with pytest.raises(StoreUnavailable, match="denies"):
            await put_one(store, user=3)
        assert places(await read_all(store)) == [1, 2]


async def test_many_that_open_a_new_database_at_once_agree(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database("many-" + secrets.token_hex(4))
    async with AsyncExitStack() as stack:
        stores = [make(url, f"s{n % 2}") for n in range(8)]
        await asyncio.gather(*(stack.enter_async_context(store) for store in stores))
        for number in range(2):
            ours = stores[number::2]
            assert len({(await store.state()).chain for store in ours}) == 1
            placed = [await put_one(store, user=1) for store in ours]
            assert [p.seq for p in placed] == [1, 2, 3, 4]


async def test_closing_leaves_no_connection(
    postgres_server: PostgresServer, stream_name: str
) -> None:
    url = postgres_server.new_database(stream_name)
    ours = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{stream_name}'"
    tasks = asyncio.all_tasks()
    store = make(url)
    state = await store.open()
    tail = store.tail(0, state.chain)
    await asyncio.gather(*(store.state() for _ in range(20)), put_one(store, user=1), anext(tail))
    assert postgres_server.sql(ours) != ["0"]
    await store.aclose()
    await tail.aclose()
    assert asyncio.all_tasks() == tasks

    async def are_gone() -> bool:
        return postgres_server.sql(ours) == ["0"]

    await eventually(are_gone)


# What it may not do.


async def test_a_read_only_database_is_told_of_and_read(
    postgres_server: PostgresServer, stream_name: str
) -> None:
    url = postgres_server.new_database(stream_name)

    def let_writes(default: str) -> None:
        postgres_server.sql(
            f'ALTER DATABASE "{stream_name}" SET default_transaction_read_only = {default}'
        )
        postgres_server.terminate(f"datname = '{stream_name}'")

    # Time enough to connect anew on a busy machine.
    async with make(url, store_deadline=3.0) as store, follow(store) as followed:
        await put_one(store, user=1)
        await followed.reach(1)
        let_writes("on")
        with pytest.raises(StoreUnavailable, match="read-only"):
            await put_one(store, user=2)
        assert (await store.newest(wanted({"user": 1}), PLENTY)).entries
        let_writes("off")
        await followed.reach((await put_one(store, user=3)).seq)


async def test_a_standby_is_refused(new_postgres: NewPostgres) -> None:
    primary = new_postgres()
    async with make(primary.url()) as store:
        await put_one(store, user=1)
    copy = primary.copy()
    (copy / "standby.signal").touch()
    standby = new_postgres(copy, hot_standby="on")
    sentence = await refusal(standby.url(), store_deadline=0.5)
    assert str(standby.port) in sentence
    assert "read-only" in sentence


async def test_no_connection_left_is_told_and_passes(
    new_postgres: NewPostgres, connect: Connect
) -> None:
    server = new_postgres(max_connections="12", superuser_reserved_connections="3")
    store = await connect(server.url(), store_deadline=1.0)
    await put_one(store, user=1)
    others = [await asyncpg.connect(server.url()) for _ in range(7)]
    with pytest.raises(asyncpg.TooManyConnectionsError):
        others += [await asyncpg.connect(server.url()) for _ in range(7)]
    assert "connection" in await refusal(server.url(), store_deadline=0.5)
    server.terminate("application_name = 'streamd'")
    others += [await asyncpg.connect(server.url()) for _ in range(2)]
    with pytest.raises(StoreUnavailable, match="connection"):
        await asyncio.gather(*(store.state() for _ in range(5)))
    for other in others:
        await other.close()
    assert (await put_one(store, user=2)).seq == 2


# One order.


async def test_commits_come_in_the_order_of_their_numbers(
    postgres_server: PostgresServer, stream_name: str
) -> None:
    url = postgres_server.new_database(stream_name)
    writers = [Writer(f"w{n}") for n in range(9)]
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(make(url)) for _ in range(3)]
        follows = [await stack.enter_async_context(follow(store, 0)) for store in stores]
        watcher = await stack.enter_async_context(make(url))
        done = asyncio.Event()

        async def watch() -> int:
            at = looks = 0
            while not done.is_set():
                page = await watcher.newest(EVERYTHING, PLENTY._replace(limit=50))
                assert places(page.entries) == list(range(page.state.head, 0, -1))[:50]
                run = await watcher.after(at, EVERYTHING, PLENTY)
                assert places(run.entries) == list(range(at + 1, run.upto + 1))
                at, looks = run.upto, looks + 1
            return looks

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(w.write(stores[n % 3], 30) for n, w in enumerate(writers)))
        done.set()
        assert await watching > 5
        await assert_stored_once(watcher, writers)
        for writer in writers:
            assert not writer.failures
            assert list(writer.stored.values()) == sorted(writer.stored.values())
        entries = await read_all(watcher)
        for followed in follows:
            await followed.reach(810)
            assert followed.entries == entries
            assert not followed.turns


@pytest.mark.parametrize("level", ["serializable", "repeatable read"])
async def test_what_the_administrator_sets_for_us_changes_no_promise(
    postgres_server: PostgresServer, stream_name: str, level: str
) -> None:
    url = postgres_server.new_database(stream_name)
    for setting in (
        f"default_transaction_isolation = '{level}'",
        "default_transaction_deferrable = on",
        "standard_conforming_strings = off",
        "bytea_output = 'escape'",
        "timezone = 'Asia/Kathmandu'",
        "datestyle = 'German'",
        "extra_float_digits = 0",
        "enable_indexscan = off",
    ):
        postgres_server.sql(f'ALTER DATABASE "{stream_name}" SET {setting}')
    writers = [Writer(f"w{n}") for n in range(6)]
    async with make(url) as one, make(url) as other, follow(one, 0) as followed:
        await asyncio.gather(*(w.write((one, other)[n % 2], 20) for n, w in enumerate(writers)))
        assert not any(writer.failures for writer in writers)
        await assert_stored_once(other, writers)
        await put(other, [draft({"user": "\\ ' \" é\u2028", "kind": 1.5})])
        (entry,) = (await one.newest(wanted({"user": "\\ ' \" é\u2028"}), PLENTY)).entries
        await followed.reach(361)
        assert followed.entries[-1] == entry
    async with make(url) as store:
        assert (await store.state()).head == 361


# Older data.


async def test_an_older_copy_put_back_begins_a_new_epoch(
    new_postgres: NewPostgres, connect: Connect
) -> None:
    server = new_postgres()
    store = await connect(server.url())
    await put(store, numbered([1, 2, 3]))
    first = await store.state()
    copy = server.copy()
    async with follow(store, 0) as followed:
        await put(store, [draft({"user": 4}, "four"), draft({"user": 5})])
        await followed.reach(5)
        old = await store.state()
        await do(server.kill)
        await do(server.put_back, copy)
        await do(server.start)
        placed = await put(store, [draft({"user": 40}), draft({"user": 4}, "four")])
        assert [(p.seq, p.duplicate) for p in placed[0]] == [(4, False), (5, False)]
        await followed.until(lambda: b"40" in b"".join(e.body for e in followed.entries))
        await followed.reach(5)
        assert [run.since for run in followed.turns] == [3]
        assert followed.entries == await read_all(store)
        new = await store.state()
        cursors = [new.chain.cursor(seq) for seq in range(6)]
        assert cursors[:4] == [first.chain.cursor(seq) for seq in range(4)]
        assert not set(cursors[4:]) & {old.chain.cursor(4), old.chain.cursor(5)}
        holds = [new.chain.holds(parse_cursor(old.chain.cursor(n), "after")) for n in range(6)]
        assert holds == [True] * 4 + [False] * 2


async def test_a_standby_that_takes_over_begins_a_new_epoch(
    new_postgres: NewPostgres, stream_name: str
) -> None:
    primary = new_postgres()
    async with make(primary.url(), stream_name) as store:
        await put(store, numbered([1, 2, 3]))
        copy = primary.copy()
        await put(store, numbered([4, 5]))
        old = await store.state()
    (copy / "standby.signal").touch()
    standby = new_postgres(copy, hot_standby="on")
    standby.sql("SELECT pg_promote()")
    async with make(standby.url(), stream_name) as store:
        assert [p.seq for p in (await put(store, numbered([40, 50])))[0]] == [4, 5]
        new = await store.state()
    assert new.chain.cursor(3) == old.chain.cursor(3)
    assert new.chain.cursor(4) != old.chain.cursor(4)


async def test_tables_that_are_gone_are_told_of(
    postgres_server: PostgresServer, stream_name: str
) -> None:
    url = postgres_server.new_database(stream_name)
    async with make(url, store_deadline=1.0) as store, follow(store) as followed:
        await put_one(store, user=1)
        await followed.reach(1)
        postgres_server.sql("DROP TABLE streamd_log", database=stream_name)
        for call in (put_one(store, user=2), store.after(0, EVERYTHING, PLENTY)):
            with pytest.raises(StoreUnavailable, match="tables"):
                await call
        assert not followed.task.done()


async def test_a_retention_that_waits_says_so_once(
    new_postgres: NewPostgres, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    server = new_postgres()
    store = await connect(server.url())
    store._access._deadline = 1.0
    store._retention.cancel()  # Its own is not the one that is looked at.
    sweeper = Sweeper(store._access, Limits(max_events=10), random=Random(1))
    await assert_outages_of_retention_are_told_once(sweeper, server, caplog)
