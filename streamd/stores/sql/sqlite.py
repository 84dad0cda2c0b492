"""What is peculiar to SQLite: one file, one writer at a time, all processes on one machine."""

import asyncio
import fcntl
import os
import secrets
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, bindparam, event, func, select, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import await_only, greenlet_spawn

from streamd.errors import StartupError
from streamd.stores.base import Stream
from streamd.stores.failure import Failure
from streamd.stores.sql.dialect import Dialect, posting_list
from streamd.stores.sql.schema import STREAMS
from streamd.stores.sql.store import SqlStore
from streamd.types import Seq

__all__ = ["SqliteDialect", "SqliteStore"]

_OLDEST = (3, 35, 0)
"""The first with RETURNING."""
_BUSY = 0.1
"""Seconds that SQLite itself waits for a lock; after that we do, where it can be ended."""
_LOCK_PAUSE = 0.01
_POLL = 0.05
"""Seconds between looks whether another process has written."""
_PRAGMAS = (
    "journal_mode = WAL",
    # What is acknowledged is on the disk. NORMAL may lose the last commits in a power cut.
    "synchronous = FULL",
    "cache_size = -32768",  # KiB
    "temp_store = MEMORY",
)

_SENTENCES = {
    "SQLITE_BUSY": ("is locked by another program", True),
    "SQLITE_LOCKED": ("is locked by another program", True),
    "SQLITE_INTERRUPT": ("did not answer in time", True),
    "SQLITE_FULL": ("has no room left on its disk", False),
    "SQLITE_READONLY": ("can't be written to", False),
    "SQLITE_CANTOPEN": ("can't be opened", False),
    "SQLITE_PERM": ("is not ours to open", False),
    "SQLITE_NOTADB": ("is not a database", False),
    "SQLITE_CORRUPT": ("is damaged", False),
    "SQLITE_IOERR": ("can't be read or written: its disk reports an error", False),
    "SQLITE_TOOBIG": ("refuses a value as too large", False),
}


