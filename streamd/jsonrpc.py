"""JSON-RPC 2.0 without I/O: frames to calls, results to answers (https://www.jsonrpc.org/specification)."""

import gc
import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from streamd.errors import CallError, InvalidRequest, ParseError
from streamd.limits import Limits
from streamd.types import Json

__all__ = [
    "Call",
    "Incoming",
    "OutOfRange",
    "error_answer",
    "from_json",
    "join_answers",
    "parse",
    "result_answer",
    "to_json",
]

# orjson turns integers it can't hold into floats without a word. None has fewer digits than this; with
# all digits made equal they are found in a tenth of the time that a regular expression takes.
_MANY_DIGITS = b"0" * 19
_EQUAL_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1

_LARGE = 64 << 10
"""Bytes of a frame that can hold so many lists that the garbage collector runs while they are read."""

_NULL = b"null"
_OPEN_RESULT = b'{"jsonrpc":"2.0","result":'
_OPEN_ERROR = b'{"jsonrpc":"2.0","error":'
_ID = b',"id":'


class OutOfRange:
    """Stand for an integer outside -2^63 … 2^64-1: no parameter takes it and orjson refuses it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "OutOfRange()"


class Call(NamedTuple):
    """One call of a frame."""

    method: str
    params: dict[str, Any] | list[Any]
    id: bytes | None
    """The id as JSON, to be put into the answer; `None` for a notification."""


@dataclass(slots=True)
class Incoming:
    """What one frame asks for: its calls, and the errors of those parts that are no calls."""

    batch: bool = False
    calls: list[Call] = field(default_factory=list)
    faults: list[bytes] = field(default_factory=list)
    """Answers that are ready, as JSON."""

    def codes(self) -> list[int]:
        """Return the codes of the faults."""
        return [orjson.loads(fault)["error"]["code"] for fault in self.faults]


def parse(frame: bytes, limits: Limits) -> Incoming:
    """Read a frame; what is wrong with it becomes an answer in `faults`, never an exception."""
    try:
        message = from_json(frame)
        if not isinstance(message, list):
            return _gather(Incoming(), [message])
        if not message:
            raise InvalidRequest("a batch needs at least one call")
        limits.check("batch", len(message))
        return _gather(Incoming(batch=True), message)
    except CallError as error:
        return Incoming(faults=[error_answer(_NULL, error)])


def from_json(frame: bytes) -> Json:
    """Read JSON, integers that nobody can hold as OutOfRange; raise ParseError."""
    if len(frame) < _LARGE:
        return _read(frame)
    with _no_collection():
        return _read(frame)


@contextmanager
def _no_collection() -> Generator[None]:
    """Let no garbage collector look for some in what is just being read, again and again."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _read(frame: bytes) -> Json:
    try:
        message = orjson.loads(frame)
    except orjson.JSONDecodeError:
        # Its message would quote the peer's text, so it says nothing that helps.
        raise ParseError("the message is not valid JSON") from None
    if _MANY_DIGITS in frame.translate(_EQUAL_DIGITS):
        message = _mark_integers(frame, message)
    return message


def _mark_integers(frame: bytes, message: Json) -> Json:
    found = False

    def read(digits: str) -> int | OutOfRange:
        nonlocal found
        value = int(digits)
        if _INT_MIN <= value <= _INT_MAX:
            return value
        found = True
        return OutOfRange()

    try:
        marked = json.loads(frame, parse_int=read)
    except RecursionError:
        raise ParseError("the message is nested too deeply") from None
    return marked if found else message


def _gather(incoming: Incoming, messages: list[Json]) -> Incoming:
    for message in messages:
        try:
            incoming.calls.append(_read_call(message))
        except InvalidRequest as error:
            ident = message.get("id") if isinstance(message, dict) else None
            incoming.faults.append(error_answer(_id_text(ident) or _NULL, error))
    return incoming


def _id_text(ident: Json) -> bytes | None:
    """Return an id as JSON, or None if ids can't be of its type (section 4: string, number, null)."""
    if ident is None:
        return _NULL
    if isinstance(ident, bool) or not isinstance(ident, (str, int, float)):
        return None
    # A copy, as of an event's body: it is kept until the call is answered.
    return b"%b" % orjson.dumps(ident)


def _read_call(message: Json) -> Call:
    if not isinstance(message, dict):
        raise InvalidRequest("a call must be an object")
    if message.get("jsonrpc") != "2.0":
        raise InvalidRequest('a call needs "jsonrpc": "2.0"')
    method = message.get("method")
    if not isinstance(method, str):
        raise InvalidRequest("a call needs a method, as a string")
    ident = None
    if "id" in message:
        ident = _id_text(message["id"])
        if ident is None:
            raise InvalidRequest("an id must be a string, a number or null")
    params = message.get("params", {})
    if not isinstance(params, (dict, list)):
        raise InvalidRequest("params must be an object or a list")
    return Call(method, params, ident)


def to_json(value: Json) -> bytes:
    """Return a result as JSON; `orjson.Fragment` splices what is JSON already."""
    return orjson.dumps(value)


def result_answer(ident: bytes, result: bytes) -> bytes:
    """Return the answer to the call `ident`, both given as JSON."""
    return b"%b%b%b%b}" % (_OPEN_RESULT, result, _ID, ident)


def error_answer(ident: bytes, error: CallError) -> bytes:
    """Return the answer that tells of an error; `ident` as JSON, null where there was none to read."""
    return b"%b%b%b%b}" % (_OPEN_ERROR, orjson.dumps(error.to_json()), _ID, ident)


def join_answers(answers: list[bytes]) -> bytes:
    """Return the answer to a batch."""
    return b"[" + b",".join(answers) + b"]"
