"""Running scripts on the stream: repeated until the deadline, with the log taken over where need be."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, NamedTuple

from streamd.cursor import Chain
from streamd.event import Keys
from streamd.log import LogState
from streamd.stores.base import Stream
from streamd.stores.failure import persist
from streamd.stores.redis.link import FOREIGN, Argument, Link
from streamd.stores.redis.replies import read_state
from streamd.stores.redis.scripts import OPEN, Names, Script

__all__ = ["Access", "Reply"]

logger = logging.getLogger("streamd.stores.redis")

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
        self._foreign = False
        """Whether lists that are none have been told of."""

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

    def note_foreign(self, lists: int) -> None:
        """Tell, once, of lists of terms that are none, and so lack what was stored."""
        if lists and not self._foreign:
            logger.error(
                "%s: lists of the index are none, and what is inserted is not found by their values; "
                "remove these keys, then run streamd check --repair",
                FOREIGN,
            )
            self._foreign = True

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
        return await persist(
            partial(self.attempt, script, keys, arguments),
            self.take_over,
            deadline=self.deadline,
            random=self._random,
            writes=writes,
        )
