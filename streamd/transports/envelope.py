"""The envelope of AwesomeStream 0.1 (2010), so that its client works unchanged. No I/O.

{"id": …, "method": "items", "args": [1, 3], "kwargs": {"user": [23, 291]}}
{"id": …, "result": [ … ], "error": null}
"""

from dataclasses import dataclass
from typing import Any

import orjson

from streamd import jsonrpc
from streamd.errors import CallError, InvalidParams, InvalidRequest, ParseError
from streamd.types import Json, JsonObject

__all__ = ["Envelope", "read_envelope"]


@dataclass(frozen=True, slots=True)
class Envelope:
    """One call of AwesomeStream's client."""

    id: bytes
    """As JSON, of whatever type it was; null if it can't be written again."""
    method: Json
    args: Json
    kwargs: Json

    def to_call(self) -> tuple[str, JsonObject | list[Any]]:
        """Return the method and its params as they are here; raise CallError for what can't be a call."""
        if not isinstance(self.method, str):
            raise InvalidRequest("a call needs a method, as a string")
        if not isinstance(self.args, list) or not isinstance(self.kwargs, dict):
            raise InvalidRequest("args must be a list and kwargs an object")
        if self.method == "items":
            return "items", self._items_params()
        if self.method == "insert":
            return "insert", self._insert_params()
        if self.args and self.kwargs:
            raise InvalidParams(f"{self.method} takes args or kwargs, not both")
        return self.method, self.args or self.kwargs

    def _items_params(self) -> JsonObject:
        """Take start and end by position or by name; every other name is a key."""
        params = self._by_name("start", "end")
        wanted = {name: params.pop(name) for name in [*params] if name not in ("start", "end")}
        return {"filter": wanted, **params}

    def _insert_params(self) -> JsonObject:
        """Take what AwesomeStream's insert took, `data` and `date`, or ours by name."""
        params = self._by_name("data", "date")
        if params.pop("date", None) is not None:
            raise InvalidParams("insert takes no date: the store gives each event its time")
        if "data" in params and "event" in params:
            raise InvalidParams("insert has two values for event")
        if "data" in params:
            params["event"] = params.pop("data")
        return params

    def _by_name(self, *names: str) -> JsonObject:
        """Return args and kwargs together, as a function with these parameters would take them."""
        if len(self.args) > len(names):
            raise InvalidParams(f"{self.method} takes at most {len(names)} args")
        params: JsonObject = dict(zip(names, self.args, strict=False))
        if twice := params.keys() & self.kwargs.keys():
            raise InvalidParams(f"{self.method} has two values for {min(twice)}")
        return {**params, **self.kwargs}

    def result(self, result: bytes) -> bytes:
        """Return the answer with a result, given as JSON."""
        return b'{"id":%b,"result":%b,"error":null}' % (self.id, result)

    def error(self, error: CallError) -> bytes:
        """Return the answer that tells of an error; this envelope has room for a text only."""
        # Python 2 can't show an exception whose text is not ASCII.
        text = orjson.dumps(error.message.encode("ascii", "backslashreplace").decode())
        return b'{"id":%b,"result":null,"error":%b}' % (self.id, text)


def read_envelope(body: bytes) -> Envelope | None:
    """Return the envelope that `body` is, or None if it is something else."""
    if b'"args"' not in body and b'"kwargs"' not in body:
        return None
    try:
        message = jsonrpc.from_json(body)
    except ParseError:
        return None
    if (
        not isinstance(message, dict)
        or "jsonrpc" in message
        or not {"args", "kwargs"} & set(message)
    ):
        return None
    return Envelope(
        id=_id_text(message.get("id")),
        method=message.get("method"),
        args=message.get("args", []),
        kwargs=message.get("kwargs", {}),
    )


def _id_text(ident: Json) -> bytes:
    """Return an id as JSON; null for what can be read and not written (see event.draft_event)."""
    try:
        return orjson.dumps(ident)
    except orjson.JSONEncodeError:
        return b"null"
