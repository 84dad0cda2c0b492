"""What those ask who run the server: whether it lives, whether it is ready, what it has counted.

On the port of everybody metrics are for this machine alone, or for tokens that say so. An operator's own
port (`--admin-port`) has nothing else on it and stays until the server has ended.
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from functools import partial

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from streamd.errors import CallError, StoreUnavailable, Unauthorized
from streamd.ledger import Ledger
from streamd.metrics import expose
from streamd.transports.door import Door, parse_authority
from streamd.transports.gate import Gate

__all__ = ["Operations", "admin_app", "json_response"]

_JSON = "application/json"
_NO_STORE = {"Cache-Control": "no-store"}
_PASSED_ON = (
    "forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip",
)  # fmt: skip
"""Headers of a request that a proxy has passed on: whose it is, its address does not tell."""


def json_response(
    status: int, content: dict[str, str], headers: dict[str, str] | None = None
) -> Response:
    """Return a response of JSON that nobody keeps."""
    headers = _NO_STORE | (headers or {})
    return Response(orjson.dumps(content), status, headers=headers, media_type=_JSON)


class Operations:
    """The resources for operators."""

    def __init__(self, gate: Gate, ledger: Ledger, *, local: bool) -> None:
        """Prepare; `local` says that nobody but this machine gets to the port of everybody."""
        self._gate = gate
        self._ledger = ledger
        self._local = local

    def routes(self, *, admin: bool) -> list[Route]:
        """Return what is on a port: the operators' own, or that of everybody."""
        metrics = self._metrics if admin else self._guarded_metrics
        return [
            _route("/health/live", self._live),
            _route("/health/ready", self._ready),
            _route("/metrics", metrics),
        ]

    async def _live(self, request: Request) -> Response:
        # That this is answered shows that the event loop turns. What is the store's passes by itself.
        if self._gate.worker.watch.alive:
            return json_response(200, {"status": "live"})
        return json_response(503, {"status": "not live"})

    async def _ready(self, request: Request) -> Response:
        trouble = self._gate.worker.watch.trouble
        if self._gate.draining:
            return json_response(503, {"status": "draining"})
        if trouble is not None:
            return json_response(503, {"status": "not ready", "reason": trouble})
        return json_response(200, {"status": "ready"})

    async def _metrics(self, request: Request) -> Response:
        worker = self._gate.worker
        worker.watch.measure()
        accept = request.headers.get("accept", "")
        rows = self._ledger.read()
        text, media_type = await asyncio.to_thread(expose, worker.meters.families, rows, accept)
        return Response(text, headers=_NO_STORE | {"Content-Type": media_type})

    async def _guarded_metrics(self, request: Request) -> Response:
        passed_on = any(name in request.headers for name in _PASSED_ON)
        if self._local and not passed_on:
            return await self._metrics(request)
        try:
            access = await self._gate.guard.look(request.headers.getlist("authorization"))
        except CallError as error:
            address = "" if request.client is None else request.client.host
            why = error.why if isinstance(error, Unauthorized) else ""
            self._gate.journal.refused("token", address, why)
            if isinstance(error, StoreUnavailable):
                return json_response(503, {"error": error.message}, {"Retry-After": "1"})
            challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            return json_response(401, {"error": error.message}, challenge)
        if access.subject is not None and access.admin:
            return await self._metrics(request)
        reason = "metrics are on the port that --admin-port names, and here for tokens with admin"
        return json_response(403, {"error": reason})


def _route(path: str, respond: Callable[[Request], Awaitable[Response]]) -> Route:
    return Route(path, respond, methods=["GET"])


def admin_app(operations: Operations, door: Door) -> ASGIApp:
    """Return the application of the operators' own port."""
    app = Starlette(
        routes=operations.routes(admin=True),
        middleware=[Middleware(partial(_AtTheAdminDoor, door=door))],
    )
    app.router.redirect_slashes = False
    return app


class _AtTheAdminDoor:
    """Refuse what a web page made a browser ask by a name of its own (DNS rebinding): an address is no name."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hosts = [value.decode("latin-1") for key, value in scope["headers"] if key == b"host"]
        refusal = None if _is_address(hosts) else self._door.check(hosts, ())
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            response = json_response(refusal.status, {"error": refusal.message})
            await response(scope, receive, send)


def _is_address(hosts: list[str]) -> bool:
    authority = parse_authority(hosts[0]) if len(hosts) == 1 else None
    try:
        return authority is not None and bool(ipaddress.ip_address(authority.name.strip("[]")))
    except ValueError:
        return False
