"""The Redis store: one log that all workers share."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from random import Random

from streamd.cursor import EPOCH_BYTES, Chain
from streamd.errors import StartupError
from streamd.filters import Filter
from streamd.log import Draft, LogState, Page, Run
from streamd.stores.base import Appended, Bounds, Store, Stream, Upkeep, no_stream
from streamd.stores.failure import Failure, open_in_time
from streamd.stores.redis.access import Access
from streamd.stores.redis.link import Argument, Link, read_url
from streamd.stores.redis.reading import Reader
from streamd.stores.redis.replies import list_calls, read_verdicts
from streamd.stores.redis.retention import Sweeper
from streamd.stores.redis.scripts import APPEND, MESSAGE_BYTES
from streamd.stores.redis.tail import Follower
from streamd.stores.redis.upkeep import RedisUpkeep
from streamd.types import Seq

__all__ = ["RedisStore"]

_OLDEST = (7, 0)
_BATCH_LIFETIME = 30.0
"""Seconds that a batch is remembered at least, for whoever did not get its answer."""


class RedisStore(Store):
    """Keep the log in Redis: as durable as that server is set up to be, for any number of workers."""

    def __init__(
        self,
        url: str,
        stream: Stream,
        *,
        random: Random | None = None,
        new_epoch: Callable[[], str] = lambda: secrets.token_urlsafe(EPOCH_BYTES),
        check: float = 1.0,
    ) -> None:
        """Prepare; `check` is how many seconds of silence a tail believes (jittered up to twice that)."""
        self._stream = stream
        self._limits = stream.limits
        self._random = random or Random()
        self._check = check
        self._link = Link(read_url(url), stream.limits.store_deadline)
        self._access = Access(self._link, stream, random=self._random, new_epoch=new_epoch)
        self._names = self._access.names
        self._reader = Reader(self._access)
        self._retention: asyncio.Task[None] | None = None
        self._tails: set[Follower] = set()

    # The lifecycle.

    async def open(self) -> LogState:
        try:
            state = await self._open()
        except BaseException:
            await self._link.aclose()
            raise
        if self._stream.forgets:
            sweeper = Sweeper(self._access, self._limits, random=self._random)
            self._retention = asyncio.create_task(sweeper.serve(), name="redis store: retention")
        return state

    async def _open(self) -> LogState:
        try:
            return await open_in_time(self._try_to_open, self._limits.store_deadline)
        except Failure as failure:
            raise self._refusal(failure) from failure

    async def _try_to_open(self, end: float) -> LogState:
        clock = asyncio.get_running_loop().time
        self._check_server(await self._link.call(("INFO",), timeout=end - clock()))
        return await self._access.take_over(end - clock())

    def _check_server(self, info: bytes) -> None:
        lines = (line.partition(":") for line in info.decode(errors="replace").splitlines())
        facts = {name: value for name, _, value in lines}
        version = facts.get("redis_version", "0.0")
        if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
            raise StartupError(
                f"Redis at {self._link.where} is of version {version}: streamd needs 7.0 or newer, or Valkey"
            )
        policy = facts.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise StartupError(
                f"Redis at {self._link.where} drops keys when its memory is full (maxmemory-policy {policy}), "
                "and with them parts of the log: set maxmemory-policy to noeviction"
            )

    def _refusal(self, failure: Failure) -> StartupError:
        where = f"Redis at {self._link.where}"
        stream = self._stream
        match failure.code:
            case "KEYS":
                return StartupError(
                    f"stream {stream.name!r} in {where} has the keys {failure.found}, not {stream.keys}: "
                    "start with its keys (--keys), or name another stream (--stream)"
                )
            case "ABSENT":
                return no_stream(stream.name, where)
            case "SCHEMA":
                return StartupError(
                    f"stream {stream.name!r} in {where} was written by another version of streamd "
                    f"(its form is {failure.found}): name another stream (--stream)"
                )
            case "UNREACHABLE":
                why = failure.sentence.removeprefix("Redis can't be reached").strip()
                return StartupError(
                    f"{where} can't be reached{why and ' ' + why}: start it, or name another store"
                )
        return StartupError(f"{where} can't be used: {failure.sentence}")

    async def aclose(self) -> None:
        if self._retention is not None:
            self._retention.cancel()
            await asyncio.gather(self._retention, return_exceptions=True)
            self._retention = None
        for follower in list(self._tails):
            await follower.aclose()
        await self._link.aclose()

    # Writing.

    async def append(self, calls: Sequence[Sequence[Draft]], batch: str) -> Appended:
        limits, names = self._limits, self._names
        batched, terms = list_calls(calls)
        keys = [names.meta, names.log, names.ids, names.old_ids, names.batches, names.old_batches]
        keys += map(names.term, terms)
        arguments: list[Argument] = [
            batch,
            int(limits.insert_id_lifetime * 1000),
            int(max(limits.store_deadline * 2, _BATCH_LIFETIME) * 1000),
            limits.max_events or 0,
            names.channel,
            MESSAGE_BYTES,
            *batched,
        ]
        state, (record, foreign) = await self._access.run(APPEND, keys, arguments, writes=True)
        self._access.note_foreign(foreign)
        return Appended(state.chain, read_verdicts(record, calls))

    # Reading.

    async def state(self) -> LogState:
        return await self._reader.state()

    async def newest(self, wanted: Filter, bounds: Bounds, before: Seq | None = None) -> Page:
        return await self._reader.newest(wanted, bounds, before)

    async def after(self, since: Seq, wanted: Filter, bounds: Bounds) -> Run:
        return await self._reader.after(since, wanted, bounds)

    async def tail(self, since: Seq, chain: Chain) -> AsyncGenerator[Run]:
        follower = Follower(
            self._access,
            since,
            chain,
            check=self._check,
            random=self._random,
            observer=self.observer,
        )
        self._tails.add(follower)
        try:
            while True:
                yield await follower.next()
        finally:
            self._tails.discard(follower)
            await follower.aclose()

    # Upkeep.

    def upkeep(self) -> Upkeep:
        return RedisUpkeep(self._access, max_events=self._limits.max_events)
