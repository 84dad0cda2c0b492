"""The methods of the wire: arguments become params, results become values. No I/O."""

import base64
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from streamd_client.protocol import (
    read_explanation,
    read_history,
    read_info,
    read_inserted,
    read_inserted_many,
    read_items,
    read_standings,
)
from streamd_client.values import (
    Event,
    Explanation,
    Filter,
    History,
    Info,
    Inserted,
    Standing,
    merge_filter,
)

__all__ = [
    "Call",
    "explain",
    "history",
    "info",
    "insert",
    "insert_many",
    "items",
    "ping",
    "subscriptions",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A call that can be made, and made again: an insert has its id before it is first sent."""

    method: str
    params: dict[str, Any]
    read: Callable[[Any], T]
    """Makes a value of the result."""


def insert(event: Event, id: str | None) -> Call[Inserted]:
    """
    Return the call that stores an event, with a random id if none is given.
    """
    return Call("insert", {"event": event, "id": _insert_id(id)}, read_inserted)


def insert_many(events: Iterable[Event], ids: Sequence[str | None] | None) -> Call[list[Inserted]]:
    """
    Return the call that stores all the events or none; ids that are None or absent are made.

    Raises:
        ValueError: There are more or fewer ids than events.
    """
    events = list(events)
    given = [None] * len(events) if ids is None else ids
    if len(given) != len(events):
        raise ValueError(f"{len(events)} events and {len(given)} ids")
    params = {"events": events, "ids": [_insert_id(id) for id in given]}
    return Call("insert_many", params, read_inserted_many)


def items(filter: Filter | None, keys: Filter, start: int, end: int) -> Call[list[Event]]:
    """
    Return the call for a slice of the matching events, counted from the newest.

    Raises:
        TypeError: A key is in `filter` and in `keys`.
    """
    params = {"filter": merge_filter(filter, keys), "start": start, "end": end}
    return Call("items", params, read_items)


def history(filter: Filter | None, keys: Filter, before: str | None, limit: int) -> Call[History]:
    """
    Return the call for a page of the matching entries.

    Raises:
        TypeError: A key is in `filter` and in `keys`.
    """
    params: dict[str, Any] = {"filter": merge_filter(filter, keys), "limit": limit}
    if before is not None:
        params["before"] = before
    return Call("history", params, read_history)


def explain(
    filter: Filter | None, keys: Filter, cursor: str | None, event: Event | None
) -> Call[Explanation]:
    """
    Return the call that tells why an entry or an event does or does not match.

    Raises:
        TypeError: A key is in `filter` and in `keys`.
        ValueError: Neither a cursor nor an event is given, or both.
    """
    if (cursor is None) is (event is None):
        raise ValueError("a cursor or an event is needed, one of them")
    what: dict[str, Any] = {"event": event} if cursor is None else {"cursor": cursor}
    return Call("explain", {"filter": merge_filter(filter, keys), **what}, read_explanation)


def subscriptions() -> Call[list[Standing]]:
    """
    Return the call for how far the subscriptions of the connection are.
    """
    return Call("subscriptions", {}, read_standings)


def info() -> Call[Info]:
    """
    Return the call for what the server says about itself.
    """
    return Call("info", {}, read_info)


def ping() -> Call[object]:
    """
    Return the call that does nothing.
    """
    return Call("ping", {}, lambda result: result)


def _insert_id(given: str | None) -> str:
    """Return the given one, or 128 random bits as 22 ASCII characters."""
    if given is not None:
        return given
    return base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()
