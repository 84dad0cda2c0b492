"""Who gets a WebSocket: the opening handshake of RFC 6455, section 4.2, and our own rules before it."""

import http
from collections.abc import Callable

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from streamd.transports.door import Refusal
from streamd.transports.gate import Gate

__all__ = ["BAD_REQUEST", "shake_hands"]

BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
"""The answer to a request that can't be read."""

_PATH = "/"


def shake_hands(
    server: ServerProtocol,
    request: Request,
    gate: Gate,
    address: str,
    admit: Callable[[str], Refusal | None],
) -> bool:
    """Answer a request, by way of its parser, and tell whether it now has its WebSocket.

    `admit` is asked last, whether there is room for a peer of this address.
    """
    refusal = _refusal(request, gate) or admit(address)
    response = server.accept(request) if refusal is None else _response(server, refusal)
    server.send_response(response)
    shaken = response.status_code == http.HTTPStatus.SWITCHING_PROTOCOLS
    if not shaken:
        gate.journal.refused("handshake" if refusal is None else refusal.reason, address)
    return shaken


def _refusal(request: Request, gate: Gate) -> Refusal | None:
    headers = request.headers
    refusal = gate.door.check(headers.get_all("Host"), headers.get_all("Origin"))
    if refusal is not None:
        return refusal
    if request.path.partition("?")[0] != _PATH:
        return Refusal(404, "path", f"the WebSocket is at {_PATH}")
    if gate.draining:
        return Refusal(503, "draining", "the server is shutting down")
    return None


def _response(server: ServerProtocol, refusal: Refusal) -> Response:
    response = server.reject(refusal.status, "")
    header, response.body = refusal.to_http()
    response.headers = Headers(header)
    return response
