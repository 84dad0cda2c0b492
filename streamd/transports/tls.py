"""TLS: a certificate and its key, whether they will do, and what is done when they are renewed."""

import asyncio
import contextlib
import logging
import ssl
from pathlib import Path

from streamd.errors import StartupError

__all__ = ["LOOK", "Certificate", "load_certificate"]

logger = logging.getLogger("streamd.tls")

LOOK = 5.0
"""Seconds between two looks at the files."""

_Stamp = tuple[tuple[int, ...] | None, ...]
"""What changes with the content of the files: of each its number, its size and when it was written."""


def load_certificate(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """Return what a server shows its peers; the key may stand in the certificate's file. Raise StartupError."""
    _check_readable("tls_cert", certificate)
    if key is not None:
        _check_readable("tls_key", key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, _refuse_password)
    except ssl.SSLError as exc:
        raise StartupError(_why(exc, certificate, key)) from None
    return context


class Certificate:
    """Keep what new connections are shown as new as the files are; whoever is connected stays so.

    A context that fails to load another key has none any more: so each pair gets a context of its own.
    """

    def __init__(self, certificate: Path, key: Path | None) -> None:
        """Read the files; raise StartupError."""
        self._certificate = certificate
        self._key = key
        self._judged = self._seen = self._stamp()
        self.context = load_certificate(certificate, key)
        """What the next handshake is done with."""
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Look at once, and take what is there as complete."""
        self._hurry.set()

    async def watch(self) -> None:
        """Look every few seconds, until cancelled; the event loop waits for no disk."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), LOOK)
            complete = self._hurry.is_set()
            self._hurry.clear()
            await asyncio.to_thread(self._look, complete=complete)

    def _look(self, *, complete: bool) -> None:
        """Take a pair that is new; one that changed since the last look may be half written."""
        stamp = self._stamp()
        settled = complete or stamp == self._seen
        self._seen = stamp
        if stamp == self._judged or not settled:
            return
        self._judged = stamp
        try:
            self.context = load_certificate(self._certificate, self._key)
        except StartupError as exc:
            logger.warning("the certificate before stays, the renewed one will not do: %s", exc)
        else:
            logger.info("the certificate was renewed")

    def _stamp(self) -> _Stamp:
        return tuple(_stamp_of(file) for file in (self._certificate, self._key) if file is not None)


def _stamp_of(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _check_readable(name: str, file: Path) -> None:
    try:
        with file.open("rb"):
            pass
    except OSError as exc:
        raise StartupError(f"{name}: {file} can't be read: {exc.strerror}") from exc


def _refuse_password() -> str:
    """Keep OpenSSL from asking the terminal."""
    raise StartupError(
        "tls_key: the key is encrypted: give one that is not, readable to the server alone"
    )


def _why(exc: ssl.SSLError, certificate: Path, key: Path | None) -> str:
    if exc.reason == "KEY_VALUES_MISMATCH":
        return f"tls_key: {key or certificate} has not the key of the certificate in {certificate}"
    if key is None:
        return f"tls_cert: {certificate} has no certificate with its key (PEM); name the key with --tls-key"
    return f"tls_cert and tls_key: {certificate} and {key} are not a certificate and its key (PEM)"
