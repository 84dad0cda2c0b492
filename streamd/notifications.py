"""What the server says unasked, as JSON-RPC 2.0 notifications (section 4.1). No I/O."""

from dataclasses import dataclass

import orjson

from streamd.errors import CallError, Forbidden, LimitExceeded, PlaceLost
from streamd.log import Entry
from streamd.schemas import Schema, error_members, record, ref

__all__ = [
    "ENDS",
    "NOTIFICATIONS",
    "Notification",
    "closed",
    "event",
    "event_params",
    "progress",
    "shutdown",
]


ENDS: tuple[type[CallError], ...] = (PlaceLost, Forbidden, LimitExceeded)
"""The errors that end a subscription: its place is lost, its right, or grants make it too large."""


@dataclass(frozen=True)
class Notification:
    """What a notification is for, and what it tells."""

    summary: str
    params: Schema


NOTIFICATIONS: dict[str, Notification] = {
    "event": Notification(
        "A subscription's next entry.",
        record(
            {
                "subscription": ref("Number"),
                "cursor": ref("Cursor"),
                "time": ref("Time"),
                "event": ref("Event"),
            }
        ),
    ),
    "progress": Notification(
        "All up to the cursor was sent, to one subscription or to all of this connection.",
        record(
            {"cursor": ref("Cursor"), "subscription": ref("Number"), "live": {"const": True}},
            optional=("subscription", "live"),
        ),
    ),
    "closed": Notification(
        "A subscription has ended, as an error tells.",
        {
            "oneOf": [
                record({"subscription": ref("Number"), **error_members(kind)}, optional=("data",))
                for kind in ENDS
            ]
        },
    ),
    "shutdown": Notification(
        "The server stops; come back after so many milliseconds.",
        record({"reconnect_after_ms": {"type": "integer", "minimum": 0}}),
    ),
}
"""Every notification, by its method."""


def event_params(entry: Entry, cursor: str) -> bytes:
    """Return the part of an `event` that is the same for every subscription."""
    return b',"cursor":"%b","time":%d,"event":%b}}' % (cursor.encode(), entry.time, entry.body)


def event(number: int, params: bytes) -> bytes:
    """Return the `event` of one subscription; its stored bytes are spliced, never encoded again."""
    return b'{"jsonrpc":"2.0","method":"event","params":{"subscription":%d%b' % (number, params)


def _notification(method: str, params: dict[str, object]) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "method": method, "params": params})


def progress(cursor: str, number: int | None = None, *, live: bool = False) -> bytes:
    """Tell that all up to `cursor` was sent, to one subscription or to all of a connection."""
    params: dict[str, object] = {"cursor": cursor}
    if number is not None:
        params["subscription"] = number
    if live:
        params["live"] = True
    return _notification("progress", params)


def closed(number: int, error: CallError) -> bytes:
    """Tell that a subscription has ended, and why."""
    return _notification("closed", {"subscription": number, **error.to_json()})


def shutdown(reconnect_after_ms: int) -> bytes:
    """Tell that the server stops, and when to come back."""
    return _notification("shutdown", {"reconnect_after_ms": reconnect_after_ms})
