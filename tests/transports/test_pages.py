"""What browsers get, by the bytes and headers of a real server."""

import base64
import gzip
import hashlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import orjson
import pytest

from streamd import __version__
from streamd.asyncapi import make_asyncapi
from streamd.errors import StartupError
from streamd.openrpc import make_openrpc
from streamd.server import RunningServer
from streamd.transports.pages import Page, find_client, read_pages
from tests.harness import Peer, Response, get, running

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "js"
SOURCE = CLIENT / "src"
DASHBOARD = ROOT / "streamd" / "dashboard"
EXAMPLE = CLIENT / "example" / "friend-feed.html"

JAVASCRIPT = "text/javascript; charset=utf-8"
HTML = "text/html; charset=utf-8"
TYPES = {
    ".js": JAVASCRIPT,
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".html": HTML,
}

MODULES = {
    f"/{file.relative_to(SOURCE).as_posix()}": file
    for file in (SOURCE / "streamd.js", *SOURCE.glob("streamd/*.js"))
}
ASSETS = {f"/dashboard/{file.name}": file for file in DASHBOARD.glob("[!.]*.*")}
ASSETS.pop("/dashboard/index.html")
ASSETS["/favicon.ico"] = DASHBOARD / "icon.svg"
PAGES = {"/": DASHBOARD / "index.html", "/example": EXAMPLE}
FILES = MODULES | ASSETS | PAGES

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}


async def ask(server: RunningServer, request: bytes) -> Response:
    async with Peer.connect(server) as peer:
        await peer.send(request)
        return await peer.response()


def policy(response: Response) -> dict[str, str]:
    parts = [part.split(" ", 1) for part in response.headers["content-security-policy"].split("; ")]
    assert len({name for name, _ in parts}) == len(parts), "only the first of a name counts"
    return dict(parts)


