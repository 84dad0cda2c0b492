"""Which web pages may read what `POST /` answers: those that may come in (Fetch standard, CORS protocol)."""

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from streamd.transports.door import Door, origin_allowed

__all__ = ["Cors"]

_METHODS = frozenset({"OPTIONS", "POST"})
_PREFLIGHT_SECONDS = 600


class Cors(CORSMiddleware):
    """Let the pages of the door's origins read answers, its refusals among them; answer their preflights."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        """Stand around an application."""
        super().__init__(
            app,
            allow_methods=["POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After", "WWW-Authenticate"],
            max_age=_PREFLIGHT_SECONDS,
        )
        self._door = door

    def is_allowed_origin(self, origin: str) -> bool:
        """Tell whether pages of an origin may come in."""
        return origin_allowed(origin, self._door.hosts, self._door.origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, or add to the answer who may read it; the other resources are not for pages."""
        calls = scope["path"] == "/" and scope["method"] in _METHODS
        await (super().__call__ if calls else self.app)(scope, receive, send)
