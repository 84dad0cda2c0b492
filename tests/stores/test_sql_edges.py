"""streamd.stores.sql at its edges: data exchanged where one stream of several is served, and the like."""

import asyncio
import logging
import secrets
import shutil
import traceback
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncConnection

from streamd.errors import StartupError
from streamd.limits import Limits
from streamd.stores import open_store
from streamd.stores.base import Store, Stream
from streamd.stores.sql.postgresql import PostgresqlDialect
from streamd.stores.sql.retention import Sweeper
from streamd.stores.sql.store import SqlStore
from tests.services import PostgresServer
from tests.stores.worlds import (
    DEADLINE,
    KEYS,
    LIMITS,
    POSTGRES,
    SQLITE,
    Kind,
    Streams,
    numbered,
    places,
    put,
    read_all,
    wanted,
)

NewPostgres = Callable[..., PostgresServer]
Open = Callable[[str], Store]


def opener(url: str) -> Open:
    """Return what opens stores on the streams of one database."""
    return lambda name: open_store(url, Stream(name, KEYS, LIMITS))


# Older data put back.


async def test_whoever_opens_a_file_first_begins_new_epochs_of_all_its_streams(
    tmp_path: Path,
) -> None:
    path, copy = tmp_path / "streamd.db", tmp_path / "older.db"
    new = opener(f"sqlite:///{path}")
    async with new("one"), new("other") as other:
        await put(other, numbered(range(3)))
        shutil.copy(path, copy)
        shutil.copy(f"{path}-wal", f"{copy}-wal")
        await put(other, numbered(range(2)))
        lost = (await other.state()).chain.cursor(5)
    for end in ("", "-wal"):
        shutil.copy(f"{copy}{end}", f"{path}{end}")
    async with AsyncExitStack() as stack:
        # The second one finds that the file is in use.
        await stack.enter_async_context(new("one"))
        other = await stack.enter_async_context(new("other"))
        third = await stack.enter_async_context(new("other"))
        await put(other, numbered(range(7, 9)))
        state = await third.state()
        assert state == await other.state()
        assert state.head == 5
        assert state.chain.cursor(5) != lost


@pytest.mark.postgres
@pytest.mark.parametrize("how", ["TRUNCATE", "DROP"])
async def test_tables_that_a_dump_brings_back_begin_a_new_epoch(
    how: str, postgres_server: PostgresServer
) -> None:
    database = "d" + secrets.token_hex(6)
    new = opener(postgres_server.new_database(database))
    async with new("one") as store:
        await put(store, numbered(range(3)))
        # What pg_restore does, with --clean or, in an empty table, with --data-only.
        postgres_server.sql("CREATE TABLE older AS TABLE streamd_streams", database=database)
        await put(store, numbered(range(2)))
        lost = (await store.state()).chain.cursor(5)
    back = ["DELETE FROM streamd_log WHERE id & 65535 > 3"]
    back += ["DELETE FROM streamd_index WHERE seq > 3", "TRUNCATE streamd_batches"]
    if how == "TRUNCATE":
        back += ["TRUNCATE streamd_streams", "INSERT INTO streamd_streams TABLE older"]
    else:
        back += ["DROP TABLE streamd_streams", "ALTER TABLE older RENAME TO streamd_streams"]
        back += ["ALTER TABLE streamd_streams OWNER TO streamd"]
    postgres_server.sql(";".join(back), database=database)
    async with new("one") as store:
        assert (await store.state()).head == 3
        await put(store, numbered(range(7, 9)))
        assert (await store.state()).chain.cursor(5) != lost
        assert (await store.state()).chain.cursor(3)[:8] == lost[:8]


@pytest.mark.parametrize("kind", [SQLITE, POSTGRES], indirect=True)
@pytest.mark.parametrize("step", ["hide", "remove"])
async def test_retention_does_nothing_in_a_log_that_it_has_not_looked_at(
    kind: Kind, step: str
) -> None:
    """Older data is put back between a look at what is to be forgotten, and the forgetting."""
    async with Streams(kind).new() as store:
        assert isinstance(store, SqlStore)
        access = store._access
        await put(store, numbered(range(20)))
        sweeper = Sweeper(access, Limits(max_events=10), random=Random(1))
        if step == "remove":
            assert await sweeper._hide()
        older = text("UPDATE streamd_streams SET head = 8, floor = 1, owner = '' WHERE id = :id")
        write = access.write

        async def write_later(work: Any) -> Any:
            await write(lambda connection: connection.execute(older, {"id": access.stream}))
            return await write(work)

        access.write = write_later  # type: ignore[method-assign]
        await (sweeper._hide() if step == "hide" else sweeper._remove())
        access.write = write  # type: ignore[method-assign]
        state = await store.state()
        assert (state.head, state.floor) == (8, 1)
        assert places(await read_all(store)) == list(range(1, 9))


