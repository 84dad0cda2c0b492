"""Retention: raising the floor, and removing what lies below it in small steps."""

import logging
import secrets
from random import Random

from streamd.limits import Limits
from streamd.stores.redis.access import Access
from streamd.stores.redis.scripts import EXPIRED, REMOVE, RETAIN
from streamd.stores.retention import Retention
from streamd.types import Seq

__all__ = ["Sweeper"]

logger = logging.getLogger("streamd.stores.redis")

_STEP_ENTRIES = 500
_STEP_BYTES = 4 << 20
"""What one script may remove or look at: Redis serves nobody else meanwhile."""
_LEASE_MS = 10_000


class Sweeper(Retention):
    """Forget what is older than the limits.

    The floor goes up first, and hides what lies below at once. A lease keeps the workers from doing
    the same work; if two do, the second finds it done. Entries and their places in the terms' lists go in
    one script, so a crash leaves nothing that the next step would not find.
    """

    def __init__(self, access: Access, limits: Limits, *, random: Random) -> None:
        super().__init__("Redis", logger, random)
        self._access = access
        self._max_events = limits.max_events or 0
        self._max_age_ms = 0 if limits.max_age is None else max(1, int(limits.max_age * 1000))
        if limits.max_age is not None:
            self._pause = min(1.0, limits.max_age / 10)
        self._name = secrets.token_urlsafe(9)

    async def step(self) -> float | None:
        """Sweep; where nothing is to be forgotten, only until nothing is left over."""
        clean = await self.sweep()
        return None if clean and not (self._max_events or self._max_age_ms) else self._pause

    async def sweep(self) -> bool:
        """Raise the floor and remove all below it; tell whether that was ours to do."""
        swept = await self._raise_floor()
        if swept is None:
            return False
        done = 0
        while swept is not None:
            before, swept = swept, await self._step(swept)
            done += 1
            if done % 100 == 0 and await self._raise_floor() is None:
                return False  # The lease ran out meanwhile.
            if swept == before:
                return True
        return False

    async def _raise_floor(self) -> Seq | None:
        """Return the last place removed, or None if another worker has the lease."""
        names = self._access.names
        arguments = (self._name, _LEASE_MS, self._max_events, self._max_age_ms)
        keys = (names.meta, names.log, names.lease)
        reply = await self._access.run(RETAIN, keys, arguments)
        return int(reply.rest[0]) if reply.rest else None

    async def _step(self, swept: Seq) -> Seq:
        """Remove some entries; return the last place that is removed then."""
        access = self._access
        keys = (access.names.meta, access.names.log)
        arguments = (swept, _STEP_ENTRIES, _STEP_BYTES)
        state, (reached, *terms) = await access.run(EXPIRED, keys, arguments)
        if int(reached) == swept:
            return swept
        lists = [access.names.term(term.decode()) for term in terms]
        removal = (state.chain.epoch, swept, int(reached))
        reply = await access.run(REMOVE, (*keys, *lists), removal)
        return int(reply.rest[0])
