"""A message that is not as the documents say is found out, whatever of it is wrong."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jsonschema_rs import ValidationError

from streamd import errors
from streamd.errors import CallError
from streamd.notifications import ENDS, NOTIFICATIONS
from streamd.signatures import METHODS, NO_CALL
from tests.traffic import NEEDED, check_answer, check_notification, check_refusal

Check = Callable[[Any], None]

CURSOR = "epochepoAAAAAAAAAcq2"
PLACED = {"cursor": CURSOR, "time": 1795449600000, "duplicate": False}
ENTRY = {"cursor": CURSOR, "time": 1795449600000, "event": {"user": 1}}
VERDICT = {"key": "user", "wanted": 2, "matched": True}

RESULTS: dict[str, Any] = {
    "authenticate": {"subject": "ann", "expires": 1795449600000},
    "insert": PLACED,
    "insert_many": {"entries": [PLACED]},
    "items": [{"user": 1}],
    "history": {"entries": [ENTRY], "before": CURSOR, "cursor": CURSOR},
    "subscribe": {
        "subscription": 1,
        "entries": [ENTRY],
        "before": CURSOR,
        "cursor": CURSOR,
        "resumed": False,
        "reason": "expired",
        "live": True,
    },
    "unsubscribe": True,
    "explain": {
        "found": True,
        "matches": True,
        "keys": [{**VERDICT, "values": ["1"]}],
        "grants": [[VERDICT]],
        "entry": ENTRY,
    },
    "subscriptions": [
        {
            "subscription": 1,
            "filter": {"user": {"count": 1, "values": ["1"]}},
            "state": "live",
            "cursor": CURSOR,
            "lag": 0,
            "entries": 1,
            "bytes": 100,
        }
    ],
    "info": {
        "server": "streamd",
        "version": "1.2.3",
        "epoch": "epochepo",
        "cursor": CURSOR,
        "keys": ["user"],
        "paths": {"user": "actor.user"},
        "limits": {"batch": 100},
    },
    "ping": "pong",
    "rpc.discover": {"openrpc": "1.3.2", "info": {}, "methods": []},
}
"""A result of every method, with all that it may have."""

EVENT = {
    "surplus",
    "user missing",
    "user text",
    "user truth",
    "user list",
    "user object",
    "user fraction",
}
"""An event may be anything."""


def within(place: str, faults: set[str]) -> set[str]:
    return {f"{place} {fault}" if fault == "surplus" else f"{place}.{fault}" for fault in faults}


MAY: dict[str, set[str]] = {
    "items": within("[]", EVENT),
    "history": within("entries.[].event", EVENT),
    "subscribe": within("entries.[].event", EVENT) | {"reason missing"},
    "explain": within("entry.event", EVENT) | {"entry missing"},
    "subscriptions": {"[].filter.user missing", "[].filter.user.values missing"},
    "info": {"limits surplus", "limits.batch missing", "limits.batch fraction", "paths.user missing"},
    "rpc.discover": {"surplus", *(f"openrpc {kind}" for kind in ("fraction", "truth", "list", "object"))}
    | {f"info {kind}" for kind in ("text", "fraction", "truth", "list")}
    | {f"methods {kind}" for kind in ("text", "fraction", "truth", "object")}
    | {"info surplus"},
}  # fmt: skip
"""What is no fault of a result."""

ERRORS: dict[type[CallError], CallError] = {
    errors.ParseError: errors.ParseError("no"),
    errors.InvalidRequest: errors.InvalidRequest("no"),
    errors.MethodNotFound: errors.MethodNotFound("no", methods=["ping"]),
    errors.InvalidParams: errors.InvalidParams(
        "no",
        unknown=["x"],
        params=["y"],
        missing=["z"],
        keys=["user"],
        key="user",
        reason="cursor",
    ),
    errors.InternalError: errors.InternalError(),
    errors.Unauthorized: errors.Unauthorized("no", reason="expired"),
    errors.Forbidden: errors.Forbidden("no"),
    errors.LimitExceeded: errors.LimitExceeded("batch", 1, 2),
    errors.RateLimited: errors.RateLimited("calls_per_second", 2, 1000),
    errors.UnknownSubscription: errors.UnknownSubscription("no", subscription=0),
    errors.PlaceLost: errors.PlaceLost("expired"),
    errors.UnknownOutcome: errors.UnknownOutcome(),
    errors.StoreUnavailable: errors.StoreUnavailable(),
}
"""An error of every kind, with all that it may have."""

MAY_ERR: dict[type[CallError], set[str]] = {
    errors.InvalidParams: {
        "data missing",
        *(f"data.{name} missing" for name in ERRORS[errors.InvalidParams].data or ()),
    },
    errors.Unauthorized: {"data missing", "data.reason missing"},
    errors.LimitExceeded: {"data.max fraction", "data.got fraction"},
    errors.RateLimited: {"data.max fraction"},
}
"""What is no fault of it."""

PUSHED: dict[str, Any] = {
    "event": {"subscription": 1, **ENTRY},
    "progress": {"cursor": CURSOR, "subscription": 1, "live": True},
    "closed": {"subscription": 1, **ERRORS[errors.PlaceLost].to_json()},
    "shutdown": {"reconnect_after_ms": 1234},
}
"""What is told by every notification, with all that it may have."""

MAY_PUSH = {"event": within("event", EVENT), "progress": {"subscription missing", "live missing"}}
"""What is no fault of it."""

KINDS = {"text": "other", "fraction": 1.5, "truth": True, "list": [{}], "object": {"other": 1}}
"""A value of every type but null, which a member may be instead of what it is."""


def wrong(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all that can be wrong with a value: a member that is missing, surplus or of another type, at any depth."""
    inner = f"{place}." if place else ""
    if isinstance(value, dict):
        yield f"{place} surplus".strip(), {**value, "surplus": 1}
        for name, member in value.items():
            less = {other: each for other, each in value.items() if other != name}
            yield f"{inner}{name} missing", less
            for fault, made in amiss(member, f"{inner}{name}"):
                yield fault, {**value, name: made}
    elif isinstance(value, list):
        for fault, made in amiss(value[0], f"{inner}[]") if value else ():
            yield fault, [made, *value[1:]]


