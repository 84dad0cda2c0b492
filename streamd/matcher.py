"""The matcher: from an event's terms to the filters that match it."""

from collections.abc import Callable, Collection
from typing import Generic, TypeVar

from streamd.filters import Clause, Filter
from streamd.types import Term

__all__ = ["Matcher"]

T = TypeVar("T")


class _Slot(Generic[T]):
    """A filter in the matcher, with what its owner wants to be given back."""

    __slots__ = ("clauses", "live", "mark", "value")

    def __init__(self, value: T) -> None:
        self.value = value
        self.clauses: list[_Filed[T]] = []
        self.live = True
        self.mark = 0
        """The match that found it last: an event may have several of its terms."""


class _Filed(Generic[T]):
    """One conjunction of a filter: where it is filed, and what is left to check."""

    __slots__ = ("rest", "slot", "under")

    def __init__(self, slot: _Slot[T], under: frozenset[Term], rest: Clause) -> None:
        self.slot = slot
        self.under = under
        self.rest = rest


class Matcher(Generic[T]):
    """Find the filters that match an event, at the cost of the candidates alone.

    A conjunction is filed under the terms of one of its keys, the most selective; an event looks
    its own terms up and checks what is left of each candidate. (strfry's live engine does this
    for Nostr filters; Fabret et al., SIGMOD 2001, call it the access predicate.)
    """

    __slots__ = ("_dead", "_everything", "_frequency", "_mark", "_postings", "_slots")

    def __init__(self, frequency: Callable[[Term], int]) -> None:
        self._frequency = frequency
        self._slots: dict[Filter, _Slot[T]] = {}
        self._postings: dict[Term, list[_Filed[T]]] = {}
        self._dead: dict[Term, int] = {}
        self._everything: dict[Filter, _Slot[T]] = {}
        self._mark = 0

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def num_postings(self) -> int:
        """The number of postings, removed ones included that still take room."""
        return sum(len(filed) for filed in self._postings.values())

    def get(self, wanted: Filter) -> T | None:
        """Return the value of a filter that was added."""
        slot = self._slots.get(wanted)
        return None if slot is None else slot.value

    def add(self, wanted: Filter, value: T) -> None:
        """Add a filter that is not in yet; `match` returns the value."""
        slot = self._slots[wanted] = _Slot(value)
        if wanted.everything:
            self._everything[wanted] = slot
            return
        for clause in wanted.clauses:
            self._file(slot, clause)

    def _file(self, slot: _Slot[T], clause: Clause) -> None:
        # Where frequencies are equal (a server that just started) the first declared key wins.
        under = min(clause, key=lambda terms: sum(map(self._frequency, terms)))
        filed = _Filed(slot, under, tuple(terms for terms in clause if terms is not under))
        slot.clauses.append(filed)
        postings = self._postings
        for term in under:
            found = postings.get(term)
            if found is None:
                postings[term] = [filed]
            else:
                found.append(filed)

    def remove(self, wanted: Filter) -> None:
        """Remove a filter that was added."""
        slot = self._slots.pop(wanted)
        self._everything.pop(wanted, None)
        slot.live = False
        for filed in slot.clauses:
            for term in filed.under:
                self._bury(term)

    def _bury(self, term: Term) -> None:
        # Taking one out of a long list moves all the others: wait until half of them are dead.
        postings = self._postings.get(term)
        if postings is None:
            return  # Another clause of the same filter was filed here too, and went with it.
        dead = self._dead.get(term, 0) + 1
        if dead * 2 < len(postings):
            self._dead[term] = dead
            return
        self._dead.pop(term, None)
        alive = [filed for filed in postings if filed.slot.live]
        if alive:
            self._postings[term] = alive
        else:
            del self._postings[term]

    def match(self, terms: Collection[Term]) -> list[T]:
        """Return the values of all filters that match an event with these terms, each once."""
        self._mark = mark = self._mark + 1
        found = [slot.value for slot in self._everything.values()]
        for term in terms:
            for filed in self._postings.get(term, ()):
                slot = filed.slot
                if (
                    slot.mark != mark
                    and slot.live
                    and (not filed.rest or all(not r.isdisjoint(terms) for r in filed.rest))
                ):
                    slot.mark = mark
                    found.append(slot.value)
        return found
