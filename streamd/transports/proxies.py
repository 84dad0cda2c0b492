"""Where a peer is: its own address, or what proxies say that are named as trustworthy.

What stands in `X-Forwarded-For` anybody can have written; only what a proxy of ours has added to it
counts, and that is at its right end. So it is read from there, up to the first address that is no
such proxy: that is the peer. uvicorn's own way to do this is not gone by WebSockets. No I/O here.
"""

import ipaddress
import re
from asyncio import BaseTransport
from collections.abc import Iterable, Sequence

from streamd.errors import StartupError

__all__ = ["Proxies", "address_of", "neighbourhood"]

_HOPS = 32
"""Addresses that are read of a header: nobody has so many proxies of his own."""
_WITH_PORT = re.compile(r"\[(?P<six>[^\]]*)\](?::\d{1,5})?|(?P<four>[\d.]+):\d{1,5}")

_IP = ipaddress.IPv4Address | ipaddress.IPv6Address


def _parse(text: str) -> _IP | None:
    """Read an address, as it is or with a port; None for anything else."""
    match = _WITH_PORT.fullmatch(text)
    try:
        address = ipaddress.ip_address(text if match is None else match["six"] or match["four"])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        # A socket for both families shows IPv4 like this; and no zone (`%eth0`) tells peers apart.
        mapped = address.ipv4_mapped
        return mapped or ipaddress.IPv6Address(int(address))
    return address


def neighbourhood(address: str) -> str:
    """Return what all addresses have in common that one subscriber of a network is given: of IPv6, 64 bits."""
    parsed = _parse(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
    return address if parsed is None else str(parsed)


def address_of(transport: BaseTransport) -> str:
    """Return where the other end of a connection is, without its port; nothing where that is not known."""
    name = transport.get_extra_info("peername")
    return str(name[0]) if isinstance(name, tuple) else ""


class Proxies:
    """The proxies that are trusted to say for whom they come."""

    __slots__ = ("_networks",)

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        """Take addresses and networks; raise StartupError for what is neither."""
        self._networks = [_read_network(text) for text in trusted]

    def trusts(self, address: str) -> bool:
        """Tell whether an address is that of one of them."""
        if not self._networks:
            return False
        parsed = _parse(address)
        return parsed is not None and self._has(parsed)

    def _has(self, address: _IP) -> bool:
        return any(address in network for network in self._networks)

    def find(self, address: str, forwarded: Sequence[str]) -> str:
        """Return where somebody is who came from an address with these `X-Forwarded-For` headers.

        Where a proxy has written what is no address, it is the proxy's own.
        """
        if not forwarded or not self.trusts(address):
            return address
        found = address
        for hop in reversed(",".join(forwarded).rsplit(",", _HOPS)[-_HOPS:]):
            parsed = _parse(hop.strip())
            if parsed is None:
                return found
            found = str(parsed)
            if not self._has(parsed):
                return found
        return found


def _read_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise StartupError(
            f"{text!r} is not a proxy's address: write one such as 10.0.0.7, or a network such as 10.0.0.0/8"
        ) from None
