"""PostgreSQL servers and connections that stop, and locks that others hold."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Self

import asyncpg
import pytest

from streamd.errors import StoreUnavailable, UnknownOutcome
from streamd.filters import EVERYTHING
from streamd.limits import Limits
from streamd.stores.base import Store, Stream
from streamd.stores.sql.postgresql import PostgresqlDialect
from streamd.stores.sql.store import SqlStore
from tests.services import PostgresServer
from tests.stores.faults import (
    Writer,
    assert_a_short_stop_is_waited_for,
    assert_stored_once,
    make,
    pulse,
)
from tests.stores.postgres.worlds import Connect, NewPostgres, do
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
    await assert_a_short_stop_is_waited_for(await connect(server.url(), store_deadline=4.0), server)


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


def answers(server: PostgresServer) -> bool:
    """Tell whether it takes connections."""
    try:
        return server.sql("SELECT 1") == ["1"]
    except AssertionError:
        return False


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
            # It may still recover from the crash before.
            await eventually(partial(do, answers, server))
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