class SqliteDialect(Dialect):
    """Speak to SQLite 3.35 or newer.

    The file can only be exchanged for an older copy while nobody has it open. So whoever opens it
    first begins a new epoch; a lock on a file beside it tells who is first.
    """

    name = "SQLite"
    begin_read = "BEGIN"
    begin_write = "BEGIN IMMEDIATE"
    connections = 4
    writers = 1
    check = 1.0

    def __init__(
        self, url: str, *, clock: Callable[[], float] = time.time, poll: float = _POLL
    ) -> None:
        """Raise StartupError for a URL that names no file."""
        self._path = _read_path(url)
        self.where = str(self._path)
        self._clock = clock
        self._poll = poll
        self._lock: int | None = None
        self._first = False
        self._owner = ""
        self._file: tuple[int, int] | None = None

    def engine(self) -> AsyncEngine:
        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(self._path)),
            connect_args={"timeout": _BUSY, "cached_statements": 256},
            poolclass=AsyncAdaptedQueuePool,
            pool_size=self.connections + 1,  # one listens
            max_overflow=0,
            pool_reset_on_return=None,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            skip_autocommit_rollback=True,
        )
        event.listen(engine.sync_engine, "do_connect", _connect)
        event.listen(engine.sync_engine, "connect", _set_up)
        return engine

    def exists(self) -> bool:
        return self._path.exists()

    async def inspect(self, connection: AsyncConnection) -> None:
        version = sqlite3.sqlite_version
        if sqlite3.sqlite_version_info < _OLDEST:
            raise StartupError(f"Python has SQLite {version} here: streamd needs 3.35 or newer")
        mode = (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar_one()
        if mode != "wal":
            raise StartupError(
                f"{self.where} lies where SQLite can't keep a write-ahead log (its journal is {mode!r}): "
                "put it on a disk of this machine"
            )

    async def lock_schema(self, connection: AsyncConnection) -> None:
        pass  # A transaction that writes is alone.

    # Whose the log is.

    @asynccontextmanager
    async def ownership(self) -> AsyncGenerator[None]:
        path = self._path.with_name(self._path.name + "-lock")
        if not path.parent.is_dir():
            raise Failure("SQLITE_CANTOPEN", "SQLite is in no folder that is there", repeat=False)
        try:
            # Never the file itself: to close it would drop the locks that SQLite has on it.
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as exc:
            sentence = f"SQLite has a lock beside it that can't be opened ({exc.strerror})"
            raise Failure("SQLITE_CANTOPEN", sentence, repeat=False) from exc
        try:
            self._first = await self._take_lock(self._lock)
            yield
        finally:
            os.close(self._lock)
            self._lock = None

    @staticmethod
    async def _take_lock(lock: int) -> bool:
        """Lock the file for one or, where others have it open, for all; tell whether it is for one."""
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            except OSError:
                return True  # A file system without such locks: each opening counts as the first.
            else:
                return True
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(_LOCK_PAUSE)  # The first one is opening it.
            else:
                return False

    async def claim(self, connection: AsyncConnection, owner: str) -> str:
        if self._first:
            # So does whoever opens another stream of the file, and finds us there.
            await connection.execute(update(STREAMS).values(owner=""))
        self._owner = secrets.token_urlsafe(6) if self._first or not owner else owner
        return self._owner

    async def claimed(self) -> None:
        self._file = self._file or self._identify()
        while self._first and self._lock is not None:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                # To be given, it was let go for a moment, and another took it: that one is first, too.
                await asyncio.sleep(_LOCK_PAUSE)
            except OSError:
                self._first = False
            else:
                self._first = False

    def verify(self) -> None:
        # What is open goes on without a name, and nobody would ever find what is stored there.
        if self._file is not None and self._identify() != self._file:
            sentence = "SQLite has lost its file, which was moved, removed or replaced: put it back, or restart"
            raise Failure("SQLITE_MOVED", sentence, repeat=False)

    def _identify(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def owner(self) -> ColumnElement[str]:
        return bindparam("owner", callable_=lambda: self._owner)

    # Statements.

    def now(self) -> ColumnElement[int]:
        return bindparam("now", callable_=lambda: int(self._clock() * 1000))

    def later(self, one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
        return func.max(one, other)

    def texts(self, name: str) -> Select[tuple[str]]:
        return select(func.json_each(bindparam(name)).table_valued("value").c.value)

    def numbers(self, name: str) -> Select[tuple[int]]:
        return select(func.json_each(bindparam(name)).table_valued("value").c.value)

    def pack(self, values: Sequence[str] | Sequence[int]) -> Any:
        return orjson.dumps(values).decode()

    def pairs(self) -> Select[tuple[str, int]]:
        pair = func.json_each(bindparam("pairs")).table_valued("value").c.value
        return select(func.json_extract(pair, "$[0]"), func.json_extract(pair, "$[1]"))

    def pack_pairs(self, pairs: Sequence[tuple[str, int]]) -> dict[str, Any]:
        return {"pairs": orjson.dumps(pairs).decode()}

    def heads(self, *, forward: bool) -> Select[Any]:
        wanted = func.json_each(bindparam("pairs")).table_valued("value", name="wanted")
        term, start = (func.json_extract(wanted.c.value, path) for path in ("$[0]", "$[1]"))
        places = posting_list(term, start, forward=forward).correlate(wanted).subquery("places")
        told = select(func.group_concat(places.c.seq)).correlate(wanted).scalar_subquery()
        return select(term, told)

    def read_places(self, told: Any) -> list[Seq]:
        return [int(place) for place in str(told).split(",")] if told is not None else []

    # Hints.

    def announcement(self) -> Sequence[ColumnElement[Any]]:
        return ()

    async def listen(self, stream: int, engine: AsyncEngine) -> AsyncGenerator[None]:
        async with engine.connect() as connection:
            known: int | None = None
            while True:
                version = (await connection.exec_driver_sql("PRAGMA data_version")).scalar_one()
                if version != known:
                    known = version
                    yield
                await asyncio.sleep(self._poll)

    # Errors.

    def failure(self, error: Exception, *, committing: bool) -> Failure | None:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if not isinstance(cause, sqlite3.Error):
            return None
        name = getattr(cause, "sqlite_errorname", "SQLITE_ERROR")
        for code, (sentence, repeat) in _SENTENCES.items():
            if name.startswith(code):
                executed = committing and code not in ("SQLITE_BUSY", "SQLITE_FULL")
                return Failure(code, f"SQLite {sentence}", repeat=repeat, executed=executed)
        return Failure(
            name,
            f"SQLite answered with an unexpected error ({name})",
            repeat=False,
            executed=committing,
        )


def _connect(dialect: Any, record: Any, words: Sequence[Any], options: dict[str, Any]) -> Any:
    return await_only(_open(dialect, words, options))


async def _open(dialect: Any, words: Sequence[Any], options: dict[str, Any]) -> Any:
    """Return a connection; who gives up waits until it is open, and closes it."""
    # The driver would leave its thread to itself, with news for an event loop that may be gone by then.
    opening = asyncio.create_task(
        greenlet_spawn(dialect.connect, *words, **options), name="sqlite: open"
    )
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.wait({opening})
        if opening.exception() is None:
            await greenlet_spawn(opening.result().close)
        raise


def _set_up(connection: Any, record: Any) -> None:
    try:
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
    except BaseException:
        connection.close()  # The pool knows nothing of it yet.
        raise


def _read_path(url: str) -> Path:
    """Return the file that a URL names, as SQLAlchemy reads it: sqlite:///relative, sqlite:////absolute."""
    try:
        read = make_url(url)
    except ArgumentError as exc:
        raise StartupError(
            "the store's URL is not one of sqlite:///FILE or sqlite:////ABSOLUTE/FILE"
        ) from exc
    if read.host or read.query:
        raise StartupError(
            "the store's URL is not one of sqlite:///FILE or sqlite:////ABSOLUTE/FILE"
        )
    if read.database in (None, "", ":memory:"):
        raise StartupError(
            "SQLite in memory is shared with nobody: for a log in memory take the store memory:"
        )
    return Path(read.database).absolute()


class SqliteStore(SqlStore):
    """Keep the log in a file: durable when acknowledged, for the processes of one machine."""

    def __init__(self, url: str, stream: Stream, **options: Any) -> None:
        super().__init__(SqliteDialect(url), stream, **options)
