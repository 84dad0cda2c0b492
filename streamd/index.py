"""The index of a window: from terms to places, by posting lists and by columns."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from math import inf
from operator import itemgetter

from streamd.columns import Column
from streamd.filters import Filter
from streamd.types import Seq, Term

__all__ = ["Index"]

_COMPACT_FROM = 64
"""Posting lists shorter than this keep their forgotten places until the last one goes."""

_ROWS_PER_LIST = 16
"""Rows of a column that are looked at in the time in which one posting list is opened and merged."""
_HOPELESS = 1_024
"""Rows without a match after which the lists are asked."""
_FEW = 32
"""Lists so few are opened at once: a column would not be faster."""


class _Postings(list[Seq]):
    """The places of the entries that have one term, ascending; forgotten ones may be among them."""

    __slots__ = ("column", "term")

    def __init__(self, term: Term, column: Column) -> None:
        self.term = term
        self.column = column
        """That of the term's key."""


class Index:
    """Find the places of a filter's candidates: of entries that have one of the terms of one of its keys."""

    __slots__ = ("_columns", "_postings")

    def __init__(self) -> None:
        self._postings: dict[Term, _Postings] = {}
        self._columns: dict[str, Column] = {}
        """By the name of the key."""

    def __len__(self) -> int:
        """Return the number of posting lists."""
        return len(self._postings)

    def frequency(self, term: Term) -> int:
        """Return how many entries have the term, roughly."""
        postings = self._postings.get(term)
        return 0 if postings is None else len(postings)

    def terms(self) -> list[Term]:
        """Return all terms that there are posting lists of."""
        return list(self._postings)

    def places(self, term: Term) -> Sequence[Seq]:
        """Return the places in a term's posting list, ascending; forgotten ones may be among them."""
        return self._postings.get(term, ())

    # Changing.

    def append(self, seq: Seq, terms: Iterable[Term]) -> None:
        """Post the newest place under its terms."""
        postings = self._postings
        for term in terms:
            found = postings.get(term)
            if found is None:
                found = self._open(term)
            found.append(seq)
            found.column.append(seq, found.term)

    def _open(self, term: Term) -> _Postings:
        key = term.partition(":")[0]
        column = self._columns.get(key)
        if column is None:
            column = self._columns[key] = Column()
        column.distinct += 1
        postings = self._postings[term] = _Postings(term, column)
        return postings

    def _drop(self, term: Term) -> None:
        self._postings.pop(term).column.distinct -= 1

    def post(self, term: Term, seq: Seq) -> None:
        """Put a place into a term's posting list, wherever it belongs; idempotent."""
        if not self.posted(term, seq):
            postings = self._postings.get(term)
            if postings is None:
                postings = self._open(term)
            insort(postings, seq)
            postings.column.insert(seq, postings.term)

    def unpost(self, term: Term, seq: Seq) -> None:
        """Take a place out of a term's posting list; idempotent."""
        if self.posted(term, seq):
            postings = self._postings[term]
            del postings[bisect_left(postings, seq)]
            postings.column.remove(seq, term)
            if not postings:
                self._drop(term)

    def posted(self, term: Term, seq: Seq) -> bool:
        """Tell whether a place is in a term's posting list."""
        found = self.places(term)
        at = bisect_left(found, seq)
        return at < len(found) and found[at] == seq

    def forget(self, seq: Seq, terms: Iterable[Term]) -> None:
        """Forget the oldest place, that of an entry with these terms: sooner or later it takes no room."""
        for term in terms:
            postings = self._postings.get(term)
            if postings is None:
                continue
            if postings[-1] <= seq:
                self._drop(term)
            elif len(postings) >= _COMPACT_FROM and postings[len(postings) // 2] <= seq:
                # Half of it is forgotten: removing places one by one would move the rest each time.
                del postings[: bisect_right(postings, seq)]

    def forget_rows(self, low: Seq) -> None:
        """Free the rows of places before `low`, which are forgotten."""
        for column in self._columns.values():
            column.forget_below(low)

    def rewind(self, terms: Iterable[Term], oldest: Seq) -> None:
        """Drop the newest place, that of an entry with these terms; those before `oldest` are forgotten."""
        for term in terms:
            postings = self._postings[term]
            postings.pop()
            # No `forget` will come for those any more.
            if not postings or postings[-1] < oldest:
                self._drop(term)

    def rewind_rows(self, high: Seq) -> None:
        """Drop the rows of places after `high`."""
        for column in self._columns.values():
            column.rewind(high)

    # Finding.

    def descending(
        self, wanted: Filter, before: Seq, low: Seq, limit: int, matched: Sequence[object]
    ) -> Iterator[Seq]:
        """Yield the places of candidates before `before`, at `low` and above, newest first, each once.

        `limit` is how many matches are looked for, and `matched` has a member for each so far: they
        tell how much longer it will take.
        """
        found = self._column(wanted)
        if found is not None:
            column, terms = found
            rows = min(limit * column.distinct / len(terms), len(column))
            if rows <= _ROWS_PER_LIST * len(terms):
                return self._look_down(wanted, column, terms, before, low, limit, matched)
        return _merge_down(self._lists(wanted), before, low)

    def ascending(self, wanted: Filter, since: Seq) -> Iterator[Seq]:
        """Yield the places of candidates after `since`, oldest first, each once."""
        found = self._column(wanted)
        if found is not None:
            column, terms = found
            if column.after(since) <= _ROWS_PER_LIST * len(terms):
                return column.ascending(terms, since)
        return _merge_up(self._lists(wanted), since)

    def _column(self, wanted: Filter) -> tuple[Column, frozenset[Term]] | None:
        """Return a column to look for matches in, and what to look for; None where lists are better."""
        if len(wanted.clauses) != 1:
            return None
        best: tuple[Column, frozenset[Term]] | None = None
        least = inf
        for terms in wanted.sets()[0]:
            column = self._columns.get(_key_of(terms)) if len(terms) > _FEW else None
            if column is not None and column.distinct:
                # The share of a key's values that is wanted tells how many of its rows are, roughly.
                number, found = len(terms) / column.distinct * len(column), (column, terms)
            else:
                number, found = sum(map(self.frequency, terms)), None
            if number < least:
                least, best = number, found
        return best

    def _lists(self, wanted: Filter) -> list[_Postings]:
        """Return posting lists that together hold every match."""
        get = self._postings.get
        lists: list[_Postings] = []
        for clause in wanted.clauses:
            found = [list(filter(None, map(get, terms))) for terms in clause]
            lists += min(found, key=lambda per_key: sum(map(len, per_key)))
        return lists

    def _look_down(
        self,
        wanted: Filter,
        column: Column,
        terms: frozenset[Term],
        before: Seq,
        low: Seq,
        limit: int,
        matched: Sequence[object],
    ) -> Iterator[Seq]:
        """Go by a column as long as that is the shorter way, then by posting lists."""
        rows = 0
        while before > low:
            found, looked, before = column.descending(terms, before, low)
            yield from found
            rows += looked
            left = rows * (limit - len(matched)) / len(matched) if matched else rows
            if left > _ROWS_PER_LIST * len(terms) or (rows >= _HOPELESS and not matched):
                yield from _merge_down(self._lists(wanted), before, low)
                return


def _key_of(terms: frozenset[Term]) -> str:
    """Return the name of the key that terms belong to; there is one term at least."""
    return next(iter(terms), "").partition(":")[0]


def _merge_down(lists: Iterable[list[Seq]], before: Seq, low: Seq) -> Iterator[Seq]:
    """Yield the seqs of some ascending lists from `before` (exclusive) down to `low`, each once.

    A list waits until its newest seq is next; those that were opened are in a heap, by their next.
    """
    waiting: list[list[Seq]] = []
    opened: list[tuple[Seq, int, int, list[Seq]]] = []
    for seqs in lists:
        if seqs[-1] < before:
            waiting.append(seqs)
        elif at := bisect_left(seqs, before):
            # The number keeps equal heads from comparing their lists.
            opened.append((-seqs[at - 1], len(opened), at - 1, seqs))
    waiting.sort(key=itemgetter(-1))
    heapify(opened)
    number, last = len(opened), 0
    while waiting or opened:
        newest = waiting[-1][-1] if waiting else 0
        if opened and -opened[0][0] > newest:
            head, which, at, seqs = opened[0]
            seq = -head
            if at and seqs[at - 1] >= low:
                heapreplace(opened, (-seqs[at - 1], which, at - 1, seqs))
            else:
                heappop(opened)
        else:
            seqs, seq = waiting.pop(), newest
            number += 1
            if len(seqs) > 1 and seqs[-2] >= low:
                heappush(opened, (-seqs[-2], number, len(seqs) - 2, seqs))
        if seq < low:
            return
        if seq != last:
            last = seq
            yield seq


def _merge_up(lists: Sequence[list[Seq]], since: Seq) -> Iterator[Seq]:
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
