"""Merging posting lists: the union of many, in order, of which only the first places are read."""

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable
from math import inf

from streamd.types import Seq, Term

__all__ = ["Merge", "ReadHeads"]

ReadHeads = Callable[[list[tuple[Term, Seq]], int], Awaitable[dict[Term, list[Seq]]]]
"""Reads the first places of lists, at most so many of each, behind a place of its own each."""

_LONGEST = 1_000
"""Places read of one list at a time, at most."""


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
        self._frontiers: dict[Term, int] = dict.fromkeys(terms, self._start)
        self._found: list[int] = []

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

    async def _advance(self, need: int) -> int:
        """Read on in the lists that may have one of the next `need` places; return how far in each.

        A list's frontier is a place that was found. So there are no more of them before the last
        place needed than places are needed, and what is read is in proportion to these.
        """
        limit = self._found[need - 1] if len(self._found) >= need else inf
        near = [(term, frontier) for term, frontier in self._frontiers.items() if frontier < limit]
        count = min(-(-2 * need // len(near)), _LONGEST)
        starts = [(term, self._sign * frontier) for term, frontier in near]
        heads = await self._read(starts, count)
        found = set(self._found)
        for term, _ in near:
            places = [self._sign * place for place in heads.get(term, ())]
            found.update(places)
            if len(places) < count:
                del self._frontiers[term]
            else:
                self._frontiers[term] = places[-1]
        self._found = sorted(found)
        return count

    async def estimate(self, span: int) -> float:
        """Return about how many places there are among the `span` to be read; comes first, if at all."""
        if not self._frontiers:
            return 0.0
        count = await self._advance(max(len(self._frontiers), 32))
        rate = sum((count - 1) / (frontier - self._start) for frontier in self._frontiers.values())
        return max(rate * span, len(self._found))

    def join(self, others: Iterable["Merge"]) -> "Merge":
        """Take in what others, of the same place and sign, have and may have; return this one."""
        for other in others:
            for term, frontier in other._frontiers.items():
                self._frontiers[term] = min(frontier, self._frontiers.get(term, frontier))
            self._found = sorted({*self._found, *other._found})
        return self
