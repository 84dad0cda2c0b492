"""What is peculiar to PostgreSQL: one server for any number of hosts, which tells its listeners."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg  # type: ignore[import-untyped]  # so it is
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Text,
    bindparam,
    cast,
    column,
    extract,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from streamd.errors import StartupError
from streamd.limits import Limits
from streamd.stores.base import Stream
from streamd.stores.failure import Failure
from streamd.stores.sql.dialect import Dialect, posting_list
from streamd.stores.sql.schema import STREAMS
from streamd.stores.sql.store import SqlStore
from streamd.types import Seq

__all__ = ["PostgresqlDialect", "PostgresqlStore"]

logger = logging.getLogger("streamd.stores.sql")

_OLDEST = 13
_QUIET = 30.0
"""Seconds without news after which the connection that listens is tried."""
_FAREWELL = 0.5
"""Seconds that the server has to answer when a connection is closed."""
_INDEX_ROW_BYTES = 2_600
"""What a B-tree of 8 KiB pages can hold of a text; 2,704 with what is beside it."""
_SCHEMA_LOCK = 7_885_318_903_711
"""The number of the advisory lock under which tables are made; it means nothing to others."""

_DURABLE = """
    SELECT set_config('synchronous_commit', CASE setting WHEN 'off' THEN 'on' ELSE setting END, false)
    FROM pg_settings WHERE name = 'synchronous_commit'