class Inline(HTMLParser):
    """What a browser would find in a page beside its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {"script": [], "style": []}
        self.attributes: set[str] = set()
        self._element = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._element = tag
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        self._element = ""

    def handle_data(self, data: str) -> None:
        if self._element in self.found:
            self.found[self._element].append(data)

    def hashes(self, element: str) -> Iterator[str]:
        for text in self.found[element]:
            yield f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


# What is there.


async def test_every_file_is_served_as_it_is(server: RunningServer) -> None:
    assert {"/streamd.js", "/streamd/client.js", "/", "/example"} <= FILES.keys()
    async with Peer.connect(server) as peer:
        for path, file in FILES.items():
            await peer.send(get(path))
            response = await peer.response()
            assert (response.status, response.body) == (200, file.read_bytes()), path
            assert response.headers["content-type"] == TYPES[file.suffix]
            assert response.headers["cache-control"] == "no-cache"
            assert response.headers["vary"] == "Accept-Encoding"
            assert response.headers["x-content-type-options"] == "nosniff"
            assert response.headers["referrer-policy"] == "no-referrer"


async def test_any_origin_may_import_the_client(server: RunningServer) -> None:
    for path in MODULES:
        response = await ask(server, get(path, "Origin: https://site.example"))
        assert response.status == 200
        assert response.headers["access-control-allow-origin"] == "*"
        assert response.headers["cross-origin-resource-policy"] == "cross-origin"


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/openrpc.json", make_openrpc(__version__)),
        ("/asyncapi.json", make_asyncapi(__version__)),
    ],
)
@pytest.mark.parametrize("dashboard", [True, False])
async def test_any_origin_may_read_what_describes_the_wire(
    path: str, document: Any, dashboard: bool
) -> None:
    async with running(dashboard=dashboard) as server:
        response = await ask(server, get(path, "Origin: https://editor.example"))
    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.json == orjson.loads(orjson.dumps(document))


async def test_no_other_origin_reads_or_opens_the_dashboard(server: RunningServer) -> None:
    for path in PAGES | ASSETS:
        response = await ask(server, get(path, "Origin: https://site.example"))
        assert "access-control-allow-origin" not in response.headers
        assert response.headers["cross-origin-resource-policy"] == "same-origin"
        assert response.headers["cross-origin-opener-policy"] == "same-origin"


async def test_without_a_dashboard_the_client_is_there_still() -> None:
    async with running(dashboard=False) as server:
        for path in FILES:
            response = await ask(server, get(path))
            assert response.status == (200 if path in MODULES or path == "/" else 404), path
        text = await ask(server, get("/"))
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert f"streamd {__version__}: a real-time feed server." in text.body.decode()


@pytest.mark.parametrize(
    "path",
    [
        "/streamd/../../../pyproject.toml",
        "/streamd/..%2f..%2f..%2fpyproject.toml",
        "/streamd/%2e%2e/%2e%2e/%2e%2e/pyproject.toml",
        "/streamd/..\\..\\package.json",
        "/dashboard/../__init__.py",
        "/dashboard/%2e%2e/__init__.py",
        "/dashboard/..%252f__init__.py",
        "/dashboard//etc/passwd",
        "/dashboard/index.html%00.js",
        "/streamd.js%00",
        "/%00",
        "/streamd",
        "/streamd/",
        "/dashboard",
        "/dashboard/",
        "/dashboard/index.html",
        "/dashboard/.dashboard.js",
        "/.git/config",
        "/streamd.js/",
        "/STREAMD.JS",
        "/example/friend-feed.html",
    ],
)
async def test_nothing_else_is_there(server: RunningServer, path: str) -> None:
    response = await ask(server, get(path))
    assert (response.status, response.json) == (404, {"error": "Not Found"})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("path", ["/streamd.js", "/example"])
async def test_they_can_only_be_read(server: RunningServer, path: str, method: str) -> None:
    request = get(path, "Content-Length: 0").replace(b"GET", method.encode())
    response = await ask(server, request)
    assert (response.status, response.json) == (405, {"error": "Method Not Allowed"})
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("path", ["/", "/streamd.js", "/example"])
async def test_the_door_is_before_them(server: RunningServer, path: str) -> None:
    request = get(path).replace(b"localhost", b"evil.example")
    assert (await ask(server, request)).status == 421


# How it comes.


@pytest.mark.parametrize("path", ["/", "/example", "/streamd.js"])
@pytest.mark.parametrize("headers", [[], ["Accept-Encoding: gzip"]])
async def test_head_is_get_without_a_body(
    server: RunningServer, path: str, headers: list[str]
) -> None:
    async with Peer.connect(server) as peer:
        await peer.send(get(path, *headers))
        whole = await peer.response()
        await peer.send(get(path, *headers).replace(b"GET", b"HEAD"))
        head = (await peer.read_through(b"\r\n\r\n")).decode()
        await peer.send(get("/health/live"))
        assert (await peer.response()).json == {"status": "live"}, "nothing was between"
    for name, value in whole.headers.items():
        assert name == "date" or f"{name}: {value}\r\n" in head


@pytest.mark.parametrize("form", ["{}", 'W/"x", {}', "strong", '"x",{},"y"'])
@pytest.mark.parametrize("path", ["/", "/streamd.js"])
async def test_what_a_browser_has_is_not_sent_again(
    server: RunningServer, path: str, form: str
) -> None:
    first = await ask(server, get(path))
    tag = first.headers["etag"]
    known = tag.removeprefix("W/") if form == "strong" else form.format(tag)
    again = await ask(server, get(path, f"If-None-Match: {known}", "Accept-Encoding: gzip"))
    assert (again.status, again.body) == (304, b"")
    for name in ("etag", "cache-control", "vary"):
        assert again.headers[name] == first.headers[name]
    assert again.headers.get("content-security-policy") == first.headers.get(
        "content-security-policy"
    )
    assert (await ask(server, get(path, 'If-None-Match: W/"other"'))).status == 200


def test_a_tag_is_of_one_text_and_its_headers() -> None:
    pages = [
        Page("a", ".js", {}),
        Page("b", ".js", {}),
        Page("a", ".css", {}),
        Page("a", ".js", {"Content-Security-Policy": "default-src 'none'"}),
    ]
    assert len({page.headers["ETag"] for page in pages}) == len(pages)
    assert Page("a", ".js", {}).headers == pages[0].headers


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, GZIP;q=0.8", True),
        ("gzip;q=0.001", True),
        ("identity", False),
        ("gzip;q=0", False),
        ("br, gzip; q=0.000, deflate", False),
        ("", False),
    ],
)
async def test_it_is_compressed_for_those_who_take_it(
    server: RunningServer, accepted: str, compressed: bool
) -> None:
    plain = await ask(server, get("/streamd/client.js"))
    response = await ask(server, get("/streamd/client.js", f"Accept-Encoding: {accepted}"))
    assert response.headers.get("content-encoding") == ("gzip" if compressed else None)
    body = gzip.decompress(response.body) if compressed else response.body
    assert body == plain.body
    assert not compressed or len(response.body) < len(plain.body) / 2


# What a page may do.


async def test_the_dashboard_may_run_and_reach_only_what_is_of_this_server(
    server: RunningServer,
) -> None:
    response = await ask(server, get("/"))
    assert policy(response) == POLICY
    inline = Inline(response.body.decode())
    assert inline.found == {"script": [], "style": []}
    assert not [name for name in inline.attributes if name == "style" or name.startswith("on")]


async def test_the_example_may_run_its_own_script_besides(server: RunningServer) -> None:
    response = await ask(server, get("/example"))
    inline = Inline(response.body.decode())
    (script,), (style,) = inline.hashes("script"), inline.hashes("style")
    assert policy(response) == POLICY | {
        "script-src": f"'self' {script}",
        "style-src": f"'self' {style}",
        "form-action": "'self'",
    }
    assert not [name for name in inline.attributes if name == "style" or name.startswith("on")]


# Where the files are.


def package(folder: Path) -> Path:
    """Make a package as it is when it is installed."""
    for name in ("js/src/streamd.js", "js/src/streamd/client.js", "js/example/friend-feed.html",
                 "dashboard/index.html", "dashboard/dashboard.js", "dashboard/icon.svg"):  # fmt: skip
        file = folder / "streamd" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return folder / "streamd"


def test_an_installed_package_has_its_own(tmp_path: Path) -> None:
    installed = package(tmp_path)
    stranger = tmp_path / "clients" / "js" / "src" / "streamd.js"
    stranger.parent.mkdir(parents=True)
    stranger.touch()
    assert find_client(ROOT / "streamd") == CLIENT
    assert find_client(installed) == installed / "js"
    assert sorted(read_pages(installed, dashboard=True)) == [
        "/", "/asyncapi.json", "/dashboard/dashboard.js", "/dashboard/icon.svg", "/example", "/favicon.ico",
        "/openrpc.json", "/streamd.js", "/streamd/client.js",
    ]  # fmt: skip


def test_what_is_no_part_of_the_pages_is_left_alone(tmp_path: Path) -> None:
    installed = package(tmp_path)
    for name in (".#dashboard.js", "dashboard.js~", "README.md", "tsconfig.json", ".js"):
        (installed / "dashboard" / name).touch()
        (installed / "js" / "src" / "streamd" / name).touch()
    assert len(read_pages(installed, dashboard=True)) == 9


@pytest.mark.parametrize(
    "name",
    [
        "js/src/streamd.js",
        "js/example/friend-feed.html",
        "dashboard/index.html",
        "dashboard/icon.svg",
    ],
)
def test_a_file_that_is_missing_is_said_at_the_start(tmp_path: Path, name: str) -> None:
    installed = package(tmp_path)
    (installed / name).unlink()
    with pytest.raises(StartupError, match="install streamd anew"):
        read_pages(installed, dashboard=True)
