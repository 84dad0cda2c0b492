"""When a certificate ends: the one thing of X.509 that a server needs to know of its own.

Python's `ssl` hands certificates to OpenSSL, and tells of none but those of others. Whether a certificate will do
is for OpenSSL to judge.
"""

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime

__all__ = ["end_of"]

_CERTIFICATE = re.compile(
    rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----(.*?)-----END ", re.DOTALL
)
_VERSION = 0xA0
_UTC_TIME = 0x17


def end_of(pem: bytes) -> float:
    """Return when the first certificate of a chain ends, in seconds of Unix time; raise ValueError if there is none."""
    found = _CERTIFICATE.search(pem)
    if found is None:
        raise ValueError("there is no certificate")
    try:
        return _end_of(base64.b64decode(found[1]))
    except IndexError as exc:
        raise ValueError("the certificate is cut off") from exc


def _end_of(der: bytes) -> float:
    # RFC 5280, section 4.1: a certificate begins with what is signed of it, and that with a version, which may be
    # left out, a number, an algorithm, the issuer, and the time from which and the time up to which it is valid.
    ((_, certificate), *_) = _values(der)
    ((_, signed), *_) = _values(certificate)
    fields = [content for tag, content in _values(signed) if tag != _VERSION]
    _, (tag, end) = _values(fields[3])
    text = end.decode()
    if tag == _UTC_TIME:
        # Section 4.1.2.5.1: two digits are of a year before 2050.
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _values(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the values that stand one after the other, each with its tag (X.690, section 8.1)."""
    while content:
        tag, size, at = content[0], content[1], 2
        if size & 0x80:
            at += size & 0x7F
            size = int.from_bytes(content[2:at])
        yield tag, content[at : at + size]
        content = content[at + size :]
