"""The SQL store: a log in a file, or one that all workers on all hosts share."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from random import Random

from streamd.cursor import EPOCH_BYTES, Chain
from streamd.errors import StartupError
from streamd.filters import Filter
from streamd.log import Draft, LogState, Page, Run
from streamd.stores.base import Appended, Bounds, Store, Stream, Upkeep, no_stream
from streamd.stores.failure import Failure, open_in_time
from streamd.stores.sql.access import Access
from streamd.stores.sql.appending import Appender
from streamd.stores.sql.dialect import Dialect
from streamd.stores.sql.reading import Reader
from streamd.stores.sql.retention import Sweeper
from streamd.stores.sql.tail import Hints, follow
from streamd.stores.sql.upkeep import SqlUpkeep
from streamd.types import Seq

__all__ = ["SqlStore"]


class SqlStore(Store):
    """Keep the log in an SQL database; its subclasses say in which."""

    def __init__(
        self,
        dialect: Dialect,
        stream: Stream,
        *,
        random: Random | None = None,
        new_epoch: Callable[[], str] = lambda: secrets.token_urlsafe(EPOCH_BYTES),
    ) -> None:
        self._dialect = dialect
        self._stream = stream
        self._random = random or Random()
        self._access = Access(dialect, stream, random=self._random, new_epoch=new_epoch)
        self._appender = Appender(self._access, stream.limits)
        self._reader = Reader(self._access)
        self._hints = Hints(self._access, random=self._random)
        self._retention: asyncio.Task[None] | None = None
        self._held = AsyncExitStack()
        self._owned = False
        """Whether what is held says that the log is ours to open."""

    # The lifecycle.

    async def open(self) -> LogState:
        try:
            state = await self._open()
        except BaseException:
            await self.aclose()
            raise
        if self._stream.forgets:
            sweeper = Sweeper(self._access, self._stream.limits, random=self._random)
            self._retention = asyncio.create_task(sweeper.serve(), name="sql store: retention")
        return state

    async def _open(self) -> LogState:
        if not self._stream.keys and not self._dialect.exists():
            raise no_stream(self._stream.name, self._where)
        try:
            return await open_in_time(self._try_to_open, self._stream.limits.store_deadline)
        except Failure as failure:
            raise self._refusal(failure) from failure

    async def _try_to_open(self, end: float) -> LogState:
        clock = asyncio.get_running_loop().time
        try:
            if not self._owned:
                async with asyncio.timeout_at(end):
                    await self._held.enter_async_context(self._dialect.ownership())
                self._owned = True
            await self._access.attempt(self._dialect.inspect, end - clock())
            return await self._access.take_over(end - clock())
        except TimeoutError as exc:
            raise StartupError(f"{self._where} is being opened by another process") from exc

    @property
    def _where(self) -> str:
        return f"{self._dialect.name} at {self._dialect.where}"

    def _refusal(self, failure: Failure) -> StartupError:
        stream = self._stream
        match failure.code:
            case "KEYS":
                return StartupError(
                    f"stream {stream.name!r} in {self._where} has the keys {failure.found}, not {stream.keys}: "
                    "start with its keys (--keys), or name another stream (--stream)"
                )
            case "ABSENT":
                return no_stream(stream.name, self._where)
            case "SCHEMA":
                return StartupError(
                    f"{self._where} was written by a newer version of streamd (its form is "
                    f"{failure.found}): start that, or take another database"
                )
        told = failure.sentence.replace(self._dialect.name, self._where, 1)
        if failure.code == "UNREACHABLE":
            told += ": start it, or name another store"
        return StartupError(told)

    async def aclose(self) -> None:
        if self._retention is not None:
            self._retention.cancel()
            await asyncio.gather(self._retention, return_exceptions=True)
            self._retention = None
        await self._hints.aclose()
        await self._access.aclose()
        await self._held.aclose()
        self._owned = False

    # Writing.

    async def append(self, calls: Sequence[Sequence[Draft]], batch: str) -> Appended:
        return await self._appender.append(calls, batch)

    # Reading.

    async def state(self) -> LogState:
        return await self._reader.state()

    async def newest(self, wanted: Filter, bounds: Bounds, before: Seq | None = None) -> Page:
        return await self._reader.newest(wanted, bounds, before)

    async def after(self, since: Seq, wanted: Filter, bounds: Bounds) -> Run:
        return await self._reader.after(since, wanted, bounds)

    async def tail(self, since: Seq, chain: Chain) -> AsyncGenerator[Run]:
        runs = follow(
            self._access,
            self._reader,
            self._hints,
            since,
            chain,
            random=self._random,
            observer=self.observer,
        )
        async with aclosing(runs):
            async for run in runs:
                yield run

    # Upkeep.

    def upkeep(self) -> Upkeep:
        return SqlUpkeep(self._access, self._appender, self._reader)
