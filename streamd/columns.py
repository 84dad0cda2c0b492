"""The terms of a window, key by key, in the order of the log: a stretch of them is looked through at once."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator
from itertools import compress

from streamd.types import Seq, Term

__all__ = ["Column"]

_FEWEST = 64
"""Rows that a column has before forgotten ones are taken out: that moves all the others."""

_STRETCH = 512
"""Rows that are looked at together."""


class Column:
    """The terms of one key, a row each: of an entry that has several, each has a row.

    To ask of each row whether a set has its term takes 30 ns, a tenth of opening a posting list: so
    of many lists the newest places are found sooner here, as in a column store (Abadi et al., "The
    Design and Implementation of Modern Column-Oriented Database Systems", 2013).
    """

    __slots__ = ("_seqs", "_terms", "distinct")

    def __init__(self) -> None:
        self._seqs: list[Seq] = []
        self._terms: list[Term] = []
        self.distinct = 0
        """How many different terms it has."""

    def __len__(self) -> int:
        return len(self._seqs)

    def append(self, seq: Seq, term: Term) -> None:
        """Add a row; no row has a greater seq."""
        self._seqs.append(seq)
        self._terms.append(term)

    def insert(self, seq: Seq, term: Term) -> None:
        """Add a row, wherever it belongs."""
        at = bisect_right(self._seqs, seq)
        self._seqs.insert(at, seq)
        self._terms.insert(at, term)

    def remove(self, seq: Seq, term: Term) -> None:
        """Take out a row that is there."""
        at = self._terms.index(term, bisect_left(self._seqs, seq))
        del self._seqs[at]
        del self._terms[at]

    def forget_below(self, low: Seq) -> None:
        """Take out the rows before `low`, as soon as they are many."""
        dead = bisect_left(self._seqs, low)
        if dead >= _FEWEST and dead * 2 >= len(self._seqs):
            del self._seqs[:dead]
            del self._terms[:dead]

    def rewind(self, seq: Seq) -> None:
        """Take out the rows after `seq`."""
        at = bisect_right(self._seqs, seq)
        del self._seqs[at:]
        del self._terms[at:]

    def after(self, seq: Seq) -> int:
        """Return how many rows there are after a place."""
        return len(self._seqs) - bisect_right(self._seqs, seq)

    def ascending(self, wanted: Collection[Term], since: Seq) -> Iterator[Seq]:
        """Yield the places after `since` that have one of the terms, each once."""
        last = since
        for start in range(bisect_right(self._seqs, since), len(self._seqs), _STRETCH):
            stretch = slice(start, start + _STRETCH)
            has = map(wanted.__contains__, self._terms[stretch])
            for seq in compress(self._seqs[stretch], has):
                if seq != last:
                    last = seq
                    yield seq

    def descending(
        self, wanted: Collection[Term], before: Seq, low: Seq
    ) -> tuple[Collection[Seq], int, Seq]:
        """Look at a stretch of rows before `before`, at `low` and above.

        Return the places that have one of the terms, newest first and each once; how many rows
        were looked at; and the place from which on all were.
        """
        seqs = self._seqs
        stop = len(seqs) if seqs and seqs[-1] < before else bisect_left(seqs, before)
        start = max(stop - _STRETCH, 0)
        while start and seqs[start - 1] == seqs[start]:
            start -= 1
        reached = seqs[start] if start else low
        if reached <= low:
            start, reached = bisect_left(seqs, low, start, stop), low
        places, terms = seqs[start:stop], self._terms[start:stop]
        places.reverse()
        terms.reverse()
        found = compress(places, map(wanted.__contains__, terms))
        return dict.fromkeys(found), stop - start, reached
