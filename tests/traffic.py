"""Real traffic, held against what the server says of itself: its OpenRPC and AsyncAPI documents."""

from collections import deque
from functools import cache
from typing import Any

import orjson
from jsonschema_rs import Draft7Validator

from streamd import __version__
from streamd.asyncapi import make_asyncapi
from streamd.openrpc import make_openrpc
from streamd.signatures import METHODS

__all__ = [
    "ASYNCAPI",
    "OPENRPC",
    "Traffic",
    "check_answer",
    "check_notification",
    "check_refusal",
    "closed",
]

OPENRPC = make_openrpc(__version__)
ASYNCAPI = make_asyncapi(__version__)

NEEDED: dict[str, dict[str, Any]] = {
    "authenticate": {"token": "x.y.z"},
    "insert": {"event": {"user": 1}},
    "insert_many": {"events": [{"user": 1}]},
    "unsubscribe": {"subscription": 9},
    "explain": {"event": {}},
}
"""Of those methods that need some, parameters that are as they must be."""


def closed(schema: Any) -> Any:
    """Return a schema in which no object has a member that is not named: what is new must be written down.

    Clients can't count on the `data` of an error; where it has something for them, the server sends it.
    """
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(each) for name, each in schema.items()}
    if made.get("type") == "object" and "properties" in made:
        made.setdefault("additionalProperties", False)
        if "required" in made["properties"].get("data", {}):
            made["required"] = [*made["required"], "data"]
    return made


def _validator(schema: Any, document: Any) -> Draft7Validator:
    components = {"schemas": closed(document["components"]["schemas"])}
    return Draft7Validator({"allOf": [closed(schema)], "components": components})


@cache
def _of_method(name: str) -> tuple[dict[str, Draft7Validator], Draft7Validator, set[int]]:
    (method,) = (each for each in OPENRPC["methods"] if each["name"] == name)
    params = {each["name"]: _validator(each["schema"], OPENRPC) for each in method["params"]}
    result = _validator(method["result"]["schema"], OPENRPC)
    return params, result, {error["code"] for error in method["errors"]}


@cache
def _of_message(name: str) -> Draft7Validator:
    return _validator(ASYNCAPI["components"]["messages"][name]["payload"], ASYNCAPI)


def check_answer(call: dict[str, Any], answer: dict[str, Any]) -> None:
    """Raise if a call that was answered, or its answer, is not as the documents say."""
    name = call["method"]
    if name not in METHODS:
        check_refusal(answer)
        return
    own = name.replace(".", "_")
    params, result, codes = _of_method(name)
    if "error" in answer:
        _of_message(f"{own}.error").validate(answer)
        assert answer["error"]["code"] in codes, answer
        return
    _of_message(f"{own}.call").validate(call)
    _of_message(f"{own}.result").validate(answer)
    given = call.get("params", {})
    if isinstance(given, list):
        given = dict(zip(params, given, strict=False))
    for each, value in given.items():
        params[each].validate(value)
    result.validate(answer["result"])


def check_refusal(answer: dict[str, Any]) -> None:
    """Raise if the answer to what is no call, or to more than is taken, is not as the documents say."""
    _of_message("refusal").validate(answer)


def check_notification(message: dict[str, Any]) -> None:
    """Raise if a notification is not as the documents say."""
    _of_message(f"push.{message['method']}").validate(message)


class Traffic:
    """What passes on one connection."""

    def __init__(self) -> None:
        self.methods: set[str] = set()
        """Methods that were answered with a result, and notifications that came."""
        self.errors: set[tuple[str, int]] = set()
        """The codes of errors with the method that had them: of what was none, `refusal`; of an end, `closed`."""
        self._open: dict[bytes, deque[Any]] = {}

    def sent(self, text: str | bytes) -> None:
        """Take note of a message to the server; what is no call will be answered as such."""
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError:
            return
        for call in message if isinstance(message, list) else [message]:
            if isinstance(call, dict) and "id" in call and isinstance(call.get("method"), str):
                self._open.setdefault(orjson.dumps(call["id"]), deque()).append(call)

    def came(self, message: Any) -> None:
        """Check a message from the server."""
        for each in message if isinstance(message, list) else [message]:
            if "jsonrpc" not in each:
                continue  # AwesomeStream's envelope has no documents.
            if "method" in each:
                self._told(each)
            else:
                self._answered(each)

    def _told(self, message: dict[str, Any]) -> None:
        check_notification(message)
        self.methods.add(message["method"])
        if message["method"] == "closed":
            self.errors.add(("closed", message["params"]["code"]))

    def _answered(self, answer: dict[str, Any]) -> None:
        calls = self._open.get(orjson.dumps(answer["id"]))
        call = calls.popleft() if calls else {"method": None}
        check_answer(call, answer)
        if "result" in answer:
            self.methods.add(call["method"])
        else:
            known = call["method"] in METHODS
            self.errors.add((call["method"] if known else "refusal", answer["error"]["code"]))
