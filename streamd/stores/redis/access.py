"""Running scripts on the stream: repeated until the deadline, with the log taken over where need be."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

from streamd.cursor import Chain
from streamd.errors import StoreUnavailable, UnknownOutcome
from streamd.event import Keys
from streamd.log import LogState
from streamd.stores.base import Stream
from streamd.stores.redis.link import Argument, Failure, Link
from streamd.stores.redis.replies import read_state
from streamd.stores.redis.scripts import OPEN, Names, Script

__all__ = ["Access", "Reply"]

_SCHEMA = "1"
"""The form of the stream's keys in Redis."""


class Reply(NamedTuple):
    """What a script told."""

    state: LogState
    """The log at the moment the script ran."""
    rest: list[Any]
    """What it told beside that."""


class Access:
    """Run scripts on one stream.

    A number belongs to the tenure of a server as primary (a process, until it becomes a replica):
    each script compares the stream's owner with the server it runs on, and refuses where they
    differ. Then `open.lua` is run, which begins a new epoch, and the script is repeated. So neither
    a restart from older data nor a promoted replica can give a second meaning to a number, and
    nothing depends on when a driver connects anew.
    """

    def __init__(
        self, link: Link, stream: Stream, *, random: Random, new_epoch: Callable[[], str]
    ) -> None:
        self.link = link
        self.names = Names(stream.name, link.database)
        self.deadline = stream.limits.store_deadline
        self.keys = stream.keys
        """Those that the stream has, once it is open."""
        self._stream = stream
        self._random = random
        self._new_epoch = new_epoch
        self._chain: Chain | None = None

    async def take_over(self, timeout: float) -> LogState:
        """Open the log on the server that is there now; raise Failure."""
        names = self.names
        arguments = ("", self._new_epoch(), str(self._stream.keys), _SCHEMA, names.channel)
        reply = await self.link.run(OPEN, (names.meta, names.log), arguments, timeout=timeout)
        state = read_state(reply, None)
        if not self._stream.keys:
            self.keys = Keys.parse(reply[4].decode(), self._stream.limits)
        if state.chain != self._chain:
            self._chain = state.chain
        return state

    async def attempt(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], timeout: float
    ) -> Reply:
        """Run a script once; raise Failure."""
        known = self._chain
        epoch = known.epoch if known else ""
        reply = await self.link.run(script, keys, (epoch, *arguments), timeout=timeout)
        state = read_state(reply, known)
        self._chain = state.chain
        return Reply(state, reply[4:])

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[Argument] = (),
        *,
        writes: bool = False,
    ) -> Reply:
        """Run a script, again and again until the deadline; raise StoreUnavailable.

        Where it `writes`, raise UnknownOutcome if one of the attempts may have been executed.
        """
        clock = asyncio.get_running_loop().time
        end = clock() + self.deadline
        # The first attempt leaves time for a second one, by a new connection.
        patience = self.deadline / 2
        executed = False
        error: Failure | None = None
        for pause in self._pauses():
            try:
                return await self.attempt(script, keys, arguments, patience)
            except Failure as failure:
                executed = executed or failure.executed
                # An attempt that the deadline cut short knows less than the one before.
                error = error if error and failure.code == "SILENT" else failure
            try:
                if error.code == "OWNER":
                    await self.take_over(max(end - clock(), 0))
            except Failure as failure:
                error = failure
            patience = end - clock() - pause
            if not error.repeat or patience <= 0:
                if writes and executed:
                    raise UnknownOutcome from error
                raise unavailable(error) from error
            await asyncio.sleep(pause)
        raise AssertionError("pauses never end")

    def _pauses(self) -> Iterator[float]:
        yield 0  # A log that changed hands, a connection that had died of old age: at once again.
        longest = 0.02
        while True:
            yield self._random.uniform(0.005, longest)
            longest = min(longest * 2, 1)


def unavailable(failure: Failure) -> StoreUnavailable:
    """Return what callers get to see of a failure."""
    if failure.code == "KEYS":
        return StoreUnavailable("the stream in Redis now has other keys than this server")
    if failure.code == "ABSENT":
        return StoreUnavailable("the stream in Redis is gone")
    if failure.code == "SCHEMA":
        return StoreUnavailable("the stream in Redis was written by another version of streamd")
    return StoreUnavailable(f"the store is not available: {failure.sentence}")
