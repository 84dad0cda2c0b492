"""What browsers are served: the dashboard, the JavaScript client, an example of its use, and what describes the wire.

The files are read once, at the start. No request leads to the file system, and what a page is made
for is always the server that it came from.
"""

import base64
import gzip
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import orjson
from starlette.requests import Request
from starlette.responses import Response

from streamd import __version__
from streamd.asyncapi import make_asyncapi
from streamd.errors import StartupError
from streamd.openrpc import make_openrpc

__all__ = ["Page", "find_client", "read_pages"]

_PACKAGE = Path(__file__).parents[1]

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_ASSET = re.compile(r"[a-z][a-z0-9_-]*\.(?:css|js|svg)")
_INLINE = re.compile(r"<(script|style)\b[^>]*>(.+?)</\1>", re.S)
_GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))", re.I)

_FOR_ALL = {
    # It is asked for each time, lest page and server are of two versions; the answer is mostly 304.
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_FOR_ANY_ORIGIN = {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
_FOR_THIS_ORIGIN = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_WITHOUT_DASHBOARD = f"""streamd {__version__}: a real-time feed server.

WebSocket, JSON-RPC 2.0:   ws://<this address>/
HTTP, the same calls:      POST / with Content-Type: application/json
JavaScript client:         GET /streamd.js
Health:                    GET /health/live, GET /health/ready
The methods for machines:  GET /openrpc.json, GET /asyncapi.json
"""


class Page:
    """A text as browsers get it: plain, compressed, or not once more."""

    __slots__ = ("_body", "_compressed", "_tag", "headers")

    def __init__(self, text: str, kind: str, headers: dict[str, str]) -> None:
        """Prepare what is the same for everybody; `kind` is the suffix of its file."""
        headers = {"Content-Type": _TYPES[kind], **_FOR_ALL, **headers}
        self._body = text.encode()
        self._compressed = gzip.compress(self._body, mtime=0)
        # Of the headers too: with 304 a browser may go on with those that it has kept.
        digest = hashlib.sha256(repr(headers).encode() + self._body).hexdigest()
        self._tag = f'"{digest[:32]}"'
        # Weak, as it is that of both forms (RFC 9110, section 8.8.1).
        self.headers = {**headers, "ETag": f"W/{self._tag}"}

    async def respond(self, request: Request) -> Response:
        """Answer GET or HEAD."""
        if self._tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=self.headers)
        if _GZIP.search(request.headers.get("accept-encoding", "")):
            return Response(self._compressed, headers={**self.headers, "Content-Encoding": "gzip"})
        return Response(self._body, headers=self.headers)


@cache
def read_pages(package: Path = _PACKAGE, *, dashboard: bool) -> dict[str, Page]:
    """Return all pages by their paths, `/` among them; raise StartupError if a file is missing.

    Without the dashboard they are the client, what describes the wire, and a plain text. The files are
    read here.
    """
    client = find_client(package)
    pages = {**dict(_client_pages(client / "src")), **_descriptions()}
    if dashboard:
        pages.update(_dashboard_pages(package / "dashboard"))
        pages["/example"] = _html(client / "example" / "friend-feed.html", forms="'self'")
    else:
        pages["/"] = Page(_WITHOUT_DASHBOARD, ".txt", {})
    return pages


def find_client(package: Path) -> Path:
    """Return the folder of the JavaScript client: in the package if installed, else in the checkout."""
    for folder in (package / "js", package.parent / "clients" / "js"):
        if (folder / "src" / "streamd.js").is_file():
            return folder
    raise StartupError("the files of the JavaScript client are missing: install streamd anew")


def _client_pages(source: Path) -> Iterator[tuple[str, Page]]:
    for file in (source / "streamd.js", *_assets(source / "streamd")):
        yield f"/{file.relative_to(source).as_posix()}", _page(file, _FOR_ANY_ORIGIN)


def _descriptions() -> dict[str, Page]:
    documents = {
        "/openrpc.json": make_openrpc(__version__),
        "/asyncapi.json": make_asyncapi(__version__),
    }
    return {
        path: Page(orjson.dumps(document).decode(), ".json", _FOR_ANY_ORIGIN)
        for path, document in documents.items()
    }


def _dashboard_pages(folder: Path) -> Iterator[tuple[str, Page]]:
    yield "/", _html(folder / "index.html", forms="'none'")
    # What browsers ask for if a page names no icon, as the example does.
    yield "/favicon.ico", _page(folder / "icon.svg", _FOR_THIS_ORIGIN)
    for file in _assets(folder):
        yield f"/dashboard/{file.name}", _page(file, _FOR_THIS_ORIGIN)


def _assets(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if _ASSET.fullmatch(file.name)]


def _page(file: Path, headers: dict[str, str]) -> Page:
    return Page(_read(file), file.suffix, headers)


def _html(file: Path, *, forms: str) -> Page:
    policy = {"Content-Security-Policy": _policy(_read(file), forms)}
    return _page(file, policy | _FOR_THIS_ORIGIN)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as exc:
        raise StartupError(f"{file} can't be read ({exc.strerror}): install streamd anew") from exc


def _policy(html: str, forms: str) -> str:
    """Return what the page may do: nothing but talk to this server and run what came with it.

    Events are hostile texts. What is inline in the page is named by its hash. 'self' includes the
    WebSocket (CSP 3, section 6.7.2.8).
    """
    inline = {"script": "'self'", "style": "'self'"}
    for element, content in _INLINE.findall(html):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        inline[element] += f" 'sha256-{digest}'"
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {inline['script']}",
            f"style-src {inline['style']}",
            "img-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            f"form-action {forms}",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )
