"""The matcher: from an event's terms to the filters that match it."""

from array import array
from collections.abc import Callable, Collection, Iterable
from itertools import chain
from typing import TYPE_CHECKING, Generic, TypeVar

from streamd.filters import Clause, Filter, Terms
from streamd.types import Term

__all__ = ["Matcher"]

T = TypeVar("T")


if TYPE_CHECKING:
    _Numbers = array[int]
else:
    _Numbers = array

_SHORT = 32
"""Numbers in a list up to which one is taken out at once: that moves all behind it."""


class _Posting(_Numbers):
    """The numbers of the clauses that are filed under one term."""

    __slots__ = ("dead", "term")

    term: Term
    """The text that all filters share which have this term."""
    dead: int
    """How many of the clauses were removed."""


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

    __slots__ = ("left", "owner", "postings", "under")

    def __init__(self, owner: int, postings: dict[Term, _Posting], under: Terms) -> None:
        self.owner = owner
        """The number of its filter: that of the filter's first clause."""
        self.postings = postings
        self.under = under
        self.left = 0
        """Since it was removed: the lists that still have its number."""


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
        "_checked", "_everything", "_filed", "_free", "_frequency", "_mark", "_plain", "_rests", "_several",
        "_shared", "_slots", "_values", "num_postings",
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
        self._plain: dict[Term, _Posting] = {}
        """Clauses of one key: an event with the term matches them."""
        self._checked: dict[Term, _Posting] = {}
        """Clauses of several keys: the others are to be checked."""
        self._shared: dict[Clause, _Rest] = {}
        self._everything: dict[int, None] = {}
        self._several = 0
        """How many filters have several clauses: of these an event may match more than one."""
        self._mark = 0
        self.num_postings = 0
        """The number of postings, removed ones included that still take room."""

    def __len__(self) -> int:
        return len(self._slots)

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
            plain, checked = self._plain.get(term), self._checked.get(term)
            if plain is not None:
                found.append(plain)
            if checked is not None:
                found.append(self._check(checked, terms))
        if self._everything:
            found.append(self._everything)
        if len(found) == 1 and not self._several:
            return list(found[0])
        numbers: Iterable[int] = chain.from_iterable(found)
        if self._several:
            # The number of a removed filter may be another's already, while a list still has those of its clauses.
            numbers = [
                self._owner(number) for number in numbers if self._values[number] is not None
            ]
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
        for number in numbers:
            self._values[number] = None
            self._everything.pop(number, None)
            filed = self._filed[number]
            if filed is None:
                self._free.append(number)
            else:
                self._unshare(number)
                self._unfile(number, filed)

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

    def _file(self, number: int, clause: Clause, owner: int) -> Clause:
        """File a clause; return it as it is kept."""
        at = self._most_selective(clause)
        rest = self._share(number, clause[:at] + clause[at + 1 :])
        postings = self._checked if rest else self._plain
        shared: list[Term] = []
        for term in clause[at]:
            posting = postings.get(term)
            if posting is None:
                posting = postings[term] = _Posting("I")
                posting.term, posting.dead = term, 0
            posting.append(number)
            shared.append(posting.term)
        under = tuple(shared)
        self.num_postings += len(under)
        self._filed[number] = _Filed(owner, postings, under)
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

    def _unfile(self, number: int, filed: _Filed) -> None:
        filed.left = 1  # Until this is done.
        for term in filed.under:
            posting = filed.postings[term]
            if len(posting) <= _SHORT:
                posting.remove(number)
                self.num_postings -= 1
                if not posting:
                    del filed.postings[term]
                continue
            filed.left += 1
            posting.dead += 1
            if posting.dead * 2 >= len(posting):
                self._compact(posting)
        self._leave(number, filed)

    def _compact(self, posting: _Posting) -> None:
        """Take out the numbers of removed clauses; some clause is left, as the list was long."""
        alive: list[int] = []
        for number in posting:
            filed = self._filed[number]
            assert filed is not None, "it is in a posting"
            if self._values[number] is not None:
                alive.append(number)
            else:
                self._leave(number, filed)
        self.num_postings -= len(posting) - len(alive)
        posting[:] = _Numbers("I", alive)
        posting.dead = 0

    def _leave(self, number: int, filed: _Filed) -> None:
        """Give the number of a removed clause again when no list has it any more."""
        filed.left -= 1
        if not filed.left:
            self._filed[number] = None
            self._free.append(number)
