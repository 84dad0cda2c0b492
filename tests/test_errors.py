"""streamd.errors: codes, data, one tree."""

import orjson
import pytest

from streamd import errors
from streamd.errors import CallError, StreamdError

CODES = {
    "ParseError": -32700,
    "InvalidRequest": -32600,
    "MethodNotFound": -32601,
    "InvalidParams": -32602,
    "InternalError": -32603,
    "Unauthorized": -32001,
    "Forbidden": -32002,
    "LimitExceeded": -32004,
    "RateLimited": -32005,
    "UnknownSubscription": -32006,
    "PlaceLost": -32007,
    "UnknownOutcome": -32010,
    "StoreUnavailable": -32011,
}

EXAMPLES = [
    errors.ParseError("the message is not JSON"),
    errors.InvalidRequest("a call must be an object"),
    errors.MethodNotFound("there is no such method"),
    errors.InvalidParams("an undeclared key", unknown=["colour"], keys=["user"]),
    errors.InternalError(),
    errors.Unauthorized("the token is refused", reason="expired"),
    errors.Forbidden("reading is not granted"),
    errors.LimitExceeded("filter_values", 10_000, 12_034),
    errors.RateLimited("calls_per_second", 100, 250),
    errors.UnknownSubscription("no subscription 7", subscription=7),
    errors.PlaceLost("expired"),
    errors.UnknownOutcome(),
    errors.StoreUnavailable(retry_after_ms=250),
]


def test_every_call_error_has_the_code_of_the_wire() -> None:
    found = {cls.__name__: cls.code for cls in CallError.__subclasses__()}
    assert found == CODES
    assert len(set(CODES.values())) == len(CODES)


def test_the_tree_in_the_docstring_names_every_error() -> None:
    assert errors.__doc__ is not None
    for name in errors.__all__:
        assert f" {name} " in errors.__doc__ or f" {name}\n" in errors.__doc__, name
    for name, code in CODES.items():
        (line,) = [
            line
            for line in errors.__doc__.splitlines()
            if f"├── {name} " in f"{line} " or f"└── {name} " in f"{line} "
        ]
        assert str(code) in line


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_is_json_with_a_code_and_a_sentence(error: CallError) -> None:
    shown = orjson.loads(orjson.dumps(error.to_json()))
    assert shown["code"] == CODES[type(error).__name__]
    assert shown["message"] == str(error) == error.message
    assert shown["message"][0].islower() or shown["message"].startswith("filter_values")
    assert "Traceback" not in shown["message"]


def test_every_call_error_is_among_the_examples() -> None:
    assert {type(error).__name__ for error in EXAMPLES} == set(CODES)


def test_a_limit_says_what_it_is_and_what_was_given() -> None:
    error = errors.LimitExceeded("filter_values", 10_000, 12_034)
    assert error.to_json()["data"] == {"limit": "filter_values", "max": 10_000, "got": 12_034}


def test_without_data_there_is_no_data_member() -> None:
    assert "data" not in errors.ParseError("no").to_json()
    assert "data" not in errors.InternalError().to_json()


@pytest.mark.parametrize("reason", ["expired", "epoch"])
def test_a_lost_place_says_why(reason: "str") -> None:
    error = errors.PlaceLost(reason)  # type: ignore[arg-type]
    assert error.reason == reason
    assert error.to_json()["data"] == {"reason": reason}


def test_an_unavailable_store_says_when_to_come_back() -> None:
    assert errors.StoreUnavailable().to_json()["data"] == {"retry_after_ms": 1000}


def test_a_startup_error_is_no_answer_to_a_call() -> None:
    assert issubclass(errors.StartupError, StreamdError)
    assert not issubclass(errors.StartupError, CallError)
