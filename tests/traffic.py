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

__all__ = ["ASYNCAPI", "OPENRPC", "Traffic", "check_answer", "check_notification", "closed"]

OPENRPC = make_openrpc(__version__)
ASYNCAPI = make_asyncapi(__version__)


def closed(schema: Any) -> Any:
    """Return a schema in which no object has a member that is not named: what is new must be written down."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(each) for name, each in schema.items()}
    if made.get("type") == "object" and "properties" in made:
        made.setdefault("additionalProperties", False)
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
        assert answer["error"]["code"] == -32601, answer
        return
    own = name.replace(".", "_")
    params, result, codes = _of_method(name)
    if "error" in answer:
        assert answer["error"]["code"] in codes, answer
        _of_message(f"{own}.error").validate(answer)
        return
    given = call.get("params", {})
    if isinstance(given, list):
        given = dict(zip(params, given, strict=False))
    for each, value in given.items():
        params[each].validate(value)
    result.validate(answer["result"])
    _of_message(f"{own}.call").validate(call)
    _of_message(f"{own}.result").validate(answer)


def check_notification(message: dict[str, Any]) -> None:
    """Raise if a notification is not as the documents say."""
    _of_message(f"push.{message['method']}").validate(message)


class Traffic:
    """What passes on one connection."""

    def __init__(self) -> None:
        self.methods: set[str] = set()
        """Methods that were answered with a result, and notifications that came."""
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
                check_notification(each)
                self.methods.add(each["method"])
                continue
            calls = self._open.get(orjson.dumps(each["id"]))
            if calls:
                call = calls.popleft()
                check_answer(call, each)
                if "result" in each:
                    self.methods.add(call["method"])
            else:
                _of_message("refusal").validate(each)
