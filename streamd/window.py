"""The newest entries in memory, with their posting lists: a worker's window, and the memory store's log."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from streamd.filters import Filter
from streamd.index import Index
from streamd.log import Entry
from streamd.types import Seq

__all__ = ["Backward", "Forward", "Window"]

_ENTRY_COST = 230
"""Bytes that an entry takes beside its body and terms: objects. Measured, as those below."""
_TERM_COST = 95
"""Bytes that a term of an entry takes beside its text: the object, its place in a posting list and in a column."""
_LIST_COST = 140
"""Bytes of a posting list: an event may have as many terms that no other has as it may have terms."""


class Backward(NamedTuple):
    """Matching entries, newest first."""

    entries: list[Entry]
    skipped: int
    """Matches that were passed over."""
    looked: int
    """Entries that were looked at."""
    reached: Seq
    """Every match from here on (up to where the look began) was seen."""


class Forward(NamedTuple):
    """Matching entries, oldest first."""

    entries: list[Entry]
    upto: Seq
    """Every match up to here was seen."""


class Window:
    """Hold the entries from `low` to `high`; what lies below `low` was forgotten.

    Entries come in order; a place may stay empty, if its event was erased.
    """

    __slots__ = ("_bytes", "_entries", "_oldest", "high", "index", "low")

    def __init__(self, after: Seq = 0) -> None:
        self._entries: dict[Seq, Entry] = {}
        self._oldest = after + 1
        self.low = after + 1
        """The oldest place it speaks for."""
        self.high = after
        """The newest place it speaks for."""
        self._bytes = 0
        self.index = Index()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes taken, roughly."""
        return self._bytes + _LIST_COST * len(self.index)

    def __getitem__(self, seq: Seq) -> Entry:
        return self._entries[seq]

    def append(self, entry: Entry) -> None:
        """Add the next entry; its seq is greater than `high`."""
        seq = entry.seq
        self._entries[seq] = entry
        self.index.append(seq, entry.terms)
        self.high = seq
        self._bytes += _cost(entry)

    def skip_to(self, seq: Seq) -> None:
        """Let the window speak for all places up to `seq`: those not appended are empty."""
        self.high = max(self.high, seq)

    def forget_below(self, floor: Seq) -> None:
        """Show nothing before `floor` any more; `sweep` makes the room free."""
        self.low = max(self.low, min(floor, self.high + 1))

    def sweep(self, most: int) -> bool:
        """Free the room of at most `most` forgotten places; tell whether there are more."""
        until = min(self.low, self._oldest + most)
        for seq in range(self._oldest, until):
            entry = self._entries.pop(seq, None)
            if entry is not None:
                self._bytes -= _cost(entry)
                self.index.forget(seq, entry.terms)
        self._oldest = until
        self.index.forget_rows(until)
        return until < self.low

    def trim(self, most: int, size: int, steps: int) -> None:
        """Forget the oldest until at most `most` entries and `size` bytes are left, in some `steps` at a time."""
        self.forget_below(self.high + 1 - most)
        self.sweep(steps)
        while self.size > size and self._oldest <= self.high:
            self.forget_below(self._oldest + 1)
            self.sweep(1)

    def rewind(self, seq: Seq) -> None:
        """Drop the entries after `seq`: they are void."""
        for void in range(self.high, max(seq, self.low - 1), -1):
            entry = self._entries.pop(void, None)
            if entry is None:
                continue
            self._bytes -= _cost(entry)
            self.index.rewind(entry.terms, self._oldest)
        self.high = max(min(self.high, seq), self.low - 1)
        self.index.rewind_rows(self.high)

    # Reading.

    def get(self, seq: Seq) -> Entry | None:
        """Return the entry at a place, or None where there is none or it was forgotten."""
        return self._entries.get(seq) if seq >= self.low else None

    def backward(
        self, wanted: Filter, before: Seq, *, limit: int, work: int, size: int, skip: int = 0
    ) -> Backward:
        """Return the newest matches before `before`, within the given bounds (see stores.base.Bounds)."""
        entries: list[Entry] = []
        skipped = looked = taken = 0
        reached = max(min(before, self.high + 1), self.low)
        matches = None if _is_plain(wanted) else wanted.test()
        for seq in self._descending(wanted, reached, limit, entries):
            if looked >= work:
                return Backward(entries, skipped, looked, reached)
            looked += 1
            entry = self._entries[seq]
            if matches is None or matches(entry.terms):
                if skipped < skip:
                    skipped += 1
                else:
                    taken += len(entry.body)
                    if entries and taken > size:
                        return Backward(entries, skipped, looked, reached)
                    entries.append(entry)
                    if len(entries) >= limit:
                        return Backward(entries, skipped, looked, seq)
            reached = seq
        return Backward(entries, skipped, looked, self.low)

    def forward(self, wanted: Filter, since: Seq, *, limit: int, work: int, size: int) -> Forward:
        """Return the oldest matches after `since`, which is at least `low - 1`, within the bounds."""
        entries: list[Entry] = []
        upto, taken = since, 0
        matches = None if _is_plain(wanted) else wanted.test()
        for looked, seq in enumerate(self._ascending(wanted, since)):
            if looked >= work:
                return Forward(entries, upto)
            entry = self._entries.get(seq)
            if entry is not None and (matches is None or matches(entry.terms)):
                taken += len(entry.body)
                if entries and taken > size:
                    return Forward(entries, upto)
                entries.append(entry)
                if len(entries) >= limit:
                    return Forward(entries, seq)
            upto = seq
        return Forward(entries, max(since, self.high))

    def _descending(
        self, wanted: Filter, before: Seq, limit: int, entries: Sequence[Entry]
    ) -> Iterator[Seq]:
        if wanted.everything:
            return (seq for seq in range(before - 1, self.low - 1, -1) if seq in self._entries)
        return self.index.descending(wanted, before, self.low, limit, entries)

    def _ascending(self, wanted: Filter, since: Seq) -> Iterator[Seq]:
        if wanted.everything:
            return iter(range(since + 1, self.high + 1))
        return self.index.ascending(wanted, since)


def _cost(entry: Entry) -> int:
    terms = entry.terms
    return len(entry.body) + _ENTRY_COST + _TERM_COST * len(terms) + sum(map(len, terms))


def _is_plain(wanted: Filter) -> bool:
    """Tell whether every entry that has one of its terms matches."""
    return wanted.everything or (len(wanted.clauses) == 1 and len(wanted.clauses[0]) == 1)
