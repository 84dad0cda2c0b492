"""HTTP: `POST /` with calls, what operators ask, and the pages for browsers."""

import math
from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from streamd import jsonrpc
from streamd.access import NOBODY, Access
from streamd.errors import CallError, LimitExceeded, RateLimited, StoreUnavailable, Unauthorized
from streamd.meters import Reason
from streamd.rates import Rates
from streamd.transports.cors import Cors
from streamd.transports.envelope import Envelope, read_envelope
from streamd.transports.gate import Gate
from streamd.transports.operations import Operations, json_response
from streamd.transports.pages import Page

__all__ = ["http_app"]

_JSON = "application/json"
_PLAIN = frozenset({"", "identity"})
_SAFE_METHODS = frozenset({"GET", "HEAD"})


def http_app(gate: Gate, pages: Mapping[str, Page], operations: Operations) -> ASGIApp:
    """Return the application that serves HTTP; `pages` are by path, with one at `/`."""
    site = _Site(gate, pages["/"])
    app = Starlette(
        routes=[
            Route("/", site.root, methods=["GET", "POST"]),
            *operations.routes(admin=False),
            *(Route(path, page.respond) for path, page in pages.items() if path != "/"),
        ],
        middleware=[Middleware(Cors, door=gate.door), Middleware(_AtTheDoor, gate=gate)],
        exception_handlers={
            HTTPException: _on_http_exception,
            ClientDisconnect: _on_disconnect,
            Exception: _on_defect,
        },
    )
    # It would name the Host that the peer gave.
    app.router.redirect_slashes = False
    return app


class _AtTheDoor:
    """Refuse requests by their Host and Origin, before anything else is done for them."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hosts = _header(scope, b"host")
        origins = [] if scope["method"] in _SAFE_METHODS else _header(scope, b"origin")
        refusal = self._gate.door.check(hosts, origins)
        app = self._app
        if refusal is not None:
            self._gate.journal.refused(refusal.reason, _address(self._gate, Request(scope)))
            app = _error(refusal.status, refusal.message)
        await app(scope, receive, send)


def _header(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


class _Site:
    """The resources."""

    def __init__(self, gate: Gate, page: Page) -> None:
        self._gate = gate
        self._page = page

    async def root(self, request: Request) -> Response:
        respond = self._post if request.method == "POST" else self._page.respond
        return await respond(request)

    async def _post(self, request: Request) -> Response:
        media_type = request.headers.get("content-type", "").partition(";")[0]
        if media_type.strip().lower() != _JSON:
            return _error(415, f"Content-Type must be {_JSON}")
        coding = request.headers.get("content-encoding", "")
        if coding.strip().lower() not in _PLAIN:
            return _error(415, "a body must come without a Content-Encoding")
        rates = self._rates(request)
        if rates is not None and (seconds := rates.barred()):
            milliseconds = math.ceil(seconds * 1000)
            error = RateLimited("refusals", self._gate.limits.refusals, milliseconds)
            later = {"Retry-After": str(math.ceil(seconds))}
            return self._refuse(request, 429, "refusals", error, later)
        try:
            access = await self._look(request)
        except Unauthorized as error:
            # RFC 6750, section 3: to those who bring no token no error is named.
            brought = "authorization" in request.headers
            challenge = 'Bearer error="invalid_token"' if brought else "Bearer"
            return self._refuse(request, 401, "token", error, {"WWW-Authenticate": challenge})
        except StoreUnavailable as error:
            return self._refuse(request, 503, "token", error, {"Retry-After": "1"})
        try:
            body = await self._read(request)
        except LimitExceeded as error:
            return self._refuse(request, 413, "message_bytes", error)
        envelope = await self._gate.turns.read(read_envelope, body)
        if envelope is not None:
            answer = await self._answer(envelope, access, rates)
        else:
            answer = await self._gate.worker.post(body, access, rates)
        self._gate.count_sent(len(answer))
        return Response(answer, media_type=_JSON) if answer else Response(status_code=204)

    def _refuse(
        self,
        request: Request,
        status: int,
        reason: Reason,
        error: CallError,
        headers: dict[str, str] | None = None,
    ) -> Response:
        """Answer for all calls of a request, which are not looked at."""
        why = error.why if isinstance(error, Unauthorized) else ""
        self._gate.journal.refused(reason, _address(self._gate, request), why)
        self._gate.worker.meters.call_errors[error.code].add()
        answer = jsonrpc.error_answer(b"null", error)
        return Response(answer, status, headers=headers, media_type=_JSON)

    async def _look(self, request: Request) -> Access:
        """Return what the caller may do, by the token in a header alone: a URL is written to logs."""
        access = await self._gate.guard.look(request.headers.getlist("authorization"))
        if access is NOBODY:
            raise Unauthorized("a token is needed here, as Authorization: Bearer")
        return access

    async def _read(self, request: Request) -> bytes:
        """Read the body; what is too much is counted, not kept."""
        limits = self._gate.limits
        announced = request.headers.get("content-length", "")
        if announced.isdecimal():
            limits.check("message_bytes", int(announced))
        body = bytearray()
        async for part in request.stream():
            limits.check("message_bytes", len(body) + len(part))
            body += part
        return bytes(body)

    def _rates(self, request: Request) -> Rates | None:
        """Return what all the calls are held to that come from where this one does."""
        return self._gate.census.rates(_address(self._gate, request))

    async def _answer(self, envelope: Envelope, access: Access, rates: Rates | None) -> bytes:
        try:
            result = await self._gate.worker.call(*envelope.to_call(), access, rates)
            return envelope.result(result)
        except CallError as error:
            return envelope.error(error)


def _address(gate: Gate, request: Request) -> str:
    """Return where a request comes from."""
    address = "" if request.client is None else request.client.host
    return gate.proxies.find(address, request.headers.getlist("x-forwarded-for"))


def _error(status: int, message: str) -> Response:
    return json_response(status, {"error": message})


async def _on_http_exception(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    response = _error(exc.status_code, exc.detail)
    response.headers.update(exc.headers or {})
    return response


async def _on_disconnect(request: Request, exc: Exception) -> Response:
    """Answer nobody: the peer went away before its request was complete."""
    return Response(status_code=400)


async def _on_defect(request: Request, exc: Exception) -> Response:
    """Tell the peer nothing; the server logs the cause."""
    return _error(500, "internal error")
