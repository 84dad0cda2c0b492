"""Transactions on the stream: repeated until the deadline, with the log taken over where need be."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Executable, Row, bindparam, case, insert, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamd.cursor import Chain
from streamd.errors import StartupError
from streamd.event import Keys
from streamd.log import LogState
from streamd.stores.base import Stream
from streamd.stores.failure import Failure, persist
from streamd.stores.sql.dialect import Dialect
from streamd.stores.sql.schema import STREAMS, SWEEPS, create, is_there
from streamd.types import Seq

__all__ = ["Access", "Head"]

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]

_GRACE = 0.2
"""Seconds that an attempt which is out of time has to clear up, before it is left to itself."""
_PLACES = 1 << 48
"""Places that a stream can have, one beside the other in the log."""


class Head(NamedTuple):
    """The head row, held."""

    state: LogState
    time: int
    """Of what is to be stored now, in ms."""


class Access:
    """Run transactions on one stream.

    A number belongs to the tenure of a database: each transaction compares the stream's owner with
    the database it runs in, and is refused where they differ. Then a new epoch begins, and the
    transaction is repeated. So older data that was put back never gives a second meaning to a number.
    """

    def __init__(
        self, dialect: Dialect, stream: Stream, *, random: Random, new_epoch: Callable[[], str]
    ) -> None:
        self.dialect = dialect
        self.engine = dialect.engine()
        self.keys = stream.keys
        """Those that the stream has, once it is open."""
        self.stream = 0
        """The stream's number in the database, once it is open."""
        self.on_head: Callable[[Seq], None] = lambda head: None
        """Told of the head whenever one is read."""
        self.on_commit: Callable[[], None] = lambda: None
        """Called whenever something was written."""
        self._declared = stream
        self._deadline = stream.limits.store_deadline
        self._random = random
        self._new_epoch = new_epoch
        self._chain = Chain("")
        self.writers = asyncio.Semaphore(dialect.writers)
        """Who writes waits here, where it can be ended, and not in the database."""
        self.connections = asyncio.Semaphore(dialect.connections)
        """Everybody waits here, and not in the pool."""
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False
        columns = STREAMS.c
        told = (
            columns.epoch,
            case((columns.epoch == bindparam("known"), null()), else_=columns.chain).label("chain"),
            columns.head,
            columns.floor,
            columns.time,
            (columns.owner == dialect.owner()).label("ours"),
        )
        ours = columns.id == bindparam("stream")
        self._read_head = select(*told).where(ours)
        time = dialect.later(columns.time, dialect.now())
        self._hold_head = update(STREAMS).where(ours).values(time=time).returning(*told)

    def id(self, seq: Seq) -> int:
        """Return what the entry at a place is called in the log of all streams."""
        return self.stream * _PLACES + seq

    # The head row.

    async def state(self, connection: AsyncConnection) -> LogState:
        """Read the log's state; raise Failure("OWNER") if it is not ours."""
        return self._state(*await self._ask_head(connection, self._read_head))

    async def hold(self, connection: AsyncConnection) -> Head:
        """Hold the head row until the transaction ends: nobody else numbers anything meanwhile."""
        row, known = await self._ask_head(connection, self._hold_head)
        state = self._state(row, known)
        assert row is not None
        return Head(state, row.time)

    async def _ask_head(
        self, connection: AsyncConnection, statement: Executable
    ) -> tuple[Row[Any] | None, Chain]:
        # The chain is told only where it is not the one known now, and others may learn it meanwhile.
        known = self._chain
        asked = {"stream": self.stream, "known": known.epoch}
        return (await connection.execute(statement, asked)).one_or_none(), known

    def _state(self, row: Row[Any] | None, known: Chain) -> LogState:
        if row is None:
            raise Failure("ABSENT", f"the stream in {self.dialect.name} is gone", repeat=False)
        if not row.ours:
            raise Failure("OWNER", f"{self.dialect.name} was restarted or exchanged", repeat=True)
        _check_head(row)
        if row.chain is not None:
            known = Chain.read(row.epoch, row.chain)
            if known != self._chain:
                self._chain = known
        self.on_head(row.head)
        return LogState(known, row.head, row.floor)

    # Taking over.

    async def take_over(self, timeout: float) -> LogState:
        """Open the log in the database that is there now; raise Failure or StartupError."""
        state = await self._attempt(self.dialect.begin_write, self._take_over, timeout)
        try:
            async with asyncio.timeout(timeout):
                await self.dialect.claimed()
        except TimeoutError as exc:
            sentence = f"{self.dialect.name} is being opened by another process"
            raise Failure("OPENING", sentence, repeat=True) from exc
        return state

    async def _take_over(self, connection: AsyncConnection) -> LogState:
        declared = self._declared
        await self.dialect.lock_schema(connection)
        if not declared.keys and not await is_there(connection):
            raise Failure("ABSENT", "no tables of streamd are there", repeat=False)
        await create(connection)
        query = select(STREAMS).where(STREAMS.c.name == declared.name).with_for_update()
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            return await self._create_stream(connection)
        if declared.keys and str(declared.keys) != row.keys:
            sentence = f"the stream in {self.dialect.name} has other keys by now"
            raise Failure("KEYS", sentence, repeat=False, found=row.keys)
        _check_head(row)
        self.keys = Keys.parse(row.keys, declared.limits)
        self.stream = row.id
        chain = Chain.read(row.epoch, row.chain)
        owner = await self.dialect.claim(connection, row.owner)
        if owner != row.owner:
            chain = chain.fork(self._new_epoch(), row.head, row.floor)
            values = {"epoch": chain.epoch, "chain": chain.write_closed(), "owner": owner}
            await connection.execute(update(STREAMS).where(STREAMS.c.id == row.id).values(values))
        self._chain = chain
        return LogState(chain, row.head, row.floor)

    async def _create_stream(self, connection: AsyncConnection) -> LogState:
        declared = self._declared
        if not declared.keys:
            raise Failure("ABSENT", "the stream is not there", repeat=False)
        state = LogState(Chain(self._new_epoch()), 0, 1)
        values = {
            "name": declared.name,
            "keys": str(declared.keys),
            "epoch": state.chain.epoch,
            "chain": "",
            "owner": await self.dialect.claim(connection, ""),
            "head": state.head,
            "floor": state.floor,
            "time": 0,
        }
        new = insert(STREAMS).values(values).returning(STREAMS.c.id)
        self.stream = (await connection.execute(new)).scalar_one()
        await connection.execute(insert(SWEEPS).values(stream=self.stream, swept=0))
        self._chain = state.chain
        return state

    # Transactions.

    async def attempt(self, work: Work[T], timeout: float) -> T:
        """Return what `work` reads, at one attempt; raise Failure."""
        return await self._attempt(self.dialect.begin_read, work, timeout)

    async def read(self, work: Work[T]) -> T:
        """Return what `work` reads, all of it as of one moment; raise StoreUnavailable."""
        return await self._persist(self.dialect.begin_read, work)

    async def ask(self, work: Work[T]) -> T:
        """Return what `work` reads by one statement, which needs no transaction."""
        return await self._persist(None, work)

    async def write(self, work: Work[T]) -> T:
        """Return what `work` says when all that it wrote is stored.

        It may be called several times, and must make sure itself that what it stores is stored once.
        Raise StoreUnavailable if nothing was, UnknownOutcome if that is not known.
        """
        written = await self._persist(self.dialect.begin_write, work)
        self.on_commit()
        return written

    async def _persist(self, begin: str | None, work: Work[T]) -> T:
        return await persist(
            lambda patience: self._attempt(begin, work, patience),
            self.take_over,
            deadline=self._deadline,
            random=self._random,
        )

    async def _attempt(self, begin: str | None, work: Work[T], patience: float) -> T:
        """Run a transaction once; raise Failure.

        It has a task of its own, because a driver may be slow to let go of what it was doing.
        """
        if self._closed:
            raise Failure("CLOSED", "the store is closed", repeat=False)
        transaction = _Transaction(self, begin, patience)
        task = asyncio.create_task(transaction.run(work), name="sql store: transaction")
        self._running.add(task)
        task.add_done_callback(self._end)
        try:
            await asyncio.wait({task}, timeout=patience + _GRACE)
        except asyncio.CancelledError:
            # What has begun is soon done. Those that wait behind it would be in others' way.
            if not transaction.begun:
                task.cancel()
            raise
        if not task.done():
            raise transaction.out_of_time()
        return task.result()

    def _end(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # Whoever waited for it may have gone.

    async def aclose(self) -> None:
        """Disconnect, when what is under way has ended; idempotent."""
        self._closed = True
        if self._running:
            await asyncio.wait(self._running, timeout=self._deadline)
        await self.engine.dispose()


class _Transaction:
    """One attempt at one transaction."""

    def __init__(self, access: Access, begin: str | None, patience: float) -> None:
        self._access = access
        self._begin = begin
        self._patience = patience
        self._writes = begin == access.dialect.begin_write
        self._committing = False
        self.begun = False
        """Whether it waits neither for another nor for a connection."""

    def out_of_time(self) -> Failure:
        """Return the failure of an attempt that took too long."""
        sentence = f"{self._access.dialect.name} does not answer"
        return Failure("SILENT", sentence, repeat=True, executed=self._committing and self._writes)

    async def run(self, work: Work[T]) -> T:
        """Run it; raise Failure."""
        self._access.dialect.verify()
        turn = self._access.writers if self._writes else contextlib.nullcontext()
        try:
            async with (
                asyncio.timeout(self._patience),
                turn,
                self._access.connections,
            ):
                async with self._access.engine.connect() as connection:
                    self.begun = True
                    return await self._run(connection, work)
        except (Failure, StartupError):
            raise
        except TimeoutError as exc:
            raise self.out_of_time() from exc
        except Exception as exc:
            committing = self._committing and self._writes
            failure = self._access.dialect.failure(exc, committing=committing)
            if failure is None and isinstance(exc, ValueError):
                # What was read is not what we wrote: a damaged page may look whole to the database, and
                # SQLite takes a value of any type from whoever else writes there.
                failure = Failure(
                    "DAMAGED", f"{self._access.dialect.name} is damaged", repeat=False
                )
            if failure is None:
                raise
            # The driver's words may show what was to be stored.
            raise failure from None

    async def _run(self, connection: AsyncConnection, work: Work[T]) -> T:
        try:
            if self._begin is None:
                return await work(connection)
            await connection.exec_driver_sql(self._begin)
            result = await work(connection)
            self._committing = True
            await connection.exec_driver_sql("COMMIT")
        except (Failure, StartupError):
            if self._begin is not None:
                await connection.exec_driver_sql("ROLLBACK")
            raise
        except BaseException:
            # What is under way on it, or left of it, nobody knows.
            await connection.invalidate()
            raise
        return result


def _check_head(row: Row[Any]) -> None:
    """Raise ValueError if a head row has other values than we write: nothing is built upon them."""
    if not (isinstance(row.epoch, str) and isinstance(row.chain, str | None)):
        raise ValueError("an epoch that is none")
    numbers = (row.head, row.floor, row.time)
    if not all(type(number) is int and 0 <= number < _PLACES for number in numbers):
        raise ValueError("a number that is none")
    if not 1 <= row.floor <= row.head + 1:
        raise ValueError("a floor beyond the head")
