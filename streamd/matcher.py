"""The matcher: from an event's terms to the filters that match it."""

from array import array
from collections.abc import Callable, Collection, Iterable
from itertools import chain
from typing import Generic, TypeVar

from streamd.filters import Clause, Filter, Terms
from streamd.types import Term

__all__ = ["Matcher"]

T = TypeVar("T")


def _numbers(some: Iterable[int] = ()) -> "array[int]":
    return array("I", some)


class _Posting:
    """The clauses that are filed under one term, by their numbers."""

    __slots__ = ("checked", "dead", "plain", "term")

    def __init__(self, term: Term) -> None:
        self.term = term
        self.plain = _numbers()
        """Those of one key: an event with the term matches them."""
        self.checked: array[int] | None = None
        """Those of several keys: the others are to be checked."""
        self.dead = 0
        """How many of all these were removed."""

    def __len__(self) -> int:
        return len(self.plain) + len(self.checked or ())

    def add(self, number: int, *, plain: bool) -> None:
        if plain:
            self.plain.append(number)
            return
        if self.checked is None:
            self.checked = _numbers()
        self.checked.append(number)


class _Rest:
    """What is to be checked of some clauses. Equal ones are one, and checked once an event."""

    __slots__ = ("_mark", "_sets", "_verdict", "clause", "users")

    def __init__(self, clause: Clause) -> None:
        self.clause = clause
        self.users = 0
        self._sets = [frozenset(terms) for terms in clause]
        self._mark = 0
        self._verdict = False

    def holds(self, terms: Collection[Term], mark: int) -> bool:
        if self._mark != mark:
            self._mark = mark
            self._verdict = not any(wanted.isdisjoint(terms) for wanted in self._sets)
        return self._verdict


class _Filed:
    """One clause of a filter: where it is filed."""

    __slots__ = ("left", "owner", "under")

    def __init__(self, owner: int, under: Terms) -> None:
        self.owner = owner
        """The number of its filter: that of the filter's first clause."""
        self.under = under
        self.left = len(under)
        """The postings that have its number."""


