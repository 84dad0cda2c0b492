"""When a certificate ends, as the package cryptography reads it.

Python's `ssl` hands certificates to OpenSSL, and tells of none but those of others.
"""

from types import ModuleType

__all__ = ["can_read", "end_of"]


def can_read() -> bool:
    """Tell whether the package is here that reads certificates."""
    return _x509() is not None


def end_of(pem: bytes) -> float | None:
    """Return when the first certificate of a chain ends, in seconds of Unix time; None where that can't be read.

    OpenSSL has judged by then whether the certificate will do; it knows more forms of them.
    """
    x509 = _x509()
    if x509 is None:
        return None
    try:
        first, *_ = x509.load_pem_x509_certificates(pem)
    except ValueError:
        return None
    end: float = first.not_valid_after_utc.timestamp()
    return end


def _x509() -> ModuleType | None:
    try:
        # Large, and of use to those alone who speak TLS; so it is an extra.
        from cryptography import x509
    except ImportError:
        return None
    return x509
