"""The wire, without I/O: calls become frames, frames become messages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import orjson

from streamd_client.errors import LimitExceeded, ProtocolError, RpcError, rpc_error
from streamd_client.values import (
    Entry,
    Explanation,
    History,
    Info,
    Inserted,
    KeyVerdict,
    Standing,
)

__all__ = [
    "MESSAGE_BYTES",
    "Answer",
    "CallId",
    "Closed",
    "Failure",
    "Message",
    "Progress",
    "Push",
    "Shutdown",
    "Subscribed",
    "Unknown",
    "encode_call",
    "parse",
    "read_explanation",
    "read_history",
    "read_info",
    "read_inserted",
    "read_inserted_many",
    "read_items",
    "read_standings",
    "read_subscribed",
]

MESSAGE_BYTES = 1024 * 1024
"""The server's limit of that name, unless it is set up otherwise."""

CallId: TypeAlias = int | str | None
T = TypeVar("T")


# What the server sends.


@dataclass(frozen=True, slots=True)
class Answer:
    """A call's result."""

    id: CallId
    result: Any


@dataclass(frozen=True, slots=True)
class Failure:
    """A call's error; without an id when the server could not tell which call it was."""

    id: CallId
    error: RpcError


@dataclass(frozen=True, slots=True)
class Push:
    """`event`: the next entry of a subscription."""

    subscription: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class Progress:
    """`progress`: one subscription, or with None all of the connection, got everything so far."""

    cursor: str
    subscription: int | None
    live: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """`closed`: the server ended a subscription."""

    subscription: int
    error: RpcError


@dataclass(frozen=True, slots=True)
class Shutdown:
    """`shutdown`: the server is about to go; come back after so many milliseconds."""

    reconnect_after_ms: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """A notification that this version does not know; to be ignored."""

    method: str


Message: TypeAlias = Answer | Failure | Push | Progress | Closed | Shutdown | Unknown


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The answer to `subscribe`."""

    subscription: int
    entries: list[Entry]
    before: str | None
    cursor: str
    resumed: bool | None
    reason: str | None
    live: bool


# Calls.


def encode_call(
    id: int | str, method: str, params: dict[str, Any], message_bytes: int | None = None
) -> bytes:
    """
    Return the text frame of a call.

    Raises:
        TypeError: A parameter cannot be written as JSON.
        LimitExceeded: It is longer than `message_bytes`.
    """
    frame = orjson.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
    # A longer one would cost every call and feed their connection, and again after each
    # reconnect: the server has no other way to refuse it than to close with 1009.
    if message_bytes is not None and len(frame) > message_bytes:
        data = {"limit": "message_bytes", "max": message_bytes, "got": len(frame)}
        raise LimitExceeded(-32004, "the call is too long for one message", data)
    return frame


# Frames.


def parse(frame: bytes | str) -> list[Message]:
    """
    Return the messages of one frame: one, or as many as a batch holds.

    Raises:
        ProtocolError: The frame is not of this protocol.
    """
    try:
        value = orjson.loads(frame)
    except orjson.JSONDecodeError as exc:
        raise ProtocolError(f"the server sent a frame that is not JSON: {exc}") from None
    if isinstance(value, list):
        return [_read(_message, each) for each in value]
    return [_read(_message, value)]


def _message(value: dict[str, Any]) -> Message:
    if "method" in value:
        return _notification(value["method"], value.get("params") or {})
    if (error := value.get("error")) is not None:
        return Failure(value["id"], _error(error))
    return Answer(value["id"], value["result"])


def _notification(method: str, params: dict[str, Any]) -> Message:
    match method:
        case "event":
            return Push(_a(int, params["subscription"]), _entry(params))
        case "progress":
            number = params.get("subscription")
            cursor, live = _a(str, params["cursor"]), params.get("live") is True
            return Progress(cursor, None if number is None else _a(int, number), live)
        case "closed":
            return Closed(_a(int, params["subscription"]), _error(params))
        case "shutdown":
            return Shutdown(_a(int, params["reconnect_after_ms"]))
        case _:
            return Unknown(method)


def _error(value: dict[str, Any]) -> RpcError:
    return rpc_error(_a(int, value["code"]), _a(str, value["message"]), value.get("data"))


def _entry(value: dict[str, Any]) -> Entry:
    return Entry(_a(str, value["cursor"]), _a(int, value["time"]), _a(dict, value["event"]))


def _a(kind: type[T], value: Any) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} expected, got {type(value).__name__}")
    return value


# Results.


def read_items(result: Any) -> list[dict[str, Any]]:
    """
    Return the events of an `items` result.
    """
    return _read(list, result)


def read_inserted(result: Any) -> Inserted:
    """
    Return the acknowledgement in an `insert` result.
    """
    return _read(lambda r: Inserted(r["cursor"], r["time"], r["duplicate"]), result)


def read_inserted_many(result: Any) -> list[Inserted]:
    """
    Return the acknowledgements in an `insert_many` result, in the order of the events.
    """
    return _read(lambda r: [read_inserted(each) for each in r["entries"]], result)


def read_history(result: Any) -> History:
    """
    Return the page in a `history` result.
    """
    return _read(
        lambda r: History([_entry(each) for each in r["entries"]], r["before"], r["cursor"]),
        result,
    )


def read_info(result: Any) -> Info:
    """
    Return what an `info` result says.
    """
    return _read(
        lambda r: Info(
            r["server"],
            r["version"],
            r["epoch"],
            r["cursor"],
            list(r["keys"]),
            dict(r["limits"]),
            dict(r.get("paths", {})),
        ),
        result,
    )


def read_explanation(result: Any) -> Explanation:
    """
    Return what an `explain` result says.
    """
    return _read(_explanation, result)


def _explanation(result: dict[str, Any]) -> Explanation:
    grants, entry = result["grants"], result.get("entry")
    return Explanation(
        found=result["found"],
        matches=result["matches"],
        keys=_verdicts(result["keys"]),
        grants=None if grants is None else [_verdicts(each) for each in grants],
        entry=None if entry is None else _entry(entry),
    )


def _verdicts(values: list[dict[str, Any]]) -> list[KeyVerdict]:
    return [
        KeyVerdict(each["key"], each["wanted"], each["matched"], list(each.get("values", ())))
        for each in values
    ]


def read_standings(result: Any) -> list[Standing]:
    """
    Return what a `subscriptions` result says.
    """
    return _read(lambda r: [_standing(each) for each in r], result)


def _standing(value: dict[str, Any]) -> Standing:
    return Standing(
        subscription=_a(int, value["subscription"]),
        filter=value["filter"],
        state=value["state"],
        cursor=value["cursor"],
        lag=value["lag"],
        entries=value["entries"],
        bytes=value["bytes"],
    )


def read_subscribed(result: Any) -> Subscribed:
    """
    Return what a `subscribe` result says.
    """
    return _read(_subscribed, result)


def _subscribed(result: dict[str, Any]) -> Subscribed:
    return Subscribed(
        subscription=_a(int, result["subscription"]),
        entries=[_entry(each) for each in result["entries"]],
        before=result["before"],
        cursor=_a(str, result["cursor"]),
        resumed=result["resumed"],
        reason=result.get("reason"),
        live=result["live"],
    )


def _read(build: Callable[[Any], T], value: Any) -> T:
    try:
        return build(value)
    except (KeyError, TypeError, AttributeError) as exc:
        raise ProtocolError(f"the server sent a message of an unknown form: {exc!r}") from exc
