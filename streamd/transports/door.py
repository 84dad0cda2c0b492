"""Who may come in: the names this server goes by, and the web pages that may talk to it.

A web page that a browser shows can send requests to every server the browser reaches, those on the
developer's own machine too. What it can't do is to lie about two headers: `Host` (DNS rebinding
shows up here, RFC 9110 section 7.2) and `Origin` (cross-site requests show up here, RFC 6454
section 7; on WebSocket: RFC 6455 section 10.2). Both are compared exactly. No I/O here.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from streamd.errors import StartupError
from streamd.meters import Reason

__all__ = [
    "Authority",
    "Door",
    "Refusal",
    "host_allowed",
    "is_loopback",
    "origin_allowed",
    "parse_authority",
]

_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>.*)", re.DOTALL)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class Authority(NamedTuple):
    """A host, with its port where one was given."""

    name: str
    port: int | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody may not come in, as HTTP says it."""

    status: int
    reason: Reason
    message: str
    retry_after: int | None = None
    """Seconds after which it may be different."""

    def to_http(self) -> tuple[dict[str, str], bytes]:
        """Return the header and the body of the answer that says it, the last on its connection."""
        body = orjson.dumps({"error": self.message})
        header = {
            "Connection": "close",
            "Content-Length": str(len(body)),
            "Content-Type": "application/json",
        }
        if self.retry_after is not None:
            header["Retry-After"] = str(self.retry_after)
        return header, body


def parse_authority(text: str) -> Authority | None:
    """Read `name`, `name:port`, `[::1]` or `[::1]:port`; None for anything else."""
    match = _AUTHORITY.fullmatch(text.lower())
    if match is None:
        return None
    name, port = match["name"], match["port"]
    if name.startswith("["):
        try:
            name = f"[{ipaddress.IPv6Address(name[1:-1])}]"
        except ValueError:
            return None
    if port is not None and int(port) > 65535:
        return None
    return Authority(name, None if port is None else int(port))


def is_loopback(host: str) -> bool:
    """Tell whether a name or address is that of this machine, for nobody else to reach."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def host_allowed(host: str, hosts: frozenset[Authority]) -> bool:
    """Tell whether a `Host` header names one of `hosts`; an entry without a port fits every port."""
    authority = parse_authority(host)
    return authority is not None and _among(authority, hosts)


def _among(authority: Authority, hosts: frozenset[Authority]) -> bool:
    return authority in hosts or Authority(authority.name, None) in hosts


def origin_allowed(origin: str, hosts: frozenset[Authority], origins: frozenset[str]) -> bool:
    """Tell whether an `Origin` header is one of `origins`, or a web page of one of `hosts`.

    `null`, the origin of sandboxed frames and of local files, never is: anybody can have it.
    """
    scheme, authority = _parse_origin(origin)
    if authority is None:
        return False
    if scheme in _DEFAULT_PORTS and _among(authority, hosts):
        return True
    return _format_origin(scheme, authority) in origins


def _parse_origin(origin: str) -> tuple[str, Authority | None]:
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None:
        return "", None
    return match["scheme"], parse_authority(match["authority"])


def _format_origin(scheme: str, authority: Authority) -> str:
    name, port = authority
    # A browser leaves the default port out.
    if port is None or port == _DEFAULT_PORTS.get(scheme):
        return f"{scheme}://{name}"
    return f"{scheme}://{name}:{port}"


class Door:
    """Check who comes in by the headers of the request, for WebSocket and HTTP alike."""

    __slots__ = ("hosts", "origins")

    def __init__(self, *, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        """Take the names beside the loopback ones; raise StartupError for what can't be one."""
        self.hosts = frozenset(_read_host(host) for host in (*_LOOPBACK, *hosts))
        self.origins = frozenset(_read_origin(origin) for origin in origins)

    def check(self, hosts: Sequence[str], origins: Sequence[str]) -> Refusal | None:
        """Return why a request with these `Host` and `Origin` headers is refused, or None.

        A header given twice is refused: nobody knows which one counts.
        """
        if len(hosts) != 1 or not host_allowed(hosts[0], self.hosts):
            return Refusal(
                421, "host", "this server does not go by that Host; --allow-host can name it"
            )
        if len(origins) > 1 or not all(
            origin_allowed(origin, self.hosts, self.origins) for origin in origins
        ):
            return Refusal(
                403, "origin", "pages of this Origin may not come in; --allow-origin can name it"
            )
        return None


def _read_host(text: str) -> Authority:
    bare_ipv6 = text.count(":") > 1 and not text.startswith("[")
    authority = parse_authority(f"[{text}]" if bare_ipv6 else text)
    if authority is None:
        raise StartupError(
            f"{text!r} is not a host: write a name such as feed.example.org, or name:port"
        )
    return authority


def _read_origin(text: str) -> str:
    scheme, authority = _parse_origin(text)
    if authority is None:
        raise StartupError(
            f"{text!r} is not an origin: write one such as https://example.org, without a path"
        )
    return _format_origin(scheme, authority)
