"""Secrets, key pairs and tokens for tests."""

import os
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

SECRET = "a secret for tests, of 32 bytes or more"

_MAKE = {
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "RS256 short": lambda: rsa.generate_private_key(public_exponent=65537, key_size=1024),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
}


@cache
def _pair(algorithm: str, name: str) -> Any:
    return _MAKE[algorithm]()


def pair(algorithm: str, name: str = "") -> Any:
    """Return a private key; another for each name."""
    return _pair(algorithm, name)


def private_pem(key: Any) -> bytes:
    return key.private_bytes(  # type: ignore[no-any-return]  # of one of several kinds
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def public_pem(key: Any) -> bytes:
    return key.public_key().public_bytes(  # type: ignore[no-any-return]  # as above
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def jwk(algorithm: str, kid: str | None, name: str = "", **members: Any) -> dict[str, Any]:
    """Return the public key of a pair as an issuer shows it."""
    shown = jwt.get_algorithm_by_name(algorithm).to_jwk(pair(algorithm, name).public_key(), True)
    return {**shown, **({} if kid is None else {"kid": kid}), **members}


def token(
    grants: Any = None,
    *,
    key: Any = SECRET,
    algorithm: str = "HS256",
    header: dict[str, Any] | None = None,
    now: float | None = None,
    **claims: Any,
) -> str:
    """Return a token for ten minutes from now; a claim that is None is left out."""
    assert "PYTEST_CURRENT_TEST" in os.environ, "made before its test, it ends before it is needed"
    now = time.time() if now is None else now
    said = {"sub": "ann", "exp": now + 600, "streamd": grants, **claims}
    left = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(left, key, algorithm, headers=header)
