"""TLS: whether a certificate and its key will do, which is better known at the start than at the first handshake."""

import ssl
from pathlib import Path

from streamd.errors import StartupError

__all__ = ["check_certificate"]


def check_certificate(certificate: Path, key: Path | None) -> None:
    """Raise StartupError for files that no server can be started with; the key may stand in the certificate's."""
    _check_readable("tls_cert", certificate)
    if key is not None:
        _check_readable("tls_key", key)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, _refuse_password)
    except ssl.SSLError as exc:
        raise StartupError(_why(exc, certificate, key)) from None


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
