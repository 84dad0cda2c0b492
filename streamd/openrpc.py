"""The methods as an OpenRPC document (https://spec.open-rpc.org), which `rpc.discover` returns."""

from typing import Any

from streamd.schemas import SCHEMAS, title_of
from streamd.signatures import METHODS, Method

__all__ = ["make_openrpc"]


def make_openrpc(version: str) -> dict[str, Any]:
    """Return the document, version 1.3 of OpenRPC, of this version of streamd."""
    return {
        "openrpc": "1.3.2",
        "info": {
            "title": "streamd",
            "version": version,
            "description": "A real-time feed server: one filter for query and push. JSON-RPC 2.0 in the text "
            "frames of a WebSocket, and by POST with Content-Type: application/json.",
            "license": {"name": "BSD-3-Clause"},
        },
        "methods": [_method(name, method) for name, method in METHODS.items()],
        "components": {"schemas": SCHEMAS},
    }


def _method(name: str, method: Method) -> dict[str, Any]:
    where = {"description": "On a WebSocket alone."} if method.needs_peer else {}
    return {
        "name": name,
        "summary": method.summary,
        **where,
        "paramStructure": "either",
        "params": [
            {"name": param.name, "required": param.required, "schema": param.schema}
            for param in method.params
        ],
        "result": {"name": "result", "schema": method.result},
        "errors": [{"code": kind.code, "message": title_of(kind)} for kind in method.errors],
    }
