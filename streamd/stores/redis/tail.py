"""The tail: every new entry in order, pushed by Redis and made complete by reading."""

import asyncio
import logging
from random import Random

from redis import exceptions as driver
from redis.asyncio.connection import AbstractConnection

from streamd.cursor import Chain
from streamd.errors import CallError
from streamd.log import LogState, Run
from streamd.stores.base import Observer
from streamd.stores.failure import Failure
from streamd.stores.outage import Outage, pause_of
from streamd.stores.redis.access import Access
from streamd.stores.redis.replies import Published, read_entries, read_published
from streamd.stores.redis.scripts import SCAN
from streamd.types import Seq

__all__ = ["Follower"]

logger = logging.getLogger("streamd.stores.redis")

_RUN_ENTRIES = 1_000
_RUN_BYTES = 1 << 20


class Follower:
    """Follow the log from one place on.

    Publishing is a hint and nothing more: a message may be lost without a word, the last one
    without a successor that would show it. So numbers tell what is missing, and whenever it was
    quiet for `check` seconds the log itself is read.
    """

    def __init__(
        self,
        access: Access,
        since: Seq,
        chain: Chain,
        *,
        check: float,
        random: Random,
        observer: Observer,
    ) -> None:
        self._access = access
        self._observer = observer
        self._since = since
        self._chain = chain
        self._floor: Seq = 1
        self._check = check
        self._random = random
        self._connection: AbstractConnection | None = None
        self._due = 0.0
        """When the log is to be read, by the loop's clock; 0 is at once."""
        self._outage = Outage(
            logger,
            "the tail lost Redis, and tries until it is back",
            "the tail has found Redis again",
            observer,
        )
        self._foreign: str | None = None
        """An epoch not ours, of which the last message was."""
        self._repairing = True
        """Whether a gap is being read that was told of; at the beginning it is none."""

    async def next(self) -> Run:
        """Return the next run, however long that takes."""
        while True:
            try:
                run = await self._advance()
            except TimeoutError:
                await self._lose("it does not answer")
            except (Failure, CallError, driver.RedisError, OSError) as exc:
                await self._lose(str(exc))
            except ValueError:
                # Its text would quote what was read, and that may be of an event.
                await self._lose("what it told is not of our form")
            else:
                self._outage.succeed()
                if run is not None:
                    return run

    async def aclose(self) -> None:
        """Disconnect; idempotent."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await self._access.link.close(connection)

    async def _lose(self, reason: str) -> None:
        """Begin anew, after a while."""
        await self.aclose()
        # Everything since `_since` is read when the subscription stands again.
        self._outage.fail(reason)
        await asyncio.sleep(pause_of(self._outage.failures, self._random))

    async def _advance(self) -> Run | None:
        if self._connection is None:
            await self._subscribe()
            return await self._read()
        clock = asyncio.get_running_loop().time
        left = self._due - clock()
        if left <= 0:
            return await self._look()
        reply = await self._connection.read_response(timeout=left)
        if isinstance(reply, list) and reply[0] == b"message":
            return self._take(read_published(reply[2]))
        if reply is not None:
            self._due = 0  # Something unexpected: what it means, the log tells.
        return None

    async def _subscribe(self) -> None:
        """Subscribe, and await that it stands: what is appended from now on will come."""
        async with asyncio.timeout(self._access.deadline):
            connection = self._connection = await self._access.link.connect()
            await connection.send_command("SUBSCRIBE", self._access.names.channel)
            reply = await connection.read_response()
        if not isinstance(reply, list) or reply[0] != b"subscribe":
            raise Failure("ANSWER", "Redis did not confirm the subscription", repeat=True)

    def _take(self, published: Published) -> Run | None:
        """Return the run that a message brings, or None if it brings none or not the next one."""
        entries = published.entries
        if published.epoch != self._chain.epoch:
            self._foreign = published.epoch
            self._due = 0
            return None
        if not entries or entries[0].seq > self._since + 1:
            self._due = 0
            return None
        entries = entries[max(0, self._since + 1 - entries[0].seq) :]
        if not entries:
            return None  # The log was read since it was sent.
        since, self._since = self._since, entries[-1].seq
        self._floor = max(self._floor, published.floor)
        self._quiet_from_now()
        return Run(LogState(self._chain, self._since, self._floor), since, entries, self._since)

    def _quiet_from_now(self) -> None:
        now = asyncio.get_running_loop().time()
        self._due = now + self._check * self._random.uniform(1, 2)

    async def _look(self) -> Run:
        """Read the log, because a message told of a gap or none came for a while."""
        told = self._due == 0
        foreign, self._foreign = self._foreign, None
        before = self._chain, self._since
        run = await self._read()
        silent = (self._chain, self._since) != before and not told
        # A subscription that was silent about entries may be dead, and never say so; one that brings
        # those of another log may lead to a server which is no longer the primary.
        if silent or foreign not in (None, self._chain.epoch):
            logger.info("the tail subscribes anew: it was told other things than the log has")
            await self.aclose()
        return run

    async def _read(self) -> Run:
        """Read what comes next in the log itself."""
        access = self._access
        since = self._since
        names = (access.names.meta, access.names.log)
        while True:
            arguments = (1, since, _RUN_ENTRIES, _RUN_BYTES, 0)
            reply = await access.run(SCAN, names, arguments)
            begin = reply.state.resumes(since, self._chain)
            if begin == since:
                break
            since = begin
        state, (reached, *members) = reply
        entries = read_entries(members)
        self._chain, self._since, self._floor = state.chain, int(reached), state.floor
        if self._since >= state.head:
            self._quiet_from_now()
        else:
            self._due = 0
        self._note_repair(len(entries))
        return Run(state, since, entries, self._since)

    def _note_repair(self, entries: int) -> None:
        """Tell of entries that should have been pushed: of a gap once, however often it has to be read."""
        if entries and not self._repairing:
            logger.info("the tail read what Redis had not pushed: %d entries or more", entries)
            self._observer.repaired()
        self._repairing = self._due == 0
