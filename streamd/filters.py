"""Filters: what a query asks for and a subscription waits for, one text for both.

`{"user": [23, 291], "kind": "friend"}`: AND between keys, OR in a list. Inside, a filter is an
OR of such conjunctions, so that access rules can narrow it.
"""

from collections.abc import Callable, Collection, Iterable

from streamd.errors import InvalidParams
from streamd.event import Keys, canonical, kind_of
from streamd.limits import Limits
from streamd.types import Json, Term

__all__ = ["EVERYTHING", "Clause", "Filter", "Terms", "parse_filter"]

_SHOWN_CHARS = 64
"""An error shows no more of what a peer has sent: a name may have a million characters."""

_LARGE = 2**62

Terms = tuple[Term, ...]
"""The wanted terms of one key, sorted: a filter may be kept for days, and a set takes five times the room."""

Clause = tuple[Terms, ...]
"""A conjunction: an event needs a term of each."""


class Filter:
    """Match an event by its terms: it matches if one clause does; without clauses nothing matches."""

    __slots__ = ("_hash", "_sets", "clauses")

    def __init__(self, clauses: Iterable[Iterable[Iterable[Term]]]) -> None:
        """Take the clauses, each of whose members are terms of one key."""
        self._sets: list[list[frozenset[Term]]] | None = [
            [frozenset(terms) for terms in clause] for clause in clauses
        ]
        self.clauses: tuple[Clause, ...] = tuple(
            [tuple([tuple(sorted(terms)) for terms in clause]) for clause in self._sets]
        )
        # A filter is looked up at each subscribe, and may have 10,000 values.
        self._hash = hash(self.clauses)

    def sharing(self, clauses: tuple[Clause, ...]) -> "Filter":
        """Return this filter made of equal clauses, whose parts others hold too: it is to be kept."""
        made = object.__new__(Filter)
        made.clauses = clauses
        made._sets = None
        made._hash = self._hash
        return made

    def __repr__(self) -> str:
        return f"Filter({self.clauses!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Filter):
            return NotImplemented
        return self._hash == other._hash and self.clauses == other.clauses

    def __hash__(self) -> int:
        return self._hash

    @property
    def num_values(self) -> int:
        """The number of its values, all keys together."""
        return sum([len(terms) for clause in self.clauses for terms in clause])

    @property
    def everything(self) -> bool:
        """Whether it matches whatever comes."""
        return () in self.clauses

    def sets(self) -> list[list[frozenset[Term]]]:
        """Return the clauses as sets; of a filter that is kept, they are made anew."""
        return self._sets or [[frozenset(terms) for terms in clause] for clause in self.clauses]

    def test(self) -> Callable[[Iterable[Term]], bool]:
        """Return a function that tells whether an event with these terms matches: for many events."""
        clauses = self.sets()
        return _all_of(clauses[0]) if len(clauses) == 1 else _any_of(clauses)

    def matches(self, terms: Iterable[Term]) -> bool:
        """Tell whether an event with these terms matches."""
        return self.test()(terms)


def _all_of(clause: list[frozenset[Term]]) -> Callable[[Iterable[Term]], bool]:
    # The fewer values of a key are wanted, the more events lack them.
    sets = sorted(clause, key=len)

    def test(terms: Iterable[Term]) -> bool:
        for wanted in sets:  # noqa: SIM110 - a generator would take twice the time
            if wanted.isdisjoint(terms):
                return False
        return True

    return test


def _any_of(clauses: list[list[frozenset[Term]]]) -> Callable[[Iterable[Term]], bool]:
    # A bit for each clause: a term is looked up once, not once for each of the many that grants make.
    everyone = (1 << len(clauses)) - 1
    steps: list[tuple[int, dict[Term, int]]] = []
    for place in range(max(map(len, clauses), default=0)):
        met: dict[Term, int] = {}
        ended = everyone
        for bit, clause in ((1 << number, clause) for number, clause in enumerate(clauses)):
            if place < len(clause):
                ended ^= bit
                for term in clause[place]:
                    met[term] = met.get(term, 0) | bit
        steps.append((ended, met))

    def test(terms: Iterable[Term]) -> bool:
        left = everyone
        for ended, met in steps:
            found = ended
            for term in terms:
                found |= met.get(term, 0)
            left &= found
            if not left:
                return False
        return left > 0

    return test


EVERYTHING = Filter(((),))
"""The filter `{}`."""


def _read_values(key: str, value: Json, limits: Limits) -> list[Term]:
    values = value if isinstance(value, list) else [value]
    return [
        # Most values are ids: `canonical` would say the same of them, later.
        f"{key}:{item}"
        if type(item) is int and 0 <= item <= _LARGE
        else _read_value(key, item, limits)
        for item in values
    ]


def _read_value(key: str, item: Json, limits: Limits) -> Term:
    if item is None or isinstance(item, (list, dict)):
        raise InvalidParams(
            f"a filter's value of {key!r} must be a string, number, boolean or a list of these, got {kind_of(item)}",
            key=key,
        )
    return f"{key}:{canonical(item, key, limits)}"


def _check_keys(given: Collection[str], keys: Keys) -> None:
    names = keys.names
    unknown = [name for name in given if name not in names]
    if unknown:
        raise InvalidParams(
            f"{unknown[0][:_SHOWN_CHARS]!r} is not a declared key: a filter can use {', '.join(names)}",
            unknown=[name[:_SHOWN_CHARS] for name in unknown[: len(names)]],
            keys=list(names),
        )


def parse_filter(value: Json, keys: Keys, limits: Limits) -> Filter:
    """Read a filter, or raise InvalidParams (an undeclared key, a wrong type) or LimitExceeded."""
    if not isinstance(value, dict):
        raise InvalidParams(f"a filter must be an object, got {kind_of(value)}")
    _check_keys(value, keys)
    given = sum(len(values) if isinstance(values, list) else 1 for values in value.values())
    limits.check("filter_values", given)
    clause = [_read_values(name, value[name], limits) for name in keys.names if name in value]
    return Filter([clause] if all(clause) else [])