class Matcher(Generic[T]):
    """Find the filters that match an event, at the cost of the candidates alone.

    A clause is filed under the terms of one of its keys, the most selective; an event looks its own
    terms up and checks what is left of each candidate. (strfry's live engine does this for Nostr
    filters; Fabret et al., SIGMOD 2001, call it the access predicate.)

    Clauses have numbers, and a posting list is an array of these: to match touches no memory that
    belongs to a single filter, so it costs the same however many there are. The numbers of a removed
    filter stay in a list until half of it is dead.
    """

    __slots__ = (
        "_everything", "_filed", "_free", "_frequency", "_mark", "_postings", "_rests", "_several", "_shared",
        "_slots", "_values",
    )  # fmt: skip

    def __init__(self, frequency: Callable[[Term], int]) -> None:
        self._frequency = frequency
        self._slots: dict[Filter, tuple[Filter, list[int]]] = {}
        """Each filter as it is kept, and the numbers of its clauses."""
        self._filed: list[_Filed | None] = []
        """By number; None for filters that match everything or nothing, and for numbers that are free."""
        self._rests: list[_Rest | None] = []
        """By number; None where nothing is left to check."""
        self._values: list[T | None] = []
        """By number; None where it was removed."""
        self._free: list[int] = []
        self._postings: dict[Term, _Posting] = {}
        self._shared: dict[Clause, _Rest] = {}
        self._everything: dict[int, None] = {}
        self._several = 0
        """How many filters have several clauses: of these an event may match more than one."""
        self._mark = 0

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def num_postings(self) -> int:
        """The number of postings, removed ones included that still take room."""
        return sum(map(len, self._postings.values()))

    def get(self, wanted: Filter) -> T | None:
        """Return the value of a filter that was added."""
        slot = self._slots.get(wanted)
        return None if slot is None else self._values[slot[1][0]]

    def values(self, terms: Collection[Term]) -> list[T]:
        """Return the values of all filters that match an event with these terms, each once."""
        values = self._values
        return [value for number in self.match(terms) if (value := values[number]) is not None]

    def match(self, terms: Collection[Term]) -> list[int]:
        """Return the numbers of these filters, and perhaps of some that were removed."""
        found: list[Iterable[int]] = []
        for term in terms:
            posting = self._postings.get(term)
            if posting is not None:
                if posting.plain:
                    found.append(posting.plain)
                if posting.checked:
                    found.append(self._check(posting.checked, terms))
        if self._everything:
            found.append(self._everything)
        if len(found) == 1 and not self._several:
            return list(found[0])
        numbers: Iterable[int] = chain.from_iterable(found)
        if self._several:
            numbers = map(self._owner, numbers)
        return list(dict.fromkeys(numbers))

    def _check(self, numbers: Iterable[int], terms: Collection[Term]) -> list[int]:
        self._mark = mark = self._mark + 1
        rests = self._rests
        return [
            number
            for number in numbers
            if (rest := rests[number]) is not None and rest.holds(terms, mark)
        ]

    def _owner(self, number: int) -> int:
        filed = self._filed[number]
        return number if filed is None else filed.owner

    # Coming and going.

    def add(self, wanted: Filter, value: T) -> Filter:
        """Add a filter that is not in yet; return it as it is kept: what it shares takes no room."""
        if wanted.everything or not wanted.clauses:
            number = self._number(value)
            if wanted.everything:
                self._everything[number] = None
            self._slots[wanted] = wanted, [number]
            return wanted
        numbers = [self._number(value) for _ in wanted.clauses]
        filed = zip(numbers, wanted.clauses, strict=True)
        kept = wanted.sharing(
            tuple([self._file(number, clause, numbers[0]) for number, clause in filed])
        )
        self._several += len(numbers) > 1
        self._slots[kept] = kept, numbers
        return kept

    def replace(self, wanted: Filter, value: T) -> None:
        """Give another value to a filter that was added."""
        for number in self._slots[wanted][1]:
            self._values[number] = value

    def remove(self, wanted: Filter) -> None:
        """Remove a filter that was added."""
        _, numbers = self._slots.pop(wanted)
        self._several -= len(numbers) > 1
        filed = [self._filed[number] for number in numbers]
        for number in numbers:
            self._values[number] = None
            self._everything.pop(number, None)
        for number, clause in zip(numbers, filed, strict=True):
            self._unshare(number)
            if clause is None or not clause.under:
                self._release(number)
            else:
                self._unfile(clause)

    def _number(self, value: T) -> int:
        if self._free:
            number = self._free.pop()
            self._values[number] = value
        else:
            number = len(self._values)
            self._values.append(value)
            self._filed.append(None)
            self._rests.append(None)
        return number

    def _release(self, number: int) -> None:
        self._filed[number] = None
        self._free.append(number)

    def _file(self, number: int, clause: Clause, owner: int) -> Clause:
        """File a clause; return it as it is kept."""
        at = self._most_selective(clause)
        rest = self._share(number, clause[:at] + clause[at + 1 :])
        postings = [self._posting(term) for term in clause[at]]
        for posting in postings:
            posting.add(number, plain=not rest)
        under = tuple([posting.term for posting in postings])
        self._filed[number] = _Filed(owner, under)
        return (*rest[:at], under, *rest[at:])

    def _most_selective(self, clause: Clause) -> int:
        if len(clause) == 1:
            return 0
        # Where frequencies are equal (a server that just started) the first declared key wins.
        sums = [sum(map(self._frequency, terms)) for terms in clause]
        return sums.index(min(sums))

    def _share(self, number: int, clause: Clause) -> Clause:
        if not clause:
            return clause
        rest = self._shared.get(clause)
        if rest is None:
            rest = self._shared[clause] = _Rest(clause)
        rest.users += 1
        self._rests[number] = rest
        return rest.clause

    def _unshare(self, number: int) -> None:
        rest = self._rests[number]
        self._rests[number] = None
        if rest is not None:
            rest.users -= 1
            if not rest.users:
                del self._shared[rest.clause]

    def _posting(self, term: Term) -> _Posting:
        posting = self._postings.get(term)
        if posting is None:
            posting = self._postings[term] = _Posting(term)
        return posting

    def _unfile(self, filed: _Filed) -> None:
        for term in filed.under:
            posting = self._postings.get(term)
            if posting is None:
                continue  # Another clause of the same filter was filed here too, and took it away.
            posting.dead += 1
            # Taking one out of a long list moves all the others: wait until half of them are dead.
            if posting.dead * 2 >= len(posting):
                self._compact(posting)

    def _compact(self, posting: _Posting) -> None:
        posting.dead = 0
        posting.plain = self._alive(posting.plain)
        if posting.checked is not None:
            posting.checked = self._alive(posting.checked) or None
        if not len(posting):
            del self._postings[posting.term]

    def _alive(self, numbers: Iterable[int]) -> "array[int]":
        """Return those that were not removed. A number is free when no posting has it any more."""
        alive: list[int] = []
        for number in numbers:
            filed = self._filed[number]
            assert filed is not None, "it is in a posting"
            if self._values[number] is not None:
                alive.append(number)
                continue
            filed.left -= 1
            if not filed.left:
                self._release(number)
        return _numbers(alive)
