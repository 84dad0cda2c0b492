"""Events and their keys: from JSON to a draft that is fit to be stored."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from streamd.errors import InvalidParams, LimitExceeded, StartupError
from streamd.limits import Limits
from streamd.log import Draft
from streamd.types import Json, Term

__all__ = ["Key", "Keys", "canonical", "draft_event", "kind_of"]

_KEY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_PATH = re.compile(r"[^.,=\s\0]+(\.[^.,=\s\0]+)*")
_RESERVED = frozenset({"start", "end", "filter"})
_WHOLE_FLOATS = 2.0**64
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
_DIGEST_BYTES = 12


def kind_of(value: object) -> str:
    """Name the JSON type of a value, for errors: never the value itself."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case dict():
            return "an object"
    return "a number out of range"


def canonical(value: Json, key: str, limits: Limits) -> str:
    """Return the text by which a key's value is indexed and compared.

    Strings are themselves, integers decimal, booleans `true` and `false`, whole floats below
    2^64 integers (-0.0 is 0), other floats Python's repr: so 291, 291.0 and "291" are equal.
    Raise InvalidParams for anything else, and for NUL; LimitExceeded for `value_bytes`.
    """
    if isinstance(value, str):
        if "\0" in value:
            raise InvalidParams(f"the value of key {key!r} has a NUL character", key=key)
        # A character has at most four bytes of UTF-8: most texts need no count.
        if len(value) * 4 > limits.value_bytes:
            limits.check("value_bytes", len(value.encode()))
        return value
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int) and _INT_MIN <= value <= _INT_MAX:
        return str(value)
    if isinstance(value, float):
        if value.is_integer() and abs(value) < _WHOLE_FLOATS:
            return str(int(value))
        return repr(value)
    raise InvalidParams(
        f"the value of key {key!r} must be a string, number or boolean, got {kind_of(value)}",
        key=key,
    )


@dataclass(frozen=True, slots=True)
class Key:
    """A declared attribute of events: its name, and the path of objects it is read from."""

    name: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        return self.name if self.dotted == self.name else f"{self.name}={self.dotted}"

    @property
    def dotted(self) -> str:
        """The path as it is written."""
        return ".".join(self.path)

    def read(self, event: dict[str, Any]) -> Json:
        """Return the value at the path, or None where there is none."""
        value: Json = event
        for step in self.path:
            if not isinstance(value, dict):
                return None
            value = value.get(step)
        return value


class Keys(tuple[Key, ...]):
    """The declared keys of a stream, in their order."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str, limits: Limits | None = None) -> "Keys":
        """Read `user,kind=type,login=actor.login`; raise StartupError with what is wrong."""
        limits = limits or Limits()
        keys = [cls._parse_key(part.strip()) for part in text.split(",")]
        names = [key.name for key in keys]
        for name in names:
            if names.count(name) > 1:
                raise StartupError(
                    f"key {name!r} is declared twice: give every key a name of its own"
                )
        if len(keys) > limits.keys:
            raise StartupError(f"{len(keys)} keys are declared, at most {limits.keys} can be")
        return cls(keys)

    @staticmethod
    def _parse_key(text: str) -> Key:
        name, given, path = text.partition("=")
        path = path if given else name
        if not _KEY_NAME.fullmatch(name) or not _PATH.fullmatch(path):
            raise StartupError(
                f"{text!r} is not a key: write a name such as user, or a name and a path such as user=actor.login"
            )
        if name in _RESERVED:
            raise StartupError(
                f"{name!r} cannot be a key, it is a parameter of items: name it otherwise"
            )
        return Key(name, tuple(path.split(".")))

    def __str__(self) -> str:
        return ",".join(str(key) for key in self)

    @property
    def names(self) -> tuple[str, ...]:
        """The names alone."""
        return tuple(key.name for key in self)

    @property
    def paths(self) -> dict[str, str]:
        """Where each is read from, by name: `{"login": "actor.login"}`."""
        return {key.name: key.dotted for key in self}

    def terms(self, event: dict[str, Any], limits: Limits) -> tuple[Term, ...]:
        """Return the event's terms, each once, keys in declared order."""
        terms: list[Term] = []
        for key in self:
            value = key.read(event)
            if value is None:
                continue
            if not isinstance(value, list):
                terms.append(f"{key.name}:{canonical(value, key.name, limits)}")
                continue
            seen = {canonical(item, key.name, limits): None for item in value if item is not None}
            terms.extend([f"{key.name}:{text}" for text in seen])
        if len(terms) > limits.event_terms:
            raise LimitExceeded("event_terms", limits.event_terms, len(terms))
        return tuple(terms)


def _depth(value: Json) -> int:
    depth, level = 0, [value]
    while level:
        containers = [item for item in level if isinstance(item, (dict, list))]
        depth += bool(containers)
        level = [child for item in containers for child in _children(item)]
    return depth


def _children(container: dict[str, Any] | list[Any]) -> Iterable[Json]:
    return container.values() if isinstance(container, dict) else container


def _dump(event: dict[str, Any], limits: Limits) -> bytes:
    try:
        # A copy: what orjson returns keeps the 4 KiB that it was written into, and an event is kept for long.
        body = b"%b" % orjson.dumps(event)
    except orjson.JSONEncodeError:
        # Of what orjson has read it fails to write two things: over 254 levels, and the mark that
        # jsonrpc leaves for an integer out of range.
        limits.check("nesting", _depth(event))
        raise InvalidParams("the event has an integer outside -2^63 to 2^64-1") from None
    if len(body) > limits.event_bytes:
        raise LimitExceeded("event_bytes", limits.event_bytes, len(body))
    # No event of fewer brackets can be deeper; most events are done with here.
    if body.count(b"{") + body.count(b"[") > limits.nesting:
        limits.check("nesting", _depth(event))
    return body


def _check_id(insert_id: Json, limits: Limits) -> None:
    if not isinstance(insert_id, str):
        raise InvalidParams(f"an insert id must be a string, got {kind_of(insert_id)}")
    if not insert_id or "\0" in insert_id:
        raise InvalidParams("an insert id must be a text without NUL characters, at least one long")
    if len(insert_id) * 4 > limits.insert_id_bytes:
        limits.check("insert_id_bytes", len(insert_id.encode()))


def draft_event(event: Json, insert_id: Json, keys: Keys, limits: Limits) -> Draft:
    """Return what is to be stored of an event, or raise the error that its producer gets."""
    if not isinstance(event, dict):
        raise InvalidParams(f"an event must be an object, got {kind_of(event)}")
    body = _dump(event, limits)
    terms = keys.terms(event, limits)
    if insert_id is None:
        return Draft(body, terms)
    _check_id(insert_id, limits)
    return Draft(body, terms, insert_id, blake2b(body, digest_size=_DIGEST_BYTES).digest())
