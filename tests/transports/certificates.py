"""Certificates made here, and a peer that trusts them."""

import asyncio
import ssl
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import trustme

from streamd.address import Address
from tests.harness import DEADLINE, Response

__all__ = ["Files", "exchange", "make", "outdated"]


class Files(NamedTuple):
    """A certificate for this machine's loopback addresses, its key, and who signed it."""

    cert: Path
    key: Path
    both: Path
    ca: Path

    @property
    def options(self) -> dict[str, Any]:
        return {"tls_cert": self.cert, "tls_key": self.key}

    def context(self, **versions: ssl.TLSVersion) -> ssl.SSLContext:
        """Return what a client trusts."""
        context = ssl.create_default_context(cafile=self.ca)
        for name, version in versions.items():
            setattr(context, name, version)
        return context


def make(folder: Path, *, end: datetime | None = None) -> Files:
    """Write them to a folder; the certificate ends in some centuries unless it is said when."""
    authority = trustme.CA()
    began = None if end is None else end - timedelta(days=90)
    issued = authority.issue_cert("localhost", "127.0.0.1", not_before=began, not_after=end)
    made = Files(folder / "cert.pem", folder / "key.pem", folder / "both.pem", folder / "ca.pem")
    made.cert.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    made.key.write_bytes(issued.private_key_pem.bytes())
    made.both.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
    made.ca.write_bytes(authority.cert_pem.bytes())
    return made


def outdated(context: ssl.SSLContext) -> ssl.SSLContext:
    """Let a context speak nothing but TLS 1.1."""
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


async def exchange(server: Address, context: ssl.SSLContext, request: bytes) -> Response:
    """Send a request, and read the answer up to its end."""
    reader, writer = await asyncio.open_connection(server.host, server.port, ssl=context)
    try:
        async with asyncio.timeout(DEADLINE):
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.strip().split("\r\n")
            headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            if headers.get("connection") == "close":
                assert await reader.read() == b""
        return Response(int(status.split()[1]), headers, body)
    finally:
        writer.transport.abort()
