"""The garbage collector of a process that only serves: it never stops the event loop for long.

Reference counts free what is used here: where connections end, cycles are cut by hand. So the collector
looks through the young objects, in portions of a millisecond or a few. To look through all of them takes
40 ms for 100,000 entries and 400 ms for a million; that is done only when so much memory was taken since the
last time that garbage may be a part of it worth having.
"""

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

__all__ = ["has_grown", "rare_collections"]

_YOUNG = 10_000
_MIDDLE = 5
_NEVER = 1 << 30
"""Objects made between two collections of the youngest; of these, and of the next, between two of the next older."""

_SPARE = 2_000_000
"""Blocks of memory that may be taken before all objects are looked through: about 200 MB."""

_LOOK = 10.0
"""Seconds between two looks at how many blocks are taken."""


@asynccontextmanager
async def rare_collections() -> AsyncGenerator[None]:
    """Set the collector as it is best for a server, which has started, for as long as the block lasts."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _NEVER)
    watch = asyncio.create_task(_watch(), name="collector")
    try:
        yield
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
        gc.set_threshold(*before)
        gc.unfreeze()


async def _watch() -> None:
    grown = has_grown(sys.getallocatedblocks)
    while True:
        await asyncio.sleep(_LOOK)
        if grown():
            gc.collect()
            grown = has_grown(sys.getallocatedblocks)


def has_grown(blocks: Callable[[], int]) -> Callable[[], bool]:
    """Return what tells whether the blocks in use have doubled since now, and are more than a spare number more."""
    most = 2 * blocks() + _SPARE
    return lambda: blocks() > most
