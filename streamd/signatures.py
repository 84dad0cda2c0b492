"""The methods of the wire: their names, what they take and what they give."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from streamd.errors import (
    CallError,
    Forbidden,
    InternalError,
    InvalidParams,
    InvalidRequest,
    LimitExceeded,
    MethodNotFound,
    ParseError,
    PlaceLost,
    RateLimited,
    StoreUnavailable,
    Unauthorized,
    UnknownOutcome,
    UnknownSubscription,
)
from streamd.schemas import NO_NUL, Schema, array, default, described, nullable, record, ref

__all__ = ["METHODS", "NO_CALL", "Method", "Param"]


NO_CALL: tuple[type[CallError], ...] = (
    ParseError,
    InvalidRequest,
    MethodNotFound,
    Unauthorized,
    LimitExceeded,
    RateLimited,
    StoreUnavailable,
)
"""The errors of a message that is no call, too many, or none of a method that there is."""

_ANY_CALL: tuple[type[CallError], ...] = (
    InvalidRequest,
    InvalidParams,
    InternalError,
    Unauthorized,
    LimitExceeded,
    RateLimited,
    StoreUnavailable,
)
"""The errors that every method may have: its answer may be too large, or the server about to stop."""


@dataclass(frozen=True)
class Param:
    """A parameter; an optional one may be null, which is as good as not given."""

    name: str
    schema: Schema
    required: bool = False


@dataclass(frozen=True)
class Method:
    """What a method takes and gives."""

    summary: str
    params: tuple[Param, ...]
    """In the order in which they may be given by position."""
    result: Schema
    own_errors: tuple[type[CallError], ...] = ()
    needs_peer: bool = False
    """Whether it is for those alone who can be pushed to."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of its parameters."""
        return tuple(param.name for param in self.params)

    @property
    def errors(self) -> tuple[type[CallError], ...]:
        """The errors that a call of it may have."""
        elsewhere = (MethodNotFound,) if self.needs_peer else ()
        return (*_ANY_CALL, *elsewhere, *self.own_errors)

    @cached_property
    def required(self) -> tuple[str, ...]:
        """The names of those that must be given."""
        return tuple(param.name for param in self.params if param.required)

    def bind(self, given: dict[str, Any] | list[Any]) -> dict[str, Any]:
        """Return the parameters by name, without those that are as good as not given; raise InvalidParams."""
        names = self.names
        if isinstance(given, list):
            if len(given) > len(names):
                raise InvalidParams(
                    f"at most {len(names)} parameters can be given, got {len(given)}"
                )
            given = dict(zip(names, given, strict=False))
        if not self._known.issuperset(given):
            raise self._surplus([name for name in given if name not in names])
        missing = [name for name in self.required if name not in given]
        if missing:
            raise InvalidParams(f"parameter {missing[0]} is missing", missing=missing)
        if None not in given.values():
            return given
        return {
            name: value
            for name, value in given.items()
            if value is not None or name in self.required
        }

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)

    def _surplus(self, surplus: list[str]) -> InvalidParams:
        return InvalidParams(
            f"there are {len(surplus)} unknown parameters"
            if len(surplus) > 1
            else "there is an unknown parameter",
            unknown=[name[:64] for name in surplus[:16]],
            params=list(self.names),
        )


def _optional(name: str, schema: Schema) -> Param:
    return Param(name, nullable(schema))


def _count(name: str, otherwise: int, *, least: int = 0) -> Param:
    schema: Schema = {"type": ["integer", "null"], "minimum": least}
    return Param(name, default(otherwise, schema))


_FILTER = _optional("filter", ref("Filter"))
_INSERT_ID: Schema = {"type": "string", "minLength": 1, **NO_NUL}
_BEFORE = described(
    "Where history goes on to what is older; null where there is nothing.", nullable(ref("Cursor"))
)

_HISTORY = record(
    {
        "entries": described("Newest first.", array(ref("Entry"))),
        "before": _BEFORE,
        "cursor": described("Where subscribe goes on without a gap.", ref("Cursor")),
    }
)
_SUBSCRIBED = record(
    {
        "subscription": ref("Number"),
        "entries": described("Oldest first.", array(ref("Entry"))),
        "before": _BEFORE,
        "cursor": described("Entries after this place follow.", ref("Cursor")),
        "resumed": described(
            "Whether it goes on from `after`; null where there was none.",
            {"type": ["boolean", "null"]},
        ),
        "reason": described("Why it does not go on from `after`.", {"enum": ["expired", "epoch"]}),
        "live": described(
            "Whether all was sent; if not, a progress will tell.", {"type": "boolean"}
        ),
    },
    optional=("reason",),
)
_INFO = record(
    {
        "server": {"const": "streamd"},
        "version": {"type": "string"},
        "epoch": described("The epoch in which the log goes on.", {"type": "string"}),
        "cursor": ref("Cursor"),
        "keys": array({"type": "string"}),
        "paths": described(
            "Where in an event each key is read from, with dots.",
            {"type": "object", "additionalProperties": {"type": "string"}},
        ),
        "limits": described(
            "Null is no limit.",
            {"type": "object", "additionalProperties": {"type": ["number", "null"]}},
        ),
    }
)

