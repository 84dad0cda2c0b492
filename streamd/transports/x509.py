"""When a certificate ends, as the package cryptography reads it.

Python's `ssl` hands certificates to OpenSSL, and tells of none but those of others.
"""

__all__ = ["end_of"]


def end_of(pem: bytes) -> float | None:
    """Return when the first certificate of a chain ends, in seconds of Unix time; None where that can't be read.

    OpenSSL has judged by then whether the certificate will do; it knows more forms of them.
    """
    try:
        # Large, and of use to those alone who speak TLS; so it is an extra.
        from cryptography import x509
    except ImportError:
        return None
    try:
        first, *_ = x509.load_pem_x509_certificates(pem)
    except ValueError:
        return None
    return first.not_valid_after_utc.timestamp()