# Events with many terms.


@pytest.mark.parametrize("kind", [SQLITE, POSTGRES], indirect=True)
async def test_a_batch_of_many_terms_is_not_written_row_by_row(kind: Kind) -> None:
    """Thousands of rows, each bound by itself, would hold up the event loop for most of a second."""
    rows = 0

    def count(*about: Any) -> None:
        nonlocal rows
        parameters, executemany = about[3], about[5]
        rows += len(parameters) if executemany else 1

    async with Streams(kind).new() as store:
        assert isinstance(store, SqlStore)
        engine = store._access.engine.sync_engine
        event.listen(engine, "before_cursor_execute", count)
        tags = [f"é{n}" for n in range(50)]
        await put(store, numbered(range(20), tags=tags))
        event.remove(engine, "before_cursor_execute", count)
        assert rows < 50
        for tag in (tags[0], tags[-1]):
            assert len(await read_all(store, wanted({"tag": tag}))) == 20


# Calls that are cancelled.


@pytest.mark.parametrize("kind", [SQLITE, POSTGRES], indirect=True)
async def test_calls_that_were_cancelled_are_in_nobodys_way(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever hangs up leaves nothing in the queue for a connection."""
    async with Streams(kind).new() as store:
        assert isinstance(store, SqlStore)
        calls: list[asyncio.Task[Any]] = [asyncio.create_task(store.state()) for _ in range(300)]
        calls += [asyncio.create_task(put(store, numbered([1]))) for _ in range(300)]
        await asyncio.sleep(0.01)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await asyncio.sleep(0)
        assert len(store._access._running) <= 10
        head = (await put(store, numbered([1])))[0][0].seq
        assert places(await read_all(store)) == list(range(1, head + 1))
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


# Closing.


@pytest.mark.postgres
async def test_a_server_that_stands_still_does_not_hold_up_who_closes(
    new_postgres: NewPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    server = new_postgres()
    store = opener(server.url())("one")
    await store.open()
    await asyncio.gather(*[store.state() for _ in range(3)])
    server.pause()
    try:
        async with asyncio.timeout(DEADLINE):
            await store.aclose()
    finally:
        server.resume()
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


# Secrets.


@pytest.mark.parametrize(
    "password", ["hush/12", "12/hush", "12#hush", "hush#12", "12?hush", "hush?12"]
)
def test_a_password_that_tears_its_url_apart_is_not_shown(password: str) -> None:
    with pytest.raises(StartupError, match="the store's URL is not one of") as caught:
        opener(f"postgresql://me:{password}@127.0.0.1/feeds")("one")
    assert "hush" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("kind", [SQLITE, POSTGRES], indirect=True)
async def test_what_goes_wrong_unexpectedly_shows_no_values(kind: Kind) -> None:
    async with Streams(kind).new() as store:
        assert isinstance(store, SqlStore)
        statement = text("SELECT :known, :unknown")
        secret = secrets.token_hex()

        async def err(connection: AsyncConnection) -> None:
            await connection.execute(statement, {"known": secret})

        with pytest.raises(StatementError) as caught:
            await store._access.write(err)
        assert secret not in "".join(traceback.format_exception(caught.value))


# Outcomes.


@pytest.mark.parametrize(
    ("severity", "state", "executed"),
    [("ERROR", "40001", False), ("PANIC", "53100", True), ("FATAL", "57P01", True)],
)
def test_a_commit_in_which_the_connection_ends_may_have_been_one(
    severity: str, state: str, executed: bool
) -> None:
    dialect = PostgresqlDialect("postgresql://me@127.0.0.1/feeds", LIMITS)
    error = asyncpg.PostgresError.new({"S": severity, "V": severity, "C": state, "M": "why"})
    for committing in (False, True):
        failure = dialect.failure(error, committing=committing)
        assert failure is not None
        assert failure.executed is (committing and executed)
