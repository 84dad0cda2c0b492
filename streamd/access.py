"""Access: what somebody may read and write, by the grants that his token has.

The claim `{"read": [{"user": [23, 291]}], "write": [{"user": 291, "kind": ["watch", "friend"]}]}`: each
grant is a filter. Read is what a filter matches and one of the grants, too. Written may be an event of
which one grant allows everything: it has each key that the grant names, and no value of it that the grant
does not name. `{}` grants all, an empty list of grants nothing.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

from streamd.errors import CallError, Forbidden, InvalidParams
from streamd.event import Keys, kind_of
from streamd.filters import Filter, parse_filter
from streamd.jsonrpc import to_json
from streamd.limits import Limits
from streamd.log import Draft
from streamd.types import Json, Term

__all__ = ["NOBODY", "OPEN", "Access", "Grants", "is_likely", "parse_grants"]

_MEMBERS = ("read", "write", "admin")

_Sets = tuple[frozenset[Term], ...]
"""A conjunction: an event needs a term of each."""

_Grant = dict[str, frozenset[Term]]
"""The terms that are allowed, by key."""


class Grants:
    """What a claim grants."""

    __slots__ = ("admin", "read", "write")

    def __init__(
        self, read: Iterable[_Grant] = (), write: Iterable[_Grant] = (), *, admin: bool = False
    ) -> None:
        """Take the grants; an empty one allows everything."""
        self.read = tuple(_without_implied(tuple(grant.values()) for grant in _united([*read])))
        self.write = tuple(write)
        self.admin = admin
        """Whether what is for operators may be seen."""


class Access:
    """What one caller may do.

    A caller's insert ids are his own: no other subject meets them.
    """

    __slots__ = ("_grants", "_limits", "_reads_all", "_writes_all", "expires", "subject")

    def __init__(
        self,
        grants: Grants,
        limits: Limits,
        *,
        subject: str | None = None,
        expires: float | None = None,
    ) -> None:
        """Take the grants and whose they are; `expires` in seconds since 1970."""
        self._grants = grants
        self._limits = limits
        self._reads_all = () in grants.read
        self._writes_all = {} in grants.write
        self.subject = subject
        """Whom the token names; None without a token."""
        self.expires = expires
        """When the token ends, in seconds since 1970; None: never."""

    @property
    def admin(self) -> bool:
        """Whether what is for operators may be seen."""
        return self._grants.admin

    def to_json(self) -> bytes:
        """Return as `authenticate` answers whose the access is, and when it ends."""
        expires = None if self.expires is None else int(self.expires * 1000)
        return to_json({"subject": self.subject, "expires": expires})

    @property
    def reads(self) -> bool:
        """Whether anything may be read."""
        return bool(self._grants.read)

    @property
    def writes(self) -> bool:
        """Whether anything may be written."""
        return bool(self._grants.write)

    @property
    def readable(self) -> Filter:
        """What may be read, whatever is wanted."""
        return Filter(self._grants.read)

    def narrow(self, wanted: Filter) -> Filter:
        """Return what may be read of what is wanted: the same filter if that is all of it.

        Raise Forbidden if nothing at all may be read; LimitExceeded (`connection_filter_values`) if
        the grants make it too large.
        """
        if self._reads_all:
            return wanted
        if not self.reads:
            raise Forbidden("reading is not granted")
        return Filter(_without_implied(self._bounded(_products(wanted, self._grants.read))))

    def _bounded(self, clauses: Iterable[_Sets]) -> Iterator[_Sets]:
        values = 0
        for clause in clauses:
            values += sum(map(len, clause))
            self._limits.check("connection_filter_values", values)
            yield clause

    def admit(self, draft: Draft) -> Draft:
        """Return what is to be stored of an event, or raise Forbidden: its id becomes the subject's own."""
        if not self._writes_all:
            self._check_write(draft.terms)
        return draft if draft.id is None else draft._replace(id=self._own(draft.id))

    def _check_write(self, terms: Iterable[Term]) -> None:
        values: dict[str, set[Term]] = {}
        for term in terms:
            values.setdefault(term.partition(":")[0], set()).add(term)
        for grant in self._grants.write:
            if all(name in values and values[name] <= grant[name] for name in grant):
                return
        raise Forbidden(
            "writing this event is not granted" if self.writes else "writing is not granted"
        )

    def _own(self, insert_id: str) -> str:
        # Nobody can choose an id that becomes another's: NUL is in none of them.
        text = f"{'' if self.subject is None else self.subject + chr(0)}{insert_id}"
        return blake2b(text.encode(), digest_size=16).hexdigest()


