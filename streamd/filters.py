"""Filters: what a query asks for and a subscription waits for, one text for both.

`{"user": [23, 291], "kind": "friend"}`: AND between keys, OR in a list. Inside, a filter is an
OR of such conjunctions, so that access rules can narrow it.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from streamd.errors import InvalidParams
from streamd.event import Keys, canonical, kind_of
from streamd.limits import Limits
from streamd.types import Json, Term

__all__ = ["EVERYTHING", "Clause", "Filter", "parse_filter"]

_SHOWN_CHARS = 64
"""An error shows no more of what a peer has sent: a name may have a million characters."""

Clause = tuple[frozenset[Term], ...]
"""A conjunction: an event needs a term of each set. Each set holds the terms of one key."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Match an event by its terms: it matches if one clause does; without clauses nothing matches."""

    clauses: tuple[Clause, ...]
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A filter is looked up at each subscribe, and may have 10,000 values.
        object.__setattr__(self, "_hash", hash(self.clauses))

    def __hash__(self) -> int:
        return self._hash

    @property
    def num_values(self) -> int:
        """The number of its values, all keys together."""
        return sum(len(terms) for clause in self.clauses for terms in clause)

    @property
    def everything(self) -> bool:
        """Whether it matches whatever comes."""
        return () in self.clauses

    def matches(self, terms: Collection[Term]) -> bool:
        """Tell whether an event with these terms matches."""
        return any(
            all(not wanted.isdisjoint(terms) for wanted in clause) for clause in self.clauses
        )


EVERYTHING = Filter(((),))
"""The filter `{}`."""


def _read_values(key: str, value: Json, limits: Limits) -> frozenset[Term]:
    values = value if isinstance(value, list) else [value]
    terms = set()
    for item in values:
        if item is None or isinstance(item, (list, dict)):
            raise InvalidParams(
                f"a filter's value of {key!r} must be a string, number, boolean or a list of these, got {kind_of(item)}",
                key=key,
            )
        terms.add(f"{key}:{canonical(item, key, limits)}")
    return frozenset(terms)


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
    clause = tuple(_read_values(name, value[name], limits) for name in keys.names if name in value)
    return Filter((clause,)) if all(clause) else Filter(())
