"""Placing drafts: which gets which number, and which was here before."""

from collections.abc import Callable, Sequence

from streamd.errors import CallError
from streamd.log import Draft, Entry, Placed
from streamd.stores.base import Verdict, id_reused
from streamd.types import Seq

__all__ = ["Known", "Placing"]

Known = tuple[Placed, bytes]
"""What is remembered of an insert id: the place, and the digest of the event."""


class Placing:
    """Give the drafts of one batch their places behind `head`, all at one `time` (ms).

    `known` tells what is remembered of an insert id, or None.
    """

    def __init__(self, head: Seq, time: int, known: Callable[[str], Known | None]) -> None:
        self.entries: list[Entry] = []
        """What is new, in order."""
        self.fresh: dict[str, Known] = {}
        """What is to be remembered of the ids of what is new."""
        self._head = head
        self._time = time
        self._known = known

    def place(self, call: Sequence[Draft]) -> Verdict:
        """Place one call: all of it, or nothing."""
        try:
            placed, entries, fresh = self._place(call)
        except CallError as refusal:
            return refusal
        self.entries += entries
        self.fresh |= fresh
        return placed

    def _place(self, call: Sequence[Draft]) -> tuple[list[Placed], list[Entry], dict[str, Known]]:
        placed: list[Placed] = []
        entries: list[Entry] = []
        fresh: dict[str, Known] = {}
        head = self._head + len(self.entries)
        for draft in call:
            known = None
            if draft.id is not None:
                known = fresh.get(draft.id) or self.fresh.get(draft.id) or self._known(draft.id)
            if known is None:
                place = Placed(head + len(entries) + 1, self._time, duplicate=False)
                entries.append(Entry(place.seq, place.time, draft.terms, draft.body))
                if draft.id is not None:
                    fresh[draft.id] = (place._replace(duplicate=True), draft.digest)
            elif known[1] != draft.digest:
                raise id_reused()
            else:
                place = known[0]
            placed.append(place)
        return placed, entries, fresh
