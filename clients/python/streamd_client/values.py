"""What calls take and give: plain values, read once from the wire's JSON."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = [
    "Entry",
    "Event",
    "Explanation",
    "Filter",
    "History",
    "Info",
    "Inserted",
    "KeyVerdict",
    "Scalar",
    "Standing",
    "merge_filter",
]

Scalar: TypeAlias = str | int | float | bool
Event: TypeAlias = dict[str, Any]
Filter: TypeAlias = Mapping[str, Scalar | Iterable[Scalar]]


@dataclass(frozen=True, slots=True)
class Entry:
    """An event with its place in the log."""

    cursor: str
    """The place: everything up to and with this entry. Compare for equality only."""
    time: int
    """When the store took it, in milliseconds since 1970 (UTC). Never decreases."""
    event: Event
    """The event as it was inserted."""


@dataclass(frozen=True, slots=True)
class Inserted:
    """The acknowledgement of one event."""

    cursor: str
    """The event's place."""
    time: int
    """When the store took it, in milliseconds since 1970 (UTC)."""
    duplicate: bool
    """Whether its id was known already, through an earlier attempt of this client too."""


@dataclass(frozen=True, slots=True)
class History:
    """A page of the past."""

    entries: list[Entry]
    """The entries, newest first."""
    before: str | None
    """What to give as `before` for the next, older page; None at the end."""
    cursor: str
    """What to give as `after` to follow what happens from this page on."""


@dataclass(frozen=True, slots=True)
class Info:
    """What the server says about itself."""

    server: str
    version: str
    epoch: str
    """The part of the log that is written now; a restart may begin another, and cursors stay good."""
    cursor: str
    """The newest place."""
    keys: list[str]
    """The names that a filter may use."""
    limits: dict[str, Any]
    """The server's limits by name."""
    paths: dict[str, str] = field(default_factory=dict)
    """Where in an event each key is read from, as in `actor.login`; empty if the server is older."""


@dataclass(frozen=True, slots=True)
class KeyVerdict:
    """What one key of a filter, or of a grant, has to do with an event."""

    key: str
    wanted: int
    """How many values are wanted."""
    matched: bool
    """Whether the event has one of them."""
    values: list[str] = field(default_factory=list)
    """What the event has of this key, as texts; of a grant it is not told."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an entry or an event does or does not match."""

    found: bool
    """Whether there is such an entry that may be read; if not, nothing else is told."""
    matches: bool
    """Whether a subscription gets it: by its filter, and by the grants of the token."""
    keys: list[KeyVerdict]
    """Each key of the filter; all must match."""
    grants: list[list[KeyVerdict]] | None
    """What the token lets be read, of which one must match as a whole; None: everything."""
    entry: Entry | None
    """The entry, where a cursor was asked about."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a subscription of this connection is."""

    subscription: int
    filter: dict[str, dict[str, Any]] | None
    """Of each key the `count` of its values, and the `values` if they are few; None: nothing matches."""
    state: str
    """`pending`, `behind` or `live`."""
    cursor: str | None
    """Everything up to here was sent; None while it is not answered."""
    lag: int | None
    """The places from there to the newest."""
    entries: int
    """Entries that were sent as events."""
    bytes: int
    """The bytes of their frames."""


def merge_filter(filter: Filter | None, keys: Filter) -> dict[str, Scalar | list[Scalar]]:
    """
    Return one filter from a mapping and keyword arguments, with every collection as a list.

    Raises:
        TypeError: A key is in both.
    """
    given = filter or {}
    if both := given.keys() & keys.keys():
        raise TypeError(f"given twice, in filter= and by keyword: {', '.join(sorted(both))}")
    return {key: _plain(value) for key, value in {**given, **keys}.items()}


def _plain(value: Scalar | Iterable[Scalar]) -> Scalar | list[Scalar]:
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        return list(value)
    return value  # type: ignore[return-value]  # what is no scalar, the server refuses by name
