"""The values of the wire as JSON Schema (draft 7): what OpenRPC and AsyncAPI documents are made of."""

from collections.abc import Iterator
from typing import Any

from streamd import errors
from streamd.errors import CallError
from streamd.limits import Limits

__all__ = ["NO_NUL", "SCHEMAS", "Schema", "array", "default", "described", "error_members", "error_name", "nullable", "record", "ref", "title_of"]  # fmt: skip

Schema = dict[str, Any]
"""A JSON Schema."""


def ref(name: str) -> Schema:
    """Return the schema that says: as `name` in SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


def described(text: str, schema: Schema) -> Schema:
    """Return a schema with a sentence; beside a `$ref` it would not be read."""
    return {"description": text, **({"allOf": [schema]} if "$ref" in schema else schema)}


def nullable(schema: Schema) -> Schema:
    """Return a schema that null satisfies, too."""
    return {"anyOf": [schema, {"type": "null"}]}


def default(value: Any, schema: Schema) -> Schema:
    """Return a schema whose value is this one where none is given."""
    return {**schema, "default": value}


def array(items: Schema) -> Schema:
    """Return the schema of a list of these."""
    return {"type": "array", "items": items}


def record(members: dict[str, Schema], *, optional: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object that has these members, and may come to have more."""
    required = [name for name in members if name not in optional]
    return {"type": "object", "properties": members, **({"required": required} if required else {})}


NO_NUL: Schema = {"pattern": "^[^\\u0000]*$"}
"""Of a text: no character of it is NUL."""

_TEXT: Schema = {"type": "string"}
_BOOLEAN: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TEXTS = array(_TEXT)
_PLACE_LOST: Schema = {"enum": ["expired", "epoch"]}

_DATA: dict[type[CallError], Schema] = {
    errors.MethodNotFound: record({"methods": _TEXTS}),
    errors.InvalidParams: record(
        {
            "unknown": _TEXTS,
            "params": _TEXTS,
            "missing": _TEXTS,
            "keys": _TEXTS,
            "key": _TEXT,
            "reason": {"enum": ["id_reused", "epoch", "cursor"]},
        },
        optional=("unknown", "params", "missing", "keys", "key", "reason"),
    ),
    errors.Unauthorized: record({"reason": {"const": "expired"}}, optional=("reason",)),
    errors.LimitExceeded: record(
        {
            "limit": {"enum": [*Limits.__slots__]},
            "max": {"type": "number"},
            "got": {"type": "number"},
        }
    ),
    errors.RateLimited: record(
        {
            "limit": {"enum": ["calls_per_second", "events_per_second", "refusals"]},
            "max": {"type": "number"},
            "retry_after_ms": _COUNT,
        }
    ),
    errors.UnknownSubscription: record({"subscription": _COUNT}),
    errors.PlaceLost: record({"reason": _PLACE_LOST}),
    errors.StoreUnavailable: record({"retry_after_ms": _COUNT}),
}
"""What the `data` of an error has for programs; of the others it has nothing."""


def _kinds(kind: type[CallError] = CallError) -> Iterator[type[CallError]]:
    for each in kind.__subclasses__():
        yield each
        yield from _kinds(each)


def title_of(kind: type[CallError]) -> str:
    """Return what people call an error: "limit exceeded"."""
    return "".join(f" {char.lower()}" if char.isupper() else char for char in kind.__name__).strip()


def error_name(kind: type[CallError]) -> str:
    """Return the name of an error's schema."""
    return f"{kind.__name__}Error"


def error_members(kind: type[CallError]) -> dict[str, Schema]:
    """Return what an error has; its `data` may be absent."""
    members = {"code": {"const": kind.code}, "message": _TEXT}
    return members | ({"data": _DATA[kind]} if kind in _DATA else {})


def _error(kind: type[CallError]) -> Schema:
    return {"title": title_of(kind), **record(error_members(kind), optional=("data",))}


_ENTRY = {"cursor": ref("Cursor"), "time": ref("Time"), "event": ref("Event")}

SCHEMAS: dict[str, Schema] = {
    "Event": {"description": "The JSON object that a producer inserts.", "type": "object"},
    "Cursor": {
        "description": "A place in the log; clients compare it for equality only.",
        "type": "string",
        "minLength": 1,
        "maxLength": 64,
    },
    "Time": {
        "description": "Milliseconds since 1970 UTC, given by the store, never decreasing.",
        "type": "integer",
    },
    "Entry": {"description": "An event in its place.", **record(_ENTRY)},
    "Inserted": {
        "description": "Where an event went, or was already.",
        **record({"cursor": ref("Cursor"), "time": ref("Time"), "duplicate": _BOOLEAN}),
    },
    "Value": {
        "description": 'A key\'s value: 291 and "291" are one value.',
        "type": ["string", "number", "boolean"],
        **NO_NUL,
    },
    "Filter": {
        "description": "AND between keys, OR in a list; {} matches everything, an empty list nothing.",
        "type": "object",
        "additionalProperties": {"anyOf": [ref("Value"), array(ref("Value"))]},
    },
    "Number": {
        "description": "A subscription's number on its connection.",
        "type": "integer",
        "minimum": 1,
    },
    **{error_name(kind): _error(kind) for kind in _kinds()},
    "Error": {"oneOf": [ref(error_name(kind)) for kind in _kinds()]},
}
"""Every value of the wire that has a name."""
