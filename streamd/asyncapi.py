"""The conversation on a WebSocket as an AsyncAPI document (https://www.asyncapi.com), version 3."""

from collections.abc import Iterable
from typing import Any

from streamd.errors import CallError
from streamd.notifications import NOTIFICATIONS
from streamd.schemas import SCHEMAS, Schema, error_name, record, ref
from streamd.signatures import METHODS, NO_CALL, Method

__all__ = ["make_asyncapi"]

_ID: Schema = {"type": ["string", "number", "null"]}


def make_asyncapi(version: str) -> dict[str, Any]:
    """Return the document of this version of streamd; its application is the server."""
    messages = _messages()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "streamd",
            "version": version,
            "description": "JSON-RPC 2.0 in text frames: a client calls, the server answers and pushes. Calls may "
            "also come as batches, lists of up to info().limits.batch of them, whose answers are one list.",
            "license": {"name": "BSD-3-Clause"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "conversation": {
                "address": "/",
                "messages": {name: _to("components", "messages", name) for name in messages},
            }
        },
        "operations": _operations(),
        "components": {"schemas": SCHEMAS, "messages": messages},
    }


def _to(*path: str) -> dict[str, str]:
    return {"$ref": "/".join(("#", *path))}


def _in_channel(*names: str) -> list[dict[str, str]]:
    return [_to("channels", "conversation", "messages", name) for name in names]


def _operations() -> dict[str, Any]:
    channel = _to("channels", "conversation")
    calls = {
        _identifier(name): {
            "action": "receive",
            "channel": channel,
            "summary": method.summary,
            "messages": _in_channel(f"{_identifier(name)}.call"),
            "reply": {
                "channel": channel,
                "messages": _in_channel(
                    *(f"{_identifier(name)}.{end}" for end in ("result", "error"))
                ),
            },
        }
        for name, method in METHODS.items()
    }
    pushes = {
        f"push.{name}": {
            "action": "send",
            "channel": channel,
            "summary": notification.summary,
            "messages": _in_channel(f"push.{name}"),
        }
        for name, notification in NOTIFICATIONS.items()
    }
    refusal = {"refuse": {"action": "send", "channel": channel, "messages": _in_channel("refusal")}}
    return calls | refusal | pushes


def _identifier(method: str) -> str:
    return method.replace(".", "_")


def _messages() -> dict[str, Any]:
    messages: dict[str, Any] = {}
    for name, method in METHODS.items():
        own = _identifier(name)
        messages[f"{own}.call"] = _message(method.summary, _call(name, method))
        messages[f"{own}.result"] = _message(
            f"What {name} gives.", _message_of({"result": method.result, "id": _ID})
        )
        messages[f"{own}.error"] = _message(f"Why {name} gives nothing.", _error(method.errors))
    messages["refusal"] = _message("Why a message is no call.", _error(NO_CALL))
    for name, notification in NOTIFICATIONS.items():
        payload = _message_of({"method": {"const": name}, "params": notification.params})
        messages[f"push.{name}"] = _message(notification.summary, payload)
    return messages


def _message(summary: str, payload: Schema) -> dict[str, Any]:
    return {"summary": summary, "payload": payload}


def _message_of(members: dict[str, Schema], *, optional: tuple[str, ...] = ()) -> Schema:
    return record({"jsonrpc": {"const": "2.0"}, **members}, optional=optional)


def _call(name: str, method: Method) -> Schema:
    """Return the schema of a call; by name nothing else may be given, by position nothing after the last."""
    schemas = [param.schema for param in method.params]
    by_name = {
        **record(
            dict(zip(method.names, schemas, strict=True)),
            optional=tuple(set(method.names) - set(method.required)),
        ),
        "additionalProperties": False,
    }
    by_position: Schema = {
        "type": "array",
        "minItems": len(method.required),
        "maxItems": len(schemas),
    }
    if schemas:
        by_position["items"] = schemas
    params = {"oneOf": [by_name, by_position]}
    optional = ("id",) if method.required else ("params", "id")
    return _message_of({"method": {"const": name}, "params": params, "id": _ID}, optional=optional)


def _error(kinds: Iterable[type[CallError]]) -> Schema:
    return _message_of({"error": {"oneOf": [ref(error_name(kind)) for kind in kinds]}, "id": _ID})
