"""What can happen to a PostgreSQL, and what the store makes of it."""

import asyncio
import logging
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from random import Random
from typing import Any, Self

import asyncpg
import pytest

from streamd.cursor import parse_cursor
from streamd.errors import StoreUnavailable, UnknownOutcome
from streamd.filters import EVERYTHING
from streamd.limits import Limits
from streamd.stores.base import Store, Stream
from streamd.stores.sql.postgresql import PostgresqlDialect
from streamd.stores.sql.retention import Sweeper
from streamd.stores.sql.store import SqlStore
from tests.services import PostgresServer
from tests.stores.faults import (
    Writer,
    assert_outages_of_retention_are_told_once,
    assert_stored_once,
    make,
    pulse,
    refusal,
)
from tests.stores.process import run
from tests.stores.worlds import (
    KEYS,
    LIMITS,
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

pytestmark = pytest.mark.postgres

NewPostgres = Callable[..., PostgresServer]
Connect = Callable[..., Any]


@pytest.fixture
async def connect(stream_name: str) -> AsyncIterator[Connect]:
    """Open stores on this test's stream of a server."""
    async with AsyncExitStack() as stack:

        async def connect(url: str, **limits: float) -> Store:
            return await stack.enter_async_context(make(url, stream_name, **limits))

        yield connect


@asynccontextmanager
async def foreign(server: PostgresServer) -> AsyncIterator[Any]:
    """Connect as another program would, with all rights."""
    connection = await asyncpg.connect(
        host=str(server.folder), port=server.port, user="postgres", database="feeds"
    )
    try:
        yield connection
    finally:
        connection.terminate()


async def do(action: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Do something that takes a while, beside the event loop."""
    return await asyncio.to_thread(action, *arguments, **options)


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


async def test_a_read_only_database_is_refused_and_read(
    postgres_server: PostgresServer, stream_name: str
) -> None:
    url = postgres_server.new_database(stream_name)
    set_to = f'ALTER DATABASE "{stream_name}" SET default_transaction_read_only ='

    async with make(url, store_deadline=1.0) as store, follow(store) as followed:
        await put_one(store, user=1)
        await followed.reach(1)
        # Ours are not default transactions: whoever wants to lock us out takes our rights.
        postgres_server.sql(f"{set_to} on")
        postgres_server.terminate(f"datname = '{stream_name}'")
        outcome = (await asyncio.gather(put_one(store, user=2), return_exceptions=True))[0]
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, StoreUnavailable)
            assert "read-only" in str(outcome)
        assert (await store.newest(wanted({"user": 1}), PLENTY)).entries
        postgres_server.sql(f"{set_to} off")
        postgres_server.terminate(f"datname = '{stream_name}'")
        seq = (await put_one(store, user=3)).seq
        await followed.reach(seq)


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


# Losses of connections.


async def test_lost_connections_store_every_batch_once(
    postgres_server: PostgresServer, stream_name: str
) -> None:
    url = postgres_server.new_database(stream_name)
    writers = [Writer(f"w{n}") for n in range(3)]
    ended = 0

    async def sever() -> None:
        nonlocal ended
        while True:
            ended += await do(postgres_server.terminate, f"datname = '{stream_name}'")
            stored = sum(len(writer.stored) for writer in writers)

            async def goes_on(stored: int = stored) -> bool:
                return sum(len(writer.stored) for writer in writers) >= stored + 9

            # However slow this machine is: connecting takes a while.
            await eventually(goes_on)

    async with make(url) as one, make(url) as other, follow(one) as first, follow(other) as second:
        severing = asyncio.create_task(sever())
        stores = (one, other, one)
        await asyncio.gather(*(w.write(s, 20) for w, s in zip(writers, stores, strict=True)))
        severing.cancel()
        await asyncio.gather(severing, return_exceptions=True)
        assert ended > 10
        await assert_stored_once(one, writers)
        entries = await read_all(one)
        for followed in (first, second):
            await followed.reach(180)
            assert followed.entries == entries
            assert not followed.turns


async def listeners(server: PostgresServer, database: str, *, known: set[str]) -> set[str]:
    """Wait until somebody else than before listens to the streams of a database; return who does."""
    where = f"datname = '{database}' AND query LIKE 'LISTEN%'"
    found: set[str] = set()

    async def are_new() -> bool:
        nonlocal found
        query = f"SELECT pid FROM pg_stat_activity WHERE {where}"
        found = set(await do(server.sql, query))
        return not found <= known

    await eventually(are_new)
    return found


async def test_a_listener_that_is_cut_off_loses_nothing_and_listens_again(
    postgres_server: PostgresServer, stream_name: str
) -> None:
    url = postgres_server.new_database(stream_name)
    async with make(url) as store, make(url) as other, follow(store) as followed:
        pids = await listeners(postgres_server, stream_name, known=set())
        for n in range(1, 5):
            assert await do(postgres_server.terminate, f"pid IN ({', '.join(pids)})") == len(pids)
            assert (await put_one(other, user=n)).seq == n
            await followed.reach(n, deadline=4)
            pids = await listeners(postgres_server, stream_name, known=pids)
        # And what is announced comes at once again, not by looking every second.
        begun = asyncio.get_running_loop().time()
        for n in range(5, 15):
            await put_one(other, user=n)
            await followed.reach(n)
        assert asyncio.get_running_loop().time() - begun < 5
        assert not followed.turns


async def test_a_tail_that_is_told_nothing_looks_by_itself(
    postgres_server: PostgresServer, stream_name: str
) -> None:
    dialect = PostgresqlDialect(postgres_server.new_database(stream_name), LIMITS)
    dialect.check = 0.2
    async with SqlStore(dialect, Stream("s", KEYS, LIMITS)) as store, follow(store) as followed:
        await put_one(store, user=1)
        await followed.reach(1)
        await listeners(postgres_server, stream_name, known=set())
        # As a store does whose announcements are lost.
        postgres_server.sql(
            "BEGIN; INSERT INTO streamd_log SELECT id + 1, time, terms, body FROM streamd_log;"
            "UPDATE streamd_streams SET head = 2; COMMIT",
            database=stream_name,
        )
        await followed.reach(2, deadline=3)


class Wire:
    """Stands between a store and its server, and can let every connection be dead without a word."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._age = 0
        self._pumps: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def die(self) -> None:
        """Swallow all that comes on the connections there are; those to come will live."""
        self._age += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        for source, sink in ((reader, back), (there, writer)):
            self._pumps.add(asyncio.create_task(self._pump(source, sink, self._age)))

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, age: int
    ) -> None:
        try:
            while data := await source.read(65_536):
                if age == self._age:
                    sink.write(data)
        except OSError:
            pass
        finally:
            sink.transport.abort()


async def test_connections_that_are_dead_without_a_word_are_left_in_time(
    postgres_server: PostgresServer, stream_name: str
) -> None:
    direct = postgres_server.new_database(stream_name)
    limits = Limits(store_deadline=1.0)
    async with Wire(postgres_server.port) as wire, make(direct, "s") as other:
        url = direct.replace(f":{postgres_server.port}/", f":{wire.port}/")
        dialect = PostgresqlDialect(url, limits, quiet=0.2)
        async with SqlStore(dialect, Stream("s", KEYS, limits)) as store, follow(store) as followed:
            assert (await put_one(store, user=1)).seq == 1
            await followed.reach(1)
            pids = await listeners(postgres_server, stream_name, known=set())
            for seq in (2, 4):
                wire.die()
                # Of several that are dead each takes its time.
                assert await eventual(store, draft({"user": seq}, f"id-{seq}")) == seq
                assert (await put_one(other, user=seq)).seq == seq + 1
                await followed.reach(seq + 1)
                pids = await listeners(postgres_server, stream_name, known=pids)
            assert not followed.turns


# Stops.


async def test_a_short_stop_is_waited_for(new_postgres: NewPostgres, connect: Connect) -> None:
    server = new_postgres()
    store = await connect(server.url(), store_deadline=4.0)
    server.pause()
    asyncio.get_running_loop().call_later(1.3, server.resume)
    placed, state = await asyncio.gather(put(store, numbered([1, 2])), store.state())
    assert [(p.seq, p.duplicate) for p in placed[0]] == [(1, False), (2, False)]
    assert state.head in (0, 2)
    assert places(await read_all(store)) == [1, 2]


async def test_a_long_stop_is_told_in_time_and_ids_make_the_outcome_known(
    new_postgres: NewPostgres, connect: Connect
) -> None:
    server = new_postgres()
    store = await connect(server.url(), store_deadline=0.6)
    await put_one(store, user=0)
    drafts = [draft({"user": n}, f"id-{n}") for n in range(1, 6)]
    async with follow(store) as followed, pulse() as loop:
        server.pause()
        for _ in range(2):
            begun = asyncio.get_running_loop().time()
            outcomes = await asyncio.gather(
                *(store.append([[item]], batch_id()) for item in drafts),
                store.state(),
                store.newest(EVERYTHING, PLENTY),
                store.after(0, EVERYTHING, PLENTY),
                return_exceptions=True,
            )
            assert asyncio.get_running_loop().time() - begun < 2
            assert {type(outcome) for outcome in outcomes[:5]} <= {UnknownOutcome, StoreUnavailable}
            assert {type(outcome) for outcome in outcomes[5:]} == {StoreUnavailable}
        server.resume()
        placed = [await eventual(store, item) for item in drafts]
        assert sorted(placed) == [2, 3, 4, 5, 6]
        await followed.reach(6)
        assert sorted(entry.body for entry in followed.entries) == [item.body for item in drafts]
        assert not followed.turns
        assert loop.longest < 0.5


async def test_a_commit_that_is_not_answered_is_an_unknown_outcome(
    new_postgres: NewPostgres, connect: Connect
) -> None:
    # It waits for a standby that never comes: commits are there, and not answered.
    server = new_postgres(synchronous_standby_names="nobody")

    async def let_commits_wait(level: str) -> None:
        await do(
            server.sql,
            f"SET synchronous_commit = local; ALTER DATABASE feeds SET synchronous_commit = {level}",
        )
        await do(server.terminate)

    await let_commits_wait("local")
    store = await connect(server.url(), store_deadline=1.0)
    await put_one(store, user=0)
    drafts = [draft({"user": 1}, "one"), draft({"user": 2}, "two")]
    async with follow(store) as followed:
        await let_commits_wait("on")
        begun = asyncio.get_running_loop().time()
        with pytest.raises(UnknownOutcome):
            await put(store, drafts)
        assert asyncio.get_running_loop().time() - begun < 2.5
        await let_commits_wait("local")
        assert [await eventual(store, item) for item in drafts] == [2, 3]
        await followed.reach(3)
        assert not followed.turns


async def eventual(store: Store, item: Any) -> int:
    """Store a draft, however often that takes; return its place."""
    while True:
        try:
            return (await put(store, [item]))[0][0].seq
        except (StoreUnavailable, UnknownOutcome):
            await asyncio.sleep(0.01)


async def test_a_server_that_is_down_is_told_in_time_and_comes_back(
    new_postgres: NewPostgres, connect: Connect
) -> None:
    server = new_postgres()
    store = await connect(server.url(), store_deadline=0.6)
    await put(store, numbered(range(5)))
    before = await store.state()
    async with follow(store) as followed:
        for how in (server.kill, server.stop):
            await do(how)
            for call in (store.state(), put_one(store, user=1), store.newest(EVERYTHING, PLENTY)):
                begun = asyncio.get_running_loop().time()
                with pytest.raises(StoreUnavailable, match="can't be reached"):
                    await call
                assert asyncio.get_running_loop().time() - begun < 1.5
            await do(server.start)
            state = await store.state()
            assert (state.head, state.floor) == (5, 1)
            assert all(state.chain.cursor(n) == before.chain.cursor(n) for n in range(1, 6))
        assert (await put_one(store, user=6)).seq == 6
        await followed.reach(6)
        assert places(followed.entries) == [6]


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_restarts_under_load_lose_nothing_and_double_nothing(
    new_postgres: NewPostgres, connect: Connect, how: str
) -> None:
    server = new_postgres()
    stores = [await connect(server.url(), store_deadline=5.0) for _ in range(3)]
    writers = [Writer(f"w{n}") for n in range(6)]
    done = asyncio.Event()

    async def write(writer: Writer, store: Store) -> None:
        while not done.is_set():
            await writer.write(store, 5)

    async with AsyncExitStack() as stack:
        follows = [await stack.enter_async_context(follow(store, 0)) for store in stores]
        writing = [
            asyncio.create_task(write(writer, stores[number % 3]))
            for number, writer in enumerate(writers)
        ]
        for number in range(1, 6):

            async def is_under_load(number: int = number) -> bool:
                return sum(len(writer.stored) for writer in writers) >= 40 * number

            await eventually(is_under_load)
            await do(getattr(server, how))
            await do(server.start)
        done.set()
        await asyncio.gather(*writing)
        await assert_stored_once(stores[0], writers)
        entries = await read_all(stores[0])
        for followed in follows:
            await followed.reach(len(entries))
            assert followed.entries == entries


async def test_a_crash_of_a_single_process_loses_nothing(
    new_postgres: NewPostgres, connect: Connect
) -> None:
    """PostgreSQL ends all connections then, and recovers, but goes on as the same run of the server."""
    server = new_postgres()
    stores = [await connect(server.url()) for _ in range(2)]
    writers = [Writer(f"w{n}") for n in range(4)]
    async with follow(stores[0], 0) as followed:
        writing = asyncio.gather(*(w.write(stores[n % 2], 60) for n, w in enumerate(writers)))
        for number in range(1, 4):

            async def is_under_load(number: int = number) -> bool:
                return sum(len(writer.stored) for writer in writers) >= 100 * number

            await eventually(is_under_load)
            pids = await do(
                server.sql, "SELECT pid FROM pg_stat_activity WHERE usename = 'streamd'"
            )
            os.kill(int(pids[number % len(pids)]), signal.SIGKILL)
        await writing
        await assert_stored_once(stores[1], writers)
        entries = await read_all(stores[1])
        await followed.reach(720)
        assert followed.entries == entries
        assert not followed.turns


# Locks of others.


async def somebody_waits(other: Any) -> None:
    """Wait until somebody waits for a lock."""
    await eventually(
        partial(other.fetchval, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
    )


async def test_a_lock_held_for_long_fails_inserts_in_time_and_holds_up_nobody(
    postgres_server: PostgresServer, postgres_url: str, stream_name: str, connect: Connect
) -> None:
    store = await connect(postgres_url, store_deadline=0.6)
    await put(store, numbered(range(5)))
    async with foreign(postgres_server) as other, follow(store, 0) as followed, pulse() as loop:
        lock = other.transaction()
        await lock.start()
        await other.execute(
            f"SELECT 1 FROM streamd_streams WHERE name = '{stream_name}' FOR UPDATE"
        )
        clock = asyncio.get_running_loop().time
        for n in range(2):
            begun = clock()
            with pytest.raises(StoreUnavailable, match="lock"):
                await put(store, [draft({"user": 5}, "five")])
            assert 0.5 < clock() - begun < 1.6
            assert (await store.state()).head == 5
            assert places((await store.newest(wanted({"user": n}), PLENTY)).entries) == [n + 1]
        waiting = asyncio.create_task(put(store, [draft({"user": 5}, "five")]))
        await somebody_waits(other)
        await lock.rollback()
        assert (await waiting)[0][0][::2] == (6, False)
        assert (await put(store, [draft({"user": 5}, "five")]))[0][0][::2] == (6, True)
        await followed.reach(6)
        assert loop.longest < 0.4


async def test_writers_that_wait_for_a_lock_do_not_shut_readers_out(
    postgres_server: PostgresServer, postgres_url: str, stream_name: str, connect: Connect
) -> None:
    store = await connect(postgres_url, store_deadline=1.0)
    await put_one(store, user=0)
    async with foreign(postgres_server) as other:
        lock = other.transaction()
        await lock.start()
        await other.execute(
            f"SELECT 1 FROM streamd_streams WHERE name = '{stream_name}' FOR UPDATE"
        )
        writing = [asyncio.create_task(put_one(store, user=n)) for n in range(50)]
        await somebody_waits(other)
        for _ in range(5):
            assert (await asyncio.wait_for(store.state(), 0.5)).head == 1
        outcomes = await asyncio.gather(*writing, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
        await lock.rollback()
    assert (await put_one(store, user=1)).seq == 2


async def test_a_host_that_stands_still_in_mid_transaction_is_overcome(
    postgres_server: PostgresServer, stream_name: str
) -> None:
    url = postgres_server.new_database(stream_name)
    inside = (
        f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{stream_name}' "
        "AND application_name = 'streamd' AND state = 'idle in transaction' "
        "AND backend_xid IS NOT NULL"
    )
    writer = Writer("mine")
    stored: dict[str, int] = {}
    async with make(url, store_deadline=20.0) as store, run(url, "other", 100_000) as process:
        assert process.stdout

        async def stands_inside() -> bool:
            await process.stdout.readline()
            process.send_signal(signal.SIGSTOP)
            if await do(postgres_server.sql, inside) == ["1"]:
                return True
            process.send_signal(signal.SIGCONT)
            return False

        await eventually(stands_inside, deadline=30)
        await asyncio.wait_for(writer.write(store, 3), 15)
        process.send_signal(signal.SIGCONT)
        await writer.write(store, 3)
        for _ in range(20):
            assert await process.stdout.readline()
        process.kill()
        await process.stdout.read()
        entries = await read_all(store)
        assert places(entries) == list(range(1, len(entries) + 1))
        found = {entry.terms[0].removeprefix("user:"): entry.seq for entry in entries}
        assert len(found) == len(entries)
        assert (stored | writer.stored).items() <= found.items()


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
