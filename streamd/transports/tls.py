"""TLS: a certificate and its key, whether they will do, and what is done when they are renewed."""

import asyncio
import contextlib
import logging
import ssl
import time
from bisect import bisect
from collections.abc import Callable
from pathlib import Path

from streamd.errors import StartupError
from streamd.transports.x509 import can_read, end_of

__all__ = ["LOOK", "Certificate"]

logger = logging.getLogger("streamd.tls")

LOOK = 5.0
"""Seconds between two looks at the files."""
_DAY = 24 * 3600
_SOON = 7 * _DAY
"""Seconds before its end by which a certificate should have been renewed."""

_Stamp = tuple[tuple[int, ...] | None, ...]
"""What changes with the content of the files: of each its number, its size and when it was written."""


def _load(certificate: Path, key: Path | None) -> tuple[ssl.SSLContext, float | None]:
    """Return what a server shows its peers, and when it ends, if that is known; the key may stand in the same file."""
    chain = _read("tls_cert", certificate)
    if key is not None:
        _read("tls_key", key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, _refuse_password)
    except OSError as exc:  # They may be exchanged in this very moment.
        raise StartupError(_why(exc, certificate, key)) from None
    return context, end_of(chain)


class Certificate:
    """Keep what new connections are shown as new as the files are; whoever is connected stays so.

    A context that fails to load another key has none any more: so each pair gets a context of its own.
    """

    def __init__(self, certificate: Path, key: Path | None) -> None:
        """Read the files; raise StartupError."""
        self._certificate = certificate
        self._key = key
        self._judged = self._seen = self._stamp()
        self.context, self.end = _load(certificate, key)
        """What the next handshake is done with, and when that ends, in seconds of Unix time, if it is known."""
        self._told: tuple[float | None, int] | None = None
        """Of which end it was told last, and how many of its marks had passed: that it comes soon, and itself."""
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Look at once, and take what is there as complete."""
        self._hurry.set()

    @property
    def trouble(self) -> str | None:
        """What is the matter with its end, in a sentence, if anything is."""
        if self.end is None:
            remedy = (
                "give it as plain PEM (BEGIN CERTIFICATE)"
                if can_read()
                else "pip install 'streamd[crypto]'"
            )
            return f"when the certificate in {self._certificate} ends is not known, so nothing will tell of it: {remedy}"
        left = self.end - time.time()
        if left <= 0:
            return f"the certificate in {self._certificate} has expired: clients that check it stay away"
        if left < _SOON:
            return (
                f"the certificate in {self._certificate} ends in {left / _DAY:.1f} days: renew it"
            )
        return None

    async def watch(self, note_end: Callable[[float], None]) -> None:
        """Look every few seconds, until cancelled, and note when the one ends that counts.

        The event loop waits for no disk.
        """
        while True:
            note_end(self.end or 0)
            self._warn()
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
            self.context, self.end = _load(self._certificate, self._key)
        except StartupError as exc:
            logger.warning("the certificate before stays, the renewed one will not do: %s", exc)
        else:
            logger.info("the certificate was renewed")
            self._told = None

    def _warn(self) -> None:
        """Say what is the matter, once of each certificate and again when it has become worse."""
        marks = () if self.end is None else (self.end - _SOON, self.end)
        state = self.end, bisect(marks, time.time())
        if state != self._told and (trouble := self.trouble):
            logger.warning("%s", trouble)
        self._told = state

    def _stamp(self) -> _Stamp:
        return tuple(_stamp_of(file) for file in (self._certificate, self._key) if file is not None)


def _stamp_of(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(name: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise StartupError(f"{name}: {file} can't be read: {exc.strerror}") from exc


def _refuse_password() -> str:
    """Keep OpenSSL from asking the terminal."""
    raise StartupError(
        "tls_key: the key is encrypted: give one that is not, readable to the server alone"
    )


def _why(exc: Exception, certificate: Path, key: Path | None) -> str:
    if isinstance(exc, ssl.SSLError) and exc.reason == "KEY_VALUES_MISMATCH":
        return f"tls_key: {key or certificate} has not the key of the certificate in {certificate}"
    if key is None:
        return f"tls_cert: {certificate} has no certificate with its key (PEM); name the key with --tls-key"
    return f"tls_cert and tls_key: {certificate} and {key} are not a certificate and its key (PEM)"
