"""Tokens: signed claims (JSON Web Tokens, RFC 7519), read as RFC 8725 advises.

What a token says of itself decides nothing: the algorithms are ours, the key is one of ours, and no
sentence that tells why it is refused repeats anything of it.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jwt

from streamd.errors import LimitExceeded, StartupError, Unauthorized

__all__ = [
    "CLAIM",
    "PAIRS",
    "Claims",
    "FixedKeys",
    "KeySource",
    "Rules",
    "Verifier",
    "check_pairs",
    "make_token",
    "peek",
    "read_jwk",
    "read_public_keys",
    "read_secrets",
]

PAIRS = ("RS256", "ES256", "EdDSA")
"""The signatures by the private key of a pair."""

CLAIM = "streamd"
"""The claim that has the grants."""

_NO_TOKEN = "this is no token: it must be a signed JWT without extensions (crit)"
_SYMMETRIC = "HS256"
_SECRET_BYTES = 32
_MOST_KEYS = 8
"""Keys that count at a time: a signature that is wrong is tried with each."""
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_NUMBER_CHARS = 2_731
"""An RSA modulus of 16,384 bits in Base64: OpenSSL checks nothing with a longer one."""
_LAST_SECOND = 253_402_300_799
"""The end of the year 9999: times after it are no times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a token must be."""

    algorithms: tuple[str, ...]
    audience: str | None = None
    issuer: str | None = None
    leeway: float = 30.0
    """Seconds by which clocks may differ."""
    token_bytes: int = 8 << 10
    """The most that a token may have."""


class Claims(NamedTuple):
    """What a token says."""

    subject: str
    expires: float
    """Seconds since 1970."""
    grants: Any
    """The claim of ours as it came, None where there is none."""


class KeySource(Protocol):
    """Where the keys are."""

    @property
    def version(self) -> int:
        """Another number whenever a key may not count any more."""

    async def find(self, kid: str | None, algorithm: str) -> Sequence[Any]:
        """Return the keys for an algorithm that may go by that name; raise Unauthorized, or StoreUnavailable."""

    async def aclose(self) -> None:
        """End what is under way; idempotent."""


class FixedKeys:
    """Keys that do not change: several, while one takes the place of another."""

    version = 0

    def __init__(self, keys: Mapping[str, Sequence[Any]]) -> None:
        """Take the keys by the algorithms that they are for."""
        self._keys = keys

    async def find(self, kid: str | None, algorithm: str) -> Sequence[Any]:
        """Return those for an algorithm; the name does not matter."""
        return self._keys[algorithm]

    async def aclose(self) -> None:
        """Nothing is under way."""


class Verifier:
    """Tell whether a token is to be believed."""

    def __init__(self, rules: Rules, keys: KeySource, now: Callable[[], float] = time.time) -> None:
        """Take the rules; each of their algorithms has a key. `now` is in seconds since 1970."""
        self.rules = rules
        self.keys = keys
        self.now = now
        self._jwt = jwt.PyJWT(options={"enforce_minimum_key_length": True})

    def read_header(self, token: str) -> tuple[str | None, str]:
        """Return the name of the key and the algorithm; raise Unauthorized for what can't be a token."""
        rules = self.rules
        # A character has a byte at least: what is long is not encoded.
        if len(token) > rules.token_bytes or not token.isascii():
            raise Unauthorized(f"a token is ASCII text of at most {rules.token_bytes} bytes")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise Unauthorized(_NO_TOKEN) from None
        if "crit" in header:  # Of those that the library understands.
            raise Unauthorized(_NO_TOKEN)
        algorithm = header.get("alg")
        if algorithm not in rules.algorithms:
            raise Unauthorized(f"a token must be signed by {' or '.join(rules.algorithms)}")
        return header.get("kid"), algorithm

    def verify(self, token: str, keys: Sequence[Any], algorithm: str) -> Claims:
        """Return what the token says if one of the keys has signed it; else raise Unauthorized."""
        *others, last = keys
        try:
            for key in others:
                with suppress(jwt.InvalidSignatureError):
                    return self._read(token, key, algorithm)
            return self._read(token, last, algorithm)
        except (jwt.PyJWTError, RecursionError) as error:
            raise _refusal(error) from None

    def _read(self, token: str, key: Any, algorithm: str) -> Claims:
        claims = self._jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=self.rules.audience,
            issuer=self.rules.issuer,
            options={
                "require": ["exp", "sub"],
                # By our clock, below.
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
        expires = _seconds(claims, "exp")
        self.check_time(expires)
        if "nbf" in claims and _seconds(claims, "nbf") > self.now() + self.rules.leeway:
            raise Unauthorized("the token is not valid yet (nbf)")
        return Claims(claims["sub"], expires, claims.get(CLAIM))

    def check_time(self, expires: float) -> None:
        """Raise Unauthorized if that time is over."""
        if expires + self.rules.leeway <= self.now():
            raise Unauthorized("the token has expired: come with a new one", reason="expired")


def _seconds(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (known and 0 <= value <= _LAST_SECOND):
        raise Unauthorized(f"the token's {name} must be a time in seconds")
    return float(value)


def _refusal(error: Exception) -> Unauthorized:
    match error:
        case jwt.InvalidSignatureError():
            sentence = "the token's signature is wrong: it is of another key, or was changed"
        case jwt.MissingRequiredClaimError():
            sentence = f"the token lacks the claim {error.claim}"
        case jwt.InvalidAudienceError():
            sentence = "the token is for another audience (aud)"
        case jwt.InvalidIssuerError():
            sentence = "the token is of another issuer (iss)"
        case jwt.exceptions.InvalidSubjectError():
            sentence = "the token's subject (sub) must be a text"
        case _:
            sentence = _NO_TOKEN
    return Unauthorized(sentence)


# Keys.


def read_secrets(text: bytes) -> dict[str, list[Any]]:
    """Return secrets, one a line, by their algorithm; raise StartupError if one can't be a secret."""
    secrets = [line for line in text.replace(b"\r\n", b"\n").split(b"\n") if line]
    # A key of a pair has several lines.
    if any(map(_is_of_a_pair, (text, *secrets))):
        # Whoever has the public key of a pair could sign tokens with it.
        raise StartupError("the secret for tokens is a key of a pair: give it as token_key_file")
    for number, secret in enumerate(secrets or [b""], 1):
        if len(secret) < _SECRET_BYTES:
            which = f"secret {number} of {len(secrets)}" if len(secrets) > 1 else "the secret"
            raise StartupError(
                f"{which} for tokens must have at least {_SECRET_BYTES} bytes, got {len(secret)}: "
                "make one with openssl rand -hex 32"
            )
    _check_number(secrets)
    return {_SYMMETRIC: secrets}


def _is_of_a_pair(text: bytes) -> bool:
    try:
        _algorithm(_SYMMETRIC).prepare_key(text or b"-")
    except jwt.InvalidKeyError:
        return True
    return False


def read_public_keys(pem: bytes) -> dict[str, list[Any]]:
    """Return public keys (PEM, one behind the other) by their algorithms; raise StartupError."""
    if b"PRIVATE KEY" in pem:
        raise StartupError("token_key_file holds a private key: the server needs the public one")
    blocks = [block[0] for block in _PEM.finditer(pem)]
    if pem.count(b"-----BEGIN ") > len(blocks):
        raise StartupError("token_key_file holds a key that does not end: it was cut off")
    _check_number(blocks)
    found: dict[str, list[Any]] = {}
    for block in blocks or [pem]:
        for algorithm, key in _read_pem(block).items():
            found.setdefault(algorithm, []).append(key)
    return found


def _check_number(keys: Sequence[Any]) -> None:
    if len(keys) > _MOST_KEYS:
        raise StartupError(
            f"tokens may be signed with {_MOST_KEYS} keys at a time, got {len(keys)}: "
            "take out those that sign no more"
        )


def _read_pem(pem: bytes) -> dict[str, Any]:
    for name in PAIRS:
        try:
            key = _algorithm(name).prepare_key(pem)
        except (jwt.InvalidKeyError, ValueError, TypeError):
            continue
        if not _algorithm(name).check_key_length(key):
            return {name: key}
    raise StartupError(
        "the key for tokens must be PEM: RSA of at least 2048 bits, EC on the curve P-256, or Ed25519"
    )


def _algorithm(name: str) -> Any:
    try:
        return jwt.get_algorithm_by_name(name)
    except NotImplementedError:
        raise StartupError(
            f"{name} needs the package cryptography: pip install 'streamd[crypto]'"
        ) from None


def check_pairs() -> None:
    """Raise StartupError if this installation can't check what the keys of pairs have signed."""
    _algorithm(PAIRS[0])


def read_jwk(jwk: Any, algorithms: Sequence[str]) -> tuple[str, str | None, Any] | None:
    """Return algorithm, name and key of a JSON Web Key (RFC 7517); None if it is not for these."""
    if not (isinstance(jwk, dict) and _is_public(jwk)):
        return None
    try:
        key = jwt.PyJWK(jwk)
        key.Algorithm.prepare_key(key.key)  # It knows which curve is the algorithm's.
        usable = key.algorithm_name in algorithms and jwk.get("use", "sig") == "sig"
        if not usable or key.Algorithm.check_key_length(key.key):
            return None
    except (jwt.PyJWTError, NotImplementedError, ValueError, TypeError, AttributeError, KeyError):
        return None
    return key.algorithm_name, key.key_id, key.key


def _is_public(jwk: dict[str, Any]) -> bool:
    """Tell whether it can be a public key of a size that is used, and has a name that a token could name.

    To read a private key takes 30 ms; one whose numbers have a million bits, minutes.
    """
    numbers = (jwk.get(member, "") for member in ("n", "e"))
    return (
        "d" not in jwk
        and isinstance(jwk.get("kid"), str | None)
        and all(isinstance(each, str) and len(each) <= _NUMBER_CHARS for each in numbers)
    )


# For those who make tokens.


def make_token(
    claims: dict[str, Any], *, secret: bytes = b"", pem: bytes = b"", kid: str | None = None
) -> str:
    """Return a token signed with the first of some secrets, or with a private key (PEM); raise StartupError."""
    keys = (
        {name: each[0] for name, each in read_secrets(secret).items()} if secret else _read_pem(pem)
    )
    ((algorithm, key),) = keys.items()
    try:
        return jwt.encode(claims, key, algorithm, headers=None if kid is None else {"kid": kid})
    except (jwt.PyJWTError, TypeError, AttributeError):
        raise StartupError("the key can't sign: give the private one") from None


def peek(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of a token that may be anybody's: for eyes, not for decisions.

    Raise LimitExceeded or Unauthorized for what is no token.
    """
    if len(token) > 1 << 20:
        raise LimitExceeded("token_bytes", 1 << 20, len(token))
    try:
        found = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, RecursionError, UnicodeEncodeError) as error:
        raise _refusal(error) from None
    return found["header"], found["payload"]
