"""The newest entries in memory, with their posting lists: a worker's window, and the memory store's log."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heapreplace
from typing import NamedTuple

from streamd.filters import Filter
from streamd.log import Entry
from streamd.types import Seq, Term

__all__ = ["Backward", "Forward", "Window"]

_ENTRY_COST = 400
"""Bytes an entry takes beside its body: objects, postings. Measured, with three terms."""

_COMPACT_FROM = 64
"""Posting lists shorter than this keep their forgotten entries until the last one goes."""


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

    __slots__ = ("_entries", "_oldest", "_postings", "high", "low", "size")

    def __init__(self, after: Seq = 0) -> None:
        self._entries: dict[Seq, Entry] = {}
        self._postings: dict[Term, list[Seq]] = {}
        self._oldest = after + 1
        self.low = after + 1
        """The oldest place it speaks for."""
        self.high = after
        """The newest place it speaks for."""
        self.size = 0
        """Bytes taken, roughly."""

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, seq: Seq) -> Entry:
        return self._entries[seq]

    def frequency(self, term: Term) -> int:
        """Return how many entries have the term, roughly."""
        postings = self._postings.get(term)
        return 0 if postings is None else len(postings)

    def append(self, entry: Entry) -> None:
        """Add the next entry; its seq is greater than `high`."""
        seq = entry.seq
        self._entries[seq] = entry
        postings = self._postings
        for term in entry.terms:
            found = postings.get(term)
            if found is None:
                postings[term] = [seq]
            else:
                found.append(seq)
        self.high = seq
        self.size += len(entry.body) + _ENTRY_COST

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
                self.size -= len(entry.body) + _ENTRY_COST
                self._unpost(entry, seq)
        self._oldest = until
        return until < self.low

    def _unpost(self, entry: Entry, forgotten: Seq) -> None:
        for term in entry.terms:
            postings = self._postings.get(term)
            if postings is None:
                continue
            if postings[-1] <= forgotten:
                del self._postings[term]
            elif len(postings) >= _COMPACT_FROM and postings[len(postings) // 2] <= forgotten:
                # Half of it is forgotten: removing entries one by one would move the rest each time.
                del postings[: bisect_right(postings, forgotten)]

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
            self.size -= len(entry.body) + _ENTRY_COST
            for term in entry.terms:
                postings = self._postings[term]
                postings.pop()
                # Of places that were swept already, no sweep will rid it.
                if not postings or postings[-1] < self._oldest:
                    del self._postings[term]
        self.high = max(min(self.high, seq), self.low - 1)

    # The index by itself.

    def terms(self) -> list[Term]:
        """Return all terms that there are posting lists of."""
        return list(self._postings)

    def places(self, term: Term) -> Sequence[Seq]:
        """Return the places in a term's posting list, ascending; forgotten ones may be among them."""
        return self._postings.get(term, ())

    def posted(self, term: Term, seq: Seq) -> bool:
        """Tell whether a place is in a term's posting list."""
        found = self.places(term)
        at = bisect_left(found, seq)
        return at < len(found) and found[at] == seq

    def post(self, term: Term, seq: Seq) -> None:
        """Put a place into a term's posting list, whatever the entry there says; idempotent."""
        if not self.posted(term, seq):
            insort(self._postings.setdefault(term, []), seq)

    def unpost(self, term: Term, seq: Seq) -> None:
        """Take a place out of a term's posting list, whatever the entry there says; idempotent."""
        if self.posted(term, seq):
            found = self._postings[term]
            del found[bisect_left(found, seq)]
            if not found:
                del self._postings[term]

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
        plain, candidates = self._descending(wanted, reached)
        for seq in candidates:
            if looked >= work:
                return Backward(entries, skipped, looked, reached)
            looked += 1
            entry = self._entries[seq]
            if plain or wanted.matches(entry.terms):
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
        plain, candidates = self._ascending(wanted, since, work)
        for looked, seq in enumerate(candidates):
            if looked >= work:
                return Forward(entries, upto)
            entry = self._entries.get(seq)
            if entry is not None and (plain or wanted.matches(entry.terms)):
                taken += len(entry.body)
                if entries and taken > size:
                    return Forward(entries, upto)
                entries.append(entry)
                if len(entries) >= limit:
                    return Forward(entries, seq)
            upto = seq
        return Forward(entries, max(since, self.high))

    def _lists(self, wanted: Filter) -> tuple[bool, list[list[Seq]]]:
        """Return posting lists that together hold every match, and whether they hold nothing else."""
        postings = self._postings
        lists: list[list[Seq]] = []
        plain = len(wanted.clauses) == 1 and len(wanted.clauses[0]) == 1
        for clause in wanted.clauses:
            found = [[postings[term] for term in terms if term in postings] for terms in clause]
            lists += min(found, key=lambda per_key: sum(map(len, per_key)))
        return plain, lists

    def _descending(self, wanted: Filter, before: Seq) -> tuple[bool, Iterator[Seq]]:
        if wanted.everything:
            return True, (
                seq for seq in range(before - 1, self.low - 1, -1) if seq in self._entries
            )
        plain, lists = self._lists(wanted)
        return plain, _merge_down(lists, before, self.low)

    def _ascending(self, wanted: Filter, since: Seq, work: int) -> tuple[bool, Iterator[Seq]]:
        left = self.high - since
        # Looking at every entry is cheaper than opening many posting lists for few entries.
        if wanted.everything or left <= min(work, wanted.num_values):
            return wanted.everything, iter(range(since + 1, self.high + 1))
        plain, lists = self._lists(wanted)
        return plain, _merge_up(lists, since)


def _merge_down(lists: list[list[Seq]], before: Seq, low: Seq) -> Iterator[Seq]:
    """Yield the seqs of some ascending lists from `before` (exclusive) down to `low`, each once.

    A heap of the lists' heads: only lists that contribute are ever read behind their end.
    """
    heads: list[tuple[Seq, int, int, list[Seq]]] = []
    for number, seqs in enumerate(lists):
        at = len(seqs) - 1 if seqs[-1] < before else bisect_left(seqs, before) - 1
        if at >= 0 and seqs[at] >= low:
            # The number keeps equal heads from comparing their lists.
            heads.append((-seqs[at], number, at, seqs))
    heapify(heads)
    last = 0
    while heads:
        head, number, at, seqs = heads[0]
        if head != last:
            last = head
            yield -head
        at -= 1
        if at >= 0 and seqs[at] >= low:
            heapreplace(heads, (-seqs[at], number, at, seqs))
        else:
            heappop(heads)


def _merge_up(lists: list[list[Seq]], since: Seq) -> Iterator[Seq]:
    """Yield the seqs of some ascending lists after `since`, each once, in order."""
    heads: list[tuple[Seq, int, int, list[Seq]]] = []
    for number, seqs in enumerate(lists):
        if seqs[-1] > since:
            at = bisect_right(seqs, since)
            heads.append((seqs[at], number, at, seqs))
    heapify(heads)
    last = since
    while heads:
        seq, number, at, seqs = heads[0]
        if seq != last:
            last = seq
            yield seq
        at += 1
        if at < len(seqs):
            heapreplace(heads, (seqs[at], number, at, seqs))
        else:
            heappop(heads)