_VERDICT: dict[str, Schema] = {
    "key": {"type": "string"},
    "wanted": described("How many values are.", {"type": "integer", "minimum": 0}),
    "matched": described("Whether the event has one of them.", {"type": "boolean"}),
}
_EXPLAINED = record(
    {
        "found": described("Whether there is such an entry to be read.", {"type": "boolean"}),
        "matches": described(
            "Whether it comes by this filter and these grants.", {"type": "boolean"}
        ),
        "keys": described(
            "Each key of the filter, and what the event has of it.",
            array(record({**_VERDICT, "values": array({"type": "string"})})),
        ),
        "grants": described(
            "What may be read, of which one grant must match; null is everything.",
            nullable(array(array(record(_VERDICT)))),
        ),
        "entry": ref("Entry"),
    },
    optional=("entry",),
)
_STANDING = record(
    {
        "subscription": ref("Number"),
        "filter": described(
            "The values of each key, where they are few; null matches nothing.",
            nullable(
                {
                    "type": "object",
                    "additionalProperties": record(
                        {"count": {"type": "integer"}, "values": array({"type": "string"})},
                        optional=("values",),
                    ),
                }
            ),
        ),
        "state": {"enum": ["pending", "behind", "live"]},
        "cursor": described("All up to here was sent.", nullable(ref("Cursor"))),
        "lag": described(
            "Places from there to the newest.", {"type": ["integer", "null"], "minimum": 0}
        ),
        "entries": described("Sent as events.", {"type": "integer", "minimum": 0}),
        "bytes": described("Their frames.", {"type": "integer", "minimum": 0}),
    }
)

METHODS: dict[str, Method] = {
    "authenticate": Method(
        "Say by a token who calls, and what that one may do; also to renew it.",
        (Param("token", {"type": "string"}, required=True),),
        record(
            {
                "subject": described("Whom the token names.", nullable({"type": "string"})),
                "expires": described(
                    "When it ends, in milliseconds since 1970.", nullable({"type": "integer"})
                ),
            }
        ),
        needs_peer=True,
    ),
    "insert": Method(
        "Store an event.",
        (Param("event", ref("Event"), required=True), _optional("id", _INSERT_ID)),
        ref("Inserted"),
        (Forbidden, UnknownOutcome),
    ),
    "insert_many": Method(
        "Store events one behind the other, all or none.",
        (
            Param("events", array(ref("Event")), required=True),
            _optional("ids", array(nullable(_INSERT_ID))),
        ),
        record({"entries": array(ref("Inserted"))}),
        (Forbidden, UnknownOutcome),
    ),
    "items": Method(
        "Return the newest events that match, the newest first.",
        (_FILTER, _count("start", 0), _count("end", 20)),
        array(ref("Event")),
        (Forbidden,),
    ),
    "history": Method(
        "Return a page of the entries that match, the newest first; pages do not shift.",
        (_FILTER, _optional("before", ref("Cursor")), _count("limit", 20, least=1)),
        _HISTORY,
        (Forbidden,),
    ),
    "subscribe": Method(
        "Return the newest entries that match, and push every further one.",
        (
            _FILTER,
            _count("backfill", 20),
            _optional(
                "after", described('A cursor, or "start": the oldest there is.', ref("Cursor"))
            ),
        ),
        _SUBSCRIBED,
        (Forbidden,),
        needs_peer=True,
    ),
    "unsubscribe": Method(
        "End a subscription.",
        (Param("subscription", {"type": "integer", "minimum": 0}, required=True),),
        {"const": True},
        (UnknownSubscription,),
        needs_peer=True,
    ),
    "explain": Method(
        "Tell key by key why an entry or an event does or does not match.",
        (_FILTER, _optional("cursor", ref("Cursor")), _optional("event", ref("Event"))),
        _EXPLAINED,
        (Forbidden, PlaceLost),
    ),
    "subscriptions": Method(
        "Tell how far the subscriptions of this connection are.",
        (),
        array(_STANDING),
        needs_peer=True,
    ),
    "info": Method("Tell about the server.", (), _INFO),
    "ping": Method("Answer.", (), {"const": "pong"}),
    "rpc.discover": Method(
        "Return the OpenRPC document of these methods.",
        (),
        {"type": "object", "required": ["openrpc", "info", "methods"]},
    ),
}
"""Every method, by its name."""