"""
"""Keeps commits durable for as long as a connection lasts, whatever is set for others meanwhile."""
_GIVEN_DURABILITY = "SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'"

_SENTENCES = {
    "08": ("can't be reached", True),
    "0A000": ("has other tables by now", True),  # a statement that was prepared before
    "25006": ("is read-only", True),
    "25P03": ("ended a transaction that took too long", True),
    "25P04": ("ended a transaction that took too long", True),
    "28": ("refuses our user name or password", False),
    "3D": ("has no such database", False),
    "40": ("could not complete the transaction", True),
    "42501": ("denies our user something that streamd needs", False),
    "42P01": ("has lost tables of streamd", False),
    "53": ("has not enough resources", False),
    "53100": ("has no room left on its disk", False),
    "53300": ("has no connection left", True),
    "55P03": ("did not give a lock in time", True),
    "57014": ("did not answer in time", True),
    "57P": ("is shutting down or starting", True),
    "58": ("has trouble with its disk", False),
    "XX001": ("has damaged data", False),
    "XX002": ("has a damaged index", False),
}
"""What is the matter, and whether it may pass by itself; by the beginning of SQLSTATE (PostgreSQL's
appendix A), of which the longest counts."""

_LOST = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresError,
)
"""What the driver raises on its own when a connection is lost, or half lost."""


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # it has no types
    """A connection that is closed in time, whoever closes it, even if nobody answers any more."""

    async def close(self, *, timeout: float | None = None) -> None:
        # What it raises comes when it has dropped the connection.
        with contextlib.suppress(*_LOST):
            await super().close(timeout=_FAREWELL)


class PostgresqlDialect(Dialect):
    """Speak to PostgreSQL 13 or newer.

    Numbers belong to one run of one server: a restart may mean older data (a snapshot put back), and
    a promoted replica may lack the newest entries. Each of these has a start time of its own. And they
    belong to one file of the head rows: tables that a dump brought back, or a copy of the database,
    have another.
    """

    name = "PostgreSQL"
    begin_read = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    # Whether it may write is the administrator's to say.
    begin_write = "BEGIN ISOLATION LEVEL READ COMMITTED"
    connections = 5
    writers = 2
    check = 1.0

    def __init__(self, url: str, limits: Limits, *, quiet: float = _QUIET) -> None:
        """Raise StartupError for a URL that names no database, or limits that no index can hold."""
        self._quiet = quiet
        self._url = url
        self.where = _read_place(url)
        self._deadline = limits.store_deadline
        for name in ("value_bytes", "insert_id_bytes"):
            if getattr(limits, name) > _INDEX_ROW_BYTES - 100:
                raise StartupError(
                    f"{name} can be at most {_INDEX_ROW_BYTES - 100} with PostgreSQL, whose indexes hold no more"
                )

    def engine(self) -> AsyncEngine:
        return create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect,
            pool_size=self.connections,
            max_overflow=0,
            pool_timeout=self._deadline,
            pool_reset_on_return=None,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            skip_autocommit_rollback=True,
        )

    async def _connect(self, *_: Any) -> asyncpg.Connection:
        patience = str(int(self._deadline * 1000))
        # Less than the time of an attempt, so that we hear what it was that took so long.
        lock_patience = str(int(self._deadline * 400))
        # The driver reads the URL itself, and with it all that PostgreSQL's own clients know.
        connection = await asyncpg.connect(
            self._url,
            timeout=self._deadline,
            connection_class=_Connection,
            server_settings={
                "application_name": "streamd",
                "statement_timeout": patience,
                "lock_timeout": lock_patience,
                # A host that vanished must not hold the head row for hours.
                "idle_in_transaction_session_timeout": patience,
            },
        )
        try:
            await connection.execute(_DURABLE)
        except BaseException:
            connection.terminate()
            raise
        return connection

    def exists(self) -> bool:
        return True

    async def inspect(self, connection: AsyncConnection) -> None:
        async def show(name: str) -> str:
            return str((await connection.exec_driver_sql(f"SHOW {name}")).scalar_one())

        version = int(await show("server_version_num")) // 10_000
        if version < _OLDEST:
            raise StartupError(
                f"PostgreSQL at {self.where} is of version {version}: streamd needs 13 or newer"
            )
        encoding = await show("server_encoding")
        if encoding != "UTF8":
            raise StartupError(
                f"the database at {self.where} has the encoding {encoding}: streamd needs one of UTF8"
            )
        if (await connection.exec_driver_sql(_GIVEN_DURABILITY)).scalar_one() == "off":
            # A process that crashes takes commits with it then, and its server goes on as the same:
            # numbers that were given out would be given out again, without a new epoch.
            raise StartupError(
                f"synchronous_commit is off in PostgreSQL at {self.where}, and a crash would lose events "
                "that were acknowledged: ALTER ROLE … SET synchronous_commit = on for the role we have there"
            )
        if await show("fsync") == "off":
            logger.warning(
                "fsync is off in PostgreSQL at %s: a power cut may lose events that were acknowledged",
                self.where,
            )

    async def lock_schema(self, connection: AsyncConnection) -> None:
        await connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))

    # Whose the log is.

    @contextlib.asynccontextmanager
    async def ownership(self) -> AsyncGenerator[None]:
        yield

    async def claim(self, connection: AsyncConnection, owner: str) -> str:
        return str((await connection.execute(select(self.owner()))).scalar_one())

    async def claimed(self) -> None:
        pass

    def verify(self) -> None:
        pass  # The owner is compared by each transaction.

    def owner(self) -> ColumnElement[str]:
        started = cast(extract("epoch", func.pg_postmaster_start_time()), Text)
        file = func.pg_relation_filepath(literal_column(f"'{STREAMS.name}'::regclass"))
        return func.concat(started, " ", file)

    # Statements.

    def now(self) -> ColumnElement[int]:
        return cast(func.floor(extract("epoch", func.clock_timestamp()) * 1000), BigInteger)

    def later(self, one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
        return func.greatest(one, other)

    def texts(self, name: str) -> Select[tuple[str]]:
        return select(func.unnest(bindparam(name, type_=ARRAY(Text))))

    def numbers(self, name: str) -> Select[tuple[int]]:
        return select(func.unnest(bindparam(name, type_=ARRAY(BigInteger))))

    def pack(self, values: Sequence[str] | Sequence[int]) -> Any:
        return values

    def pairs(self) -> Select[tuple[str, int]]:
        texts = func.unnest(bindparam("pair_texts", type_=ARRAY(Text)))
        return select(texts, func.unnest(bindparam("pair_numbers", type_=ARRAY(BigInteger))))

    def pack_pairs(self, pairs: Sequence[tuple[str, int]]) -> dict[str, Any]:
        texts, numbers = zip(*pairs, strict=True)
        return {"pair_texts": texts, "pair_numbers": numbers}

    def heads(self, *, forward: bool) -> Select[Any]:
        pairs = (
            bindparam("pair_texts", type_=ARRAY(Text)),
            bindparam("pair_numbers", type_=ARRAY(BigInteger)),
        )
        columns = (column("term", Text), column("start", BigInteger))
        wanted = func.unnest(*pairs).table_valued(*columns, name="wanted").render_derived()
        term, start = wanted.c.term, wanted.c.start
        places = posting_list(term, start, forward=forward).correlate(wanted).subquery("places")
        told = select(func.array_agg(places.c.seq).label("seqs")).correlate(wanted).lateral("told")
        return select(term, told.c.seqs).select_from(wanted.join(told, true()))

    def read_places(self, told: Any) -> list[Seq]:
        return told or []

    # Hints.

    def announcement(self) -> Sequence[ColumnElement[Any]]:
        return (func.pg_notify(func.concat("streamd_", STREAMS.c.id), ""),)

    async def listen(self, stream: int, engine: AsyncEngine) -> AsyncGenerator[None]:
        channel = f"streamd_{stream}"
        news = asyncio.Event()
        connection = await self._connect()
        try:
            connection.add_termination_listener(lambda _: news.set())
            async with asyncio.timeout(self._deadline):
                await connection.add_listener(channel, lambda *_: news.set())
            news.set()  # What was announced before is not told.
            while not connection.is_closed():
                try:
                    async with asyncio.timeout(self._quiet):
                        await news.wait()
                except TimeoutError:
                    # Nobody tells of a connection that is dead without a word but itself.
                    await connection.execute(f"LISTEN {channel}", timeout=self._deadline)
                else:
                    news.clear()
                    yield
        finally:
            connection.terminate()

    # Errors.

    def failure(self, error: Exception, *, committing: bool) -> Failure | None:
        # SQLAlchemy wraps an error of its adapter, and that what the driver raised.
        adapted = error.orig if isinstance(error, DBAPIError) else None
        cause: Any = adapted.__cause__ if adapted is not None else error
        state = getattr(cause, "sqlstate", None)
        if state is not None:
            # A commit that is refused is none. One in which the connection ends may be.
            severity = getattr(cause, "severity_en", None)
            ended = severity in ("FATAL", "PANIC") or state.startswith(("08", "57P"))
            executed = committing and ended
            code = max(
                (each for each in _SENTENCES if state.startswith(each)), key=len, default=None
            )
            if code is None:
                sentence = f"PostgreSQL answered with an unexpected error ({state})"
                return Failure(state, sentence, repeat=False, executed=executed)
            sentence, repeat = _SENTENCES[code]
            return Failure(code, f"PostgreSQL {sentence}", repeat=repeat, executed=executed)
        if isinstance(cause, asyncpg.ClientConfigurationError):
            return Failure("URL", "PostgreSQL's URL has an option with a wrong value", repeat=False)
        if isinstance(cause, _LOST):
            why = f" ({cause.strerror})" if isinstance(cause, OSError) and cause.strerror else ""
            sentence = f"PostgreSQL can't be reached{why}"
            return Failure("UNREACHABLE", sentence, repeat=True, executed=committing)
        return None


def _read_place(url: str) -> str:
    """Return host, port and database of a URL, for people."""
    refusal = StartupError(
        "the store's URL is not one of postgresql://USER@HOST:PORT/DATABASE "
        "(the signs /, ?, # and @ of a password are written %2F, %3F, %23 and %40)"
    )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        options = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
    except ValueError:
        raise refusal from None  # Its words show parts of the URL.
    if "@" in parts.path + parts.fragment:
        raise refusal  # What is left of a password that was torn apart.
    if host is None:
        host = options.get("host", ["localhost"])[0]
    return f"{host}:{port or 5432}{parts.path}"


class PostgresqlStore(SqlStore):
    """Keep the log in PostgreSQL: as durable as that is set up to be, for workers on any hosts."""

    def __init__(self, url: str, stream: Stream, **options: Any) -> None:
        super().__init__(PostgresqlDialect(url, stream.limits), stream, **options)
