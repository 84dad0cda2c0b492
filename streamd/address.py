"""Where a server listens: addresses, and the sockets bound to them."""

import errno
import socket
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from streamd.errors import StartupError
from streamd.transports import kernel
from streamd.transports.door import is_loopback

__all__ = ["Address", "Place", "bind", "closing", "resolve"]

_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What a machine says of an address that it does not have: localhost may name ::1 where there is no IPv6."""

Place = tuple[socket.AddressFamily, str]
"""One of the addresses that a host means."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int
    secure: bool = field(default=False, kw_only=True)
    """Whether it speaks TLS."""

    @property
    def authority(self) -> str:
        """The host and port as URLs have them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL for HTTP."""
        return f"http{'s' * self.secure}://{self.authority}/"

    @property
    def ws_url(self) -> str:
        """The URL for WebSocket."""
        return f"ws{'s' * self.secure}://{self.authority}/"


def resolve(host: str) -> list[Place]:
    """Return all that the host means; raise StartupError if it means nothing. It may take long."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as exc:  # such as a label of 64 characters
        raise StartupError(
            f"the host {host!r} can't be resolved: choose another with --host"
        ) from exc
    places: list[Place] = list(
        dict.fromkeys((family, str(address[0])) for family, *_, address in found)
    )
    if is_loopback(host) and not all(is_loopback(address) for _, address in places):
        # Whoever names it means to let nobody else in, and no access rules may be asked for.
        raise StartupError(
            f"the host {host!r} is not this machine alone here: name 127.0.0.1 instead"
        )
    return places


def bind(host: str, port: int, places: list[Place], option: str = "--port") -> list[socket.socket]:
    """Return sockets bound to all places of the host; raise StartupError if one can't be had.

    The `option` is what may name another port.
    """
    wanted = port
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, address in places:
            try:
                sockets.append(_listener(family, address, port))
            except OSError as exc:
                if exc.errno not in _ABSENT:
                    raise
                absent = exc
            else:
                # If any free port will do, all of them take the one that the first got.
                port = sockets[0].getsockname()[1]
        if absent is not None and not sockets:
            raise absent
    except OSError as exc:
        with closing(sockets):
            raise StartupError(_why_not(exc, f"port {wanted} of {host}", option)) from exc
    return sockets


def _listener(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        kernel.tune(listener)
        listener.bind((address, port))
        listener.setblocking(False)
        listener.set_inheritable(True)
    except OSError:
        listener.close()
        raise
    return listener


def _why_not(exc: OSError, place: str, option: str) -> str:
    if isinstance(exc, PermissionError):
        return f"{place} is not ours to take: choose one above 1023 with {option}"
    if exc.errno == errno.EADDRINUSE:
        return f"{place} is in use: stop what listens there, or choose another with {option}"
    return f"{place} can't be listened on: {exc.strerror}"


@contextmanager
def closing(sockets: list[socket.socket]) -> Generator[list[socket.socket]]:
    """Close the sockets when the block is left."""
    try:
        yield sockets
    finally:
        for listener in sockets:
            listener.close()
