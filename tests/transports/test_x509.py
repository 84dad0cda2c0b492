"""streamd.transports.x509, held against a library that knows all of it."""

import contextlib
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from ssl import DER_cert_to_PEM_cert

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from streamd.transports.x509 import end_of
from tests.services import need

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(
    end: datetime,
    key: CertificateIssuerPrivateKeyTypes = KEY,
    *,
    name: str = "feed.example.org",
    names: int = 1,
    number: int = 1,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    alternatives = [x509.DNSName(f"{each}.example.org") for each in range(names)]
    return (
        x509.CertificateBuilder(subject, subject, key.public_key(), number)
        .not_valid_before(datetime(1950, 1, 1, tzinfo=UTC))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256())
    )


def pem(made: x509.Certificate) -> bytes:
    return made.public_bytes(Encoding.PEM)


FIRST, LAST = (
    int(datetime(*day, tzinfo=UTC).timestamp()) for day in ((1950, 1, 2), (9999, 12, 31))
)


@given(st.integers(FIRST, LAST), st.integers(1, 2**159 - 1), st.integers(1, 64))
def test_the_end_of_any_time(end: int, number: int, length: int) -> None:
    made = certificate(datetime.fromtimestamp(end, UTC), name="x" * length, number=number)
    assert end_of(pem(made)) == end


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 2048), KEY, ed25519.Ed25519PrivateKey.generate()]
)
@pytest.mark.parametrize("names", [1, 20, 5_000])
def test_keys_and_sizes_of_all_kinds(key: CertificateIssuerPrivateKeyTypes, names: int) -> None:
    made = certificate(datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC), key, names=names)
    assert end_of(pem(made)) == made.not_valid_after_utc.timestamp()


def test_the_first_of_a_file_counts_wherever_its_key_stands() -> None:
    end = datetime(2031, 5, 6, tzinfo=UTC)
    key = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain = pem(certificate(end)) + pem(certificate(end - timedelta(days=1)))
    for text in (chain, key + chain, chain + key, b"subject=x\n" + chain.replace(b"\n", b"\r\n")):
        assert end_of(text) == end.timestamp()
    for label in (b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"):
        assert end_of(chain.replace(b"CERTIFICATE", label)) == end.timestamp()


def test_a_certificate_of_version_1_leaves_its_version_out(tmp_path: Path) -> None:
    openssl, key, asked = need("openssl"), str(tmp_path / "key"), str(tmp_path / "asked")
    words = ("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", key)
    subprocess.run([openssl, *words, "-out", asked], check=True, capture_output=True)
    words = ("x509", "-req", "-in", asked, "-signkey", key, "-days", "9")
    made = subprocess.run([openssl, *words], check=True, capture_output=True).stdout
    known = x509.load_pem_x509_certificate(made)
    assert known.version is x509.Version.v1
    assert end_of(made) == known.not_valid_after_utc.timestamp()


def test_a_file_without_a_certificate() -> None:
    with pytest.raises(ValueError):
        end_of(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


WHOLE = certificate(datetime(2031, 5, 6, tzinfo=UTC)).public_bytes(Encoding.DER)


@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=8), st.integers(0, len(WHOLE)))
def test_what_is_damaged_is_an_error_or_has_an_end(at: int, other: bytes, size: int) -> None:
    damaged = (WHOLE[:at] + other + WHOLE[at + len(other) :])[:size]
    text = DER_cert_to_PEM_cert(damaged).encode()
    for cut in (text, text.partition(b"-----END")[0]):
        with contextlib.suppress(ValueError):
            assert isinstance(end_of(cut), float)
