"""Retention: raising the floor, and removing what lies below it in small steps."""

import asyncio
import logging
import secrets
from random import Random

from streamd.errors import CallError
from streamd.limits import Limits
from streamd.stores.redis.access import Access
from streamd.stores.redis.scripts import EXPIRED, REMOVE, RETAIN
from streamd.types import Seq

__all__ = ["Sweeper"]

logger = logging.getLogger("streamd.stores.redis")

_STEP_ENTRIES = 500
_STEP_BYTES = 4 << 20
"""What one script may remove or look at: Redis serves nobody else meanwhile."""
_LEASE_MS = 10_000


class Sweeper:
    """Forget what is older than the limits.

    The floor goes up first, and hides what lies below at once. A lease keeps the workers from doing
    the same work; if two do, the second finds it done. Entries and their places in the terms' lists go in
    one script, so a crash leaves nothing that the next step would not find.
    """

    def __init__(self, access: Access, limits: Limits, *, random: Random) -> None:
        self._access = access
        self._max_events = limits.max_events or 0
        self._max_age_ms = 0 if limits.max_age is None else max(1, int(limits.max_age * 1000))
        self._pause = 1.0 if limits.max_age is None else min(1.0, limits.max_age / 10)
        self._random = random
        self._name = secrets.token_urlsafe(9)

    async def serve(self) -> None:
        """Sweep until cancelled; or, where nothing is to be forgotten, until nothing is left over."""
        waiting = False
        while True:
            try:
                clean = await self.sweep()
            except CallError as error:
                if not waiting:
                    logger.warning("retention waits for Redis: %s", error)
                waiting, clean = True, False
            except Exception:
                # A defect, and nobody waits for this task: it must be seen.
                logger.critical("retention has ended; nothing is forgotten any more", exc_info=True)
                raise
            else:
                if waiting:
                    logger.info("retention goes on")
                waiting = False
            if clean and not self._max_events and not self._max_age_ms:
                return
            await asyncio.sleep(self._pause * self._random.uniform(0.5, 1))

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