# Reading claims.


def parse_grants(claim: Json, keys: Keys, limits: Limits) -> Grants:
    """Read the claim of a token; None grants nothing.

    Raise InvalidParams or LimitExceeded for anything that can't be understood: what it was meant to
    keep from somebody, nobody knows.
    """
    if claim is None:
        return Grants()
    if not isinstance(claim, dict):
        raise InvalidParams(f"the grants must be an object, got {kind_of(claim)}")
    if not set(claim) <= set(_MEMBERS):
        raise InvalidParams(f"grants have no other members than {', '.join(_MEMBERS)}")
    admin = claim.get("admin", False)
    if not isinstance(admin, bool):
        raise InvalidParams(f"admin must be a boolean, got {kind_of(admin)}")
    read, write = (_read_list(claim, name, keys, limits) for name in ("read", "write"))
    return Grants(read, write, admin=admin)


def _read_list(claim: dict[str, Any], name: str, keys: Keys, limits: Limits) -> list[_Grant]:
    given = claim.get(name, [])
    if not isinstance(given, list):
        raise InvalidParams(f"{name} must be a list of grants, got {kind_of(given)}")
    limits.check("grants", len(given))
    grants = [_read_grant(each, name, keys, limits) for each in given]
    return [grant for grant in grants if grant is not None]


def _read_grant(value: Json, name: str, keys: Keys, limits: Limits) -> _Grant | None:
    """Read one grant; None if it allows nothing, as one with an empty list does."""
    try:
        clauses = parse_filter(value, keys, limits).sets()
    except CallError as error:
        error.message = f"a grant of {name} can't be read: {error.message}"
        raise
    return {_key_of(terms): terms for terms in clauses[0]} if clauses else None


def _key_of(terms: frozenset[Term]) -> str:
    return next(iter(terms)).partition(":")[0]


# Conjunctions.


def _united(grants: list[_Grant]) -> list[_Grant]:
    """Make one of grants that differ in the values of one key alone."""
    for name in {name: None for grant in grants for name in grant}:
        groups: dict[Any, list[_Grant]] = {}
        for grant in grants:
            rest = frozenset(item for item in grant.items() if item[0] != name)
            groups.setdefault((name in grant, rest), []).append(grant)
        grants = [
            {**group[0], name: frozenset().union(*[each[name] for each in group])}
            if named
            else group[0]
            for (named, _), group in groups.items()
        ]
    return grants


def _products(wanted: Filter, granted: Iterable[_Sets]) -> Iterator[_Sets]:
    clauses = [tuple(clause) for clause in wanted.sets()]
    return (_both(clause, grant) for clause in clauses for grant in granted)


def _both(one: _Sets, other: _Sets) -> _Sets:
    """Return the conjunction of two.

    Both may name one key, and an entry may have several values of it: one for each.
    """
    terms = [*one]
    for more in other:
        if not any(_within(each, more) for each in terms):
            terms = [each for each in terms if not _within(more, each)]
            terms.append(more)
    return tuple(terms)


def _without_implied(clauses: Iterable[_Sets]) -> list[_Sets]:
    """Leave out the conjunctions that match nothing which no other matches."""
    kept: list[_Sets] = []
    for clause in clauses:
        if not any(_implies(clause, each) for each in kept):
            kept = [each for each in kept if not _implies(each, clause)]
            kept.append(clause)
    return kept


def _implies(one: _Sets, other: _Sets) -> bool:
    """Tell whether whatever matches the one matches the other."""
    return all(any(_within(each, terms) for each in one) for terms in other)


def _within(one: frozenset[Term], other: frozenset[Term]) -> bool:
    return one is other or one <= other


def is_likely(wanted: Filter) -> bool:
    """Tell whether an entry can match that has one value of each key."""
    return any(map(_is_likely, wanted.sets()))


def _is_likely(clause: Iterable[frozenset[Term]]) -> bool:
    left: dict[str, frozenset[Term]] = {}
    for terms in clause:
        name = _key_of(terms)
        left[name] = left.get(name, terms) & terms
    return all(left.values())


# What there is without a token.


class _Open(Access):
    """Whoever comes may do everything: there are no rules."""

    __slots__ = ()

    def admit(self, draft: Draft) -> Draft:
        """Return the event as it is."""
        return draft


OPEN = _Open(Grants([{}], [{}]), Limits())
"""What everybody may do where there are no rules."""

NOBODY = Access(Grants(), Limits())
"""What may be done before the token that is needed has come: nothing."""