def amiss(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    for kind, other in KINDS.items():
        if type(other) is not type(value):
            yield f"{place} {kind}", other
    yield from wrong(value, place)


def passes(check: Check, message: Any) -> bool:
    try:
        check(message)
    except (ValidationError, AssertionError):
        return False
    return True


def overlooked(check: Check, value: Any) -> set[str]:
    """Return the faults that are not found out, of a value that is right."""
    check(value)
    return {fault for fault, made in wrong(value) if passes(check, made)}


def call(method: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": NEEDED.get(method, {})}


def answer(method: str) -> Check:
    return lambda part: check_answer(call(method), {"jsonrpc": "2.0", "id": 1, **part})


@pytest.mark.parametrize("name", METHODS)
def test_a_result_is_known_to_its_last_member(name: str) -> None:
    check, result = answer(name), RESULTS[name]
    assert overlooked(lambda made: check({"result": made}), result) == MAY.get(name, set())
    for other in KINDS.values():
        assert type(other) is type(result) or not passes(check, {"result": other}), other


@pytest.mark.parametrize("name", METHODS)
def test_an_answer_has_a_result_or_an_error_and_an_id(name: str) -> None:
    good = {"jsonrpc": "2.0", "id": 1, "result": RESULTS[name]}
    refused = {"jsonrpc": "2.0", "id": 1, "error": ERRORS[errors.InternalError].to_json()}
    for message in (good, refused):
        check_answer(call(name), message)
        for member in message:
            less = {other: each for other, each in message.items() if other != member}
            with pytest.raises(ValidationError):
                check_answer(call(name), less)
        for other in ({"jsonrpc": "1.0"}, {"id": {}}, {"surplus": 1}):
            assert not passes(lambda made: check_answer(call(name), made), message | other)
    assert not passes(lambda made: check_answer(call(name), made), good | refused)


@pytest.mark.parametrize(
    "other", [{"params": {"event": 1}}, {"params": {}}, {"params": {"event": {}, "colour": 1}}]
)
def test_a_call_that_was_answered_is_looked_at_too(other: dict[str, Any]) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "result": PLACED}
    check_answer(call("insert"), message)
    assert not passes(lambda made: check_answer(made, message), call("insert") | other)


def places(kind: type[CallError]) -> Iterator[tuple[str, Check]]:
    """Yield where an error may be, and what finds out whether it is as it must be."""
    if kind in NO_CALL:
        yield "refusal", lambda error: check_refusal({"jsonrpc": "2.0", "id": None, "error": error})
    for name in [name for name, method in METHODS.items() if kind in method.errors]:
        yield name, lambda error, name=name: answer(name)({"error": error})  # type: ignore[misc]  # of a default
    if kind in ENDS:
        yield "closed", lambda error: push("closed")({"subscription": 1, **error})


def push(name: str) -> Check:
    return lambda params: check_notification({"jsonrpc": "2.0", "method": name, "params": params})


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_is_known_to_its_last_member(kind: type[CallError]) -> None:
    error = ERRORS[kind].to_json()
    found = [*places(kind)]
    assert found, "it may be somewhere"
    for place, check in found:
        assert overlooked(check, error) == MAY_ERR.get(kind, set()), place
        for other in ({"code": -32099}, {"data": {"other": 1}}, {"data": None}):
            assert not passes(check, error | other), place
        for member, value in error.get("data", {}).items():
            if member in ("reason", "limit"):
                assert not passes(check, error | {"data": {**error["data"], member: "other"}}), (
                    value
                )


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_has_no_other_code_and_is_nowhere_else(kind: type[CallError]) -> None:
    where = {place for place, _ in places(kind)}
    error = ERRORS[kind].to_json()
    for other, example in ERRORS.items():
        for place, check in places(other):
            if place not in where:
                assert not passes(check, error), place
            lacks = "data missing" in MAY_ERR.get(kind, ()) and example.data is None
            if error.get("data") != example.data and not lacks:
                assert not passes(check, example.to_json() | {"code": kind.code}), place


@pytest.mark.parametrize("name", NOTIFICATIONS)
def test_a_notification_is_known_to_its_last_member(name: str) -> None:
    assert overlooked(push(name), PUSHED[name]) == MAY_PUSH.get(name, set())
    message = {"jsonrpc": "2.0", "method": name, "params": PUSHED[name]}
    for other in ({"jsonrpc": "1.0"}, {"id": 1}, {"params": []}, {"params": None}):
        assert not passes(check_notification, message | other)


def test_all_are_looked_at() -> None:
    assert RESULTS.keys() == METHODS.keys()
    assert PUSHED.keys() == NOTIFICATIONS.keys()
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert ERRORS.keys() == {
        kind for kind in kinds if issubclass(kind, CallError) and kind is not CallError
    }


@pytest.mark.parametrize(
    ("name", "beyond"),
    [
        ("event", {"subscription": 0}),
        ("event", {"cursor": ""}),
        ("event", {"cursor": "c" * 65}),
        ("progress", {"live": False}),
        ("progress", {"subscription": 0}),
        ("closed", {"subscription": 0}),
        ("shutdown", {"reconnect_after_ms": -1}),
    ],
)
def test_a_notification_stays_in_its_bounds(name: str, beyond: dict[str, Any]) -> None:
    assert not passes(push(name), PUSHED[name] | beyond)


@pytest.mark.parametrize(
    ("name", "beyond"),
    [
        ("subscribe", {"subscription": 0}),
        ("subscribe", {"reason": "cursor"}),
        ("info", {"server": "other"}),
        ("subscriptions", {"state": "ended"}),
        ("subscriptions", {"lag": -1}),
        ("subscriptions", {"entries": -1}),
        ("subscriptions", {"bytes": -1}),
        ("explain", {"keys": [{**VERDICT, "values": [], "wanted": -1}]}),
    ],
)
def test_a_result_stays_in_its_bounds(name: str, beyond: dict[str, Any]) -> None:
    good = RESULTS[name]
    made = [good[0] | beyond] if isinstance(good, list) else good | beyond
    assert not passes(answer(name), {"result": made})
    assert not passes(answer("unsubscribe"), {"result": False})
