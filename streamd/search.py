"""Searching a window without holding up the event loop."""

import asyncio

from streamd.filters import Filter
from streamd.log import Entry
from streamd.stores.base import Bounds
from streamd.types import Seq
from streamd.window import Backward, Window

__all__ = ["search"]

_ROUND = 5_000
"""Entries looked at between two looks at what else is to do: some 10 ms with 500 posting lists."""


async def search(window: Window, wanted: Filter, before: Seq, bounds: Bounds) -> Backward:
    """Return what `window.backward` returns within the bounds, a round of work at a time.

    What one round can answer is answered without an `await`. Between rounds the window may grow,
    forget, and be rewound: places before `before` are not touched by the first; what was forgotten
    is not looked at, so `reached` may lie below the window; the last is for the caller to see.
    """
    entries: list[Entry] = []
    skipped = looked = size = 0
    reached = before
    while True:
        found = window.backward(
            wanted,
            reached,
            limit=bounds.limit - len(entries),
            work=min(bounds.work - looked, _ROUND),
            size=max(bounds.size - size, 1),
            skip=bounds.skip - skipped,
        )
        entries += found.entries
        size += sum([len(entry.body) for entry in found.entries])
        skipped += found.skipped
        looked += found.looked
        reached = min(reached, found.reached)
        full = len(entries) >= bounds.limit or size >= bounds.size
        if full or found.looked < _ROUND or looked >= bounds.work or reached <= window.low:
            return Backward(entries, skipped, looked, reached)
        await asyncio.sleep(0)
