"""Merging posting lists: the union of many, in order, of which only the first places are read."""

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable
from math import inf

from streamd.types import Seq, Term

__all__ = ["Merge", "ReadHeads"]

ReadHeads = Callable[[list[Term], Seq, int], Awaitable[dict[Term, list[Seq]]]]
"""Reads the first places (at most so many) of lists, behind one place: terms, start, count."""

_LONGEST = 1_000
"""Places read of one list at a time, at most."""
_GROWTH = 4


class Merge:
    """Yield the places that any of some lists has, each once, in the order of reading.

    Places are compared by `sign * seq`, so that looking back (sign -1) they ascend as well. A list's
    frontier is how far it was read; where no frontier is nearer, the order is complete: this is the
    threshold of Fagin, Lotem and Naor, "Optimal aggregation algorithms for middleware" (2003).
    """

    def __init__(self, read: ReadHeads, terms: Iterable[Term], start: Seq, sign: int) -> None:
        self._read = read
        self._sign = sign
        self._start = sign * start
        self._frontiers: dict[Term, float] = dict.fromkeys(terms, self._start)
        self._found: list[int] = []
        self._count = 0

    @property
    def num_lists(self) -> int:
        """The number of lists that may have more."""
        return len(self._frontiers)

    @property
    def _edge(self) -> float:
        return min(self._frontiers.values(), default=inf)

    async def take(self, count: int) -> list[Seq]:
        """Return the next places, at most `count`; fewer only if there are no more."""
        while True:
            ready = bisect_right(self._found, self._edge)
            if ready >= count or not self._frontiers:
                taken = self._found[: min(ready, count)]
                del self._found[: len(taken)]
                return [self._sign * place for place in taken]
            await self._advance(count)

    async def _advance(self, count: int) -> None:
        """Read on in the lists that may have one of the next `count` places."""
        if self._count:
            self._count = min(self._count * _GROWTH, _LONGEST)
        else:
            self._count = max(1, min(-(-2 * count // len(self._frontiers)), count, _LONGEST))
        edge = self._edge
        limit = self._found[count - 1] if len(self._found) >= count else inf
        near = [term for term, frontier in self._frontiers.items() if frontier < limit]
        # From one place on for all of them: what is read of some of them again is less than what is new.
        heads = await self._read(near, self._sign * int(edge), self._count)
        found = set(self._found)
        for term in near:
            places = [self._sign * place for place in heads.get(term, ())]
            found.update(places)
            if len(places) < self._count:
                del self._frontiers[term]
            else:
                self._frontiers[term] = max(self._frontiers[term], places[-1])
        self._found = sorted(found)

    async def estimate(self, span: int) -> float:
        """Return about how many places there are among the `span` that are to be read."""
        if not self._count and self._frontiers:
            await self._advance(max(len(self._frontiers), 32))
        rate = 0.0
        for frontier in self._frontiers.values():
            rate += (self._count - 1) / max(1, frontier - self._start)
        return rate * span + len(self._found)

    def join(self, others: Iterable["Merge"]) -> "Merge":
        """Take in what others, of the same place and sign, have and may have; return this one."""
        for other in others:
            for term, frontier in other._frontiers.items():
                self._frontiers[term] = min(frontier, self._frontiers.get(term, inf))
            self._found = sorted({*self._found, *other._found})
            self._count = max(self._count, other._count)
        return self
