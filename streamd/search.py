"""Searching a window without holding up the event loop."""

from streamd.filters import Filter
from streamd.log import Entry
from streamd.stores.base import Bounds
from streamd.turns import Turns
from streamd.types import Seq
from streamd.window import Backward, Window

__all__ = ["search"]

_ROUND = 1_000
"""Entries looked at in one turn, or as many as there are posting lists to be opened for it: some 2 ms with 500."""


async def search(
    window: Window, wanted: Filter, before: Seq, bounds: Bounds, turns: Turns
) -> Backward:
    """Return what `window.backward` returns within the bounds, a round of work at a time.

    Each round waits for its turn, which on an idle loop takes no `await`. Between rounds the window may grow,
    forget, and be rewound: places before `before` are not touched by the first; what was forgotten
    is not looked at, so `reached` may lie below the window; the last is for the caller to see.
    """
    entries: list[Entry] = []
    skipped = looked = size = 0
    reached = before
    a_round = max(_ROUND, wanted.num_values)
    while True:
        work = min(bounds.work - looked, a_round)
        found = await turns.do(
            window.backward,
            wanted,
            reached,
            limit=bounds.limit - len(entries),
            work=work,
            size=max(bounds.size - size, 1),
            skip=bounds.skip - skipped,
        )
        entries += found.entries
        size += sum([len(entry.body) for entry in found.entries])
        skipped += found.skipped
        looked += found.looked
        reached = min(reached, found.reached)
        full = len(entries) >= bounds.limit or size >= bounds.size
        if full or found.looked < work or looked >= bounds.work or reached <= window.low:
            return Backward(entries, skipped, looked, reached)
