"""What a feed has received and its reader has not taken yet. No I/O, no clock."""

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

from streamd_client.errors import PlaceLost
from streamd_client.values import Entry

__all__ = ["MAX_BYTES", "MAX_ENTRIES", "Inbox"]

MAX_ENTRIES = 1_000
MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Waiting:
    entry: Entry
    size: int


@dataclass(frozen=True, slots=True)
class _Mark:
    """Everything up to the cursor was before this point."""

    cursor: str


_Item: TypeAlias = _Waiting | _Mark | PlaceLost


class Inbox:
    """
    Entries, progress marks and gaps in the order of the wire, and the two ends of the queue:
    `position` is what has been received, `cursor` what the reader is done with.
    """

    def __init__(self, after: str | None = None) -> None:
        self.position: str | None = after
        """Where to subscribe from, so that nothing is missed or comes twice."""
        # "start" is a wish and not a place.
        self.cursor: str | None = None if after == "start" else after
        """The last entry that the reader has finished, or a later place without entries."""
        self._items: deque[_Item] = deque()
        self._entries = 0
        self._bytes = 0
        self._in_hand: Entry | None = None

    def __len__(self) -> int:
        return self._entries

    # In.

    def has_room(self, size: int) -> bool:
        """
        Tell whether an entry of `size` bytes may wait here; an empty inbox takes any.
        """
        if not self._entries:
            return True
        return self._entries < MAX_ENTRIES and self._bytes + size <= MAX_BYTES

    def put(self, entry: Entry, size: int) -> None:
        """
        Add the next entry.
        """
        self._items.append(_Waiting(entry, size))
        self._entries += 1
        self._bytes += size
        self.position = entry.cursor

    def mark(self, cursor: str) -> None:
        """
        Note that up to this place no further entry comes.
        """
        self.position = cursor
        if not self._items and self._in_hand is None:
            self.cursor = cursor
            return
        if self._items and isinstance(self._items[-1], _Mark):
            self._items.pop()
        self._items.append(_Mark(cursor))

    def gap(self, error: PlaceLost) -> None:
        """
        Note that what comes next does not join on to what came before.

        A gap that the reader has not seen yet swallows all that came after it, so that the
        inbox stays small however often the place is lost.
        """
        self._cut_at_gap()
        self._items.append(error)
        self.position = None

    def _cut_at_gap(self) -> None:
        if any(isinstance(item, PlaceLost) for item in self._items):
            while not isinstance(item := self._items.pop(), PlaceLost):
                self._uncount(item)

    # Out.

    def take(self) -> Entry | PlaceLost | None:
        """
        Return the next entry or gap, None if there is none; what was taken before is finished.
        """
        if self._in_hand is not None:
            self.cursor, self._in_hand = self._in_hand.cursor, None
        while self._items:
            item = self._items.popleft()
            if isinstance(item, _Mark):
                self.cursor = item.cursor
                continue
            if isinstance(item, PlaceLost):
                return item
            self._uncount(item)
            self._in_hand = item.entry
            return item.entry
        return None

    def clear(self) -> None:
        """
        Drop what waits; `cursor` stays.
        """
        self._items.clear()
        self._entries = self._bytes = 0

    def _uncount(self, item: _Item) -> None:
        if isinstance(item, _Waiting):
            self._entries -= 1
            self._bytes -= item.size
