"""Access rules: from settings to the guard that keeps them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from streamd.access import NOBODY, Access, Grants
from streamd.errors import StartupError
from streamd.guard import Guard
from streamd.jwks import Jwks
from streamd.limits import Limits
from streamd.stores.base import Stream
from streamd.tokens import (
    PAIRS,
    FixedKeys,
    KeySource,
    Rules,
    Verifier,
    check_pairs,
    read_public_keys,
    read_secrets,
)
from streamd.transports.fetch import check_url, fetch

__all__ = ["RIGHTS", "AccessRules"]

RIGHTS = ("read", "write")
"""What can be allowed to those who have no token."""

_SOURCES = ("token_secret", "token_secret_file", "token_key_file", "token_jwks_url")
"""What says which tokens are to be believed: one of them."""


@dataclass(frozen=True, kw_only=True, repr=False)
class AccessRules:
    """What the settings of these names say."""

    allow_anonymous: Sequence[str] = ()
    token_secret: str | None = None
    token_secret_file: Path | None = None
    token_key_file: Path | None = None
    token_jwks_url: str | None = None
    token_algorithms: Sequence[str] = ()
    token_audience: str | None = None
    token_issuer: str | None = None
    token_leeway: float = 30.0

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the settings."""
        return tuple(field.name for field in fields(cls))

    def to_guard(self, stream: Stream) -> Guard:
        """Return who may do what; raise StartupError for rules that can't be kept."""
        keys, limits = stream.keys, stream.limits
        verifier = self._to_verifier(limits)
        allowed = set(self.allow_anonymous)
        if verifier is None and allowed in (set(), set(RIGHTS)):
            return Guard(keys, limits)
        if not allowed:
            return Guard(keys, limits, verifier, NOBODY)
        everything: list[dict[str, frozenset[str]]] = [{}]
        read, write = (everything if right in allowed else [] for right in RIGHTS)
        return Guard(keys, limits, verifier, Access(Grants(read, write), limits))

    def _to_verifier(self, limits: Limits) -> Verifier | None:
        sources = [name for name in _SOURCES if getattr(self, name) is not None]
        if not sources:
            self._check_that_none_is_given()
            return None
        if len(sources) > 1:
            raise StartupError(f"{' and '.join(sources)}: name one of them, tokens have one source")
        keys, algorithms = self._keys()
        rules = Rules(
            algorithms=algorithms,
            audience=self.token_audience,
            issuer=self.token_issuer,
            leeway=self.token_leeway,
            token_bytes=limits.token_bytes,
        )
        return Verifier(rules, keys)

    def _check_that_none_is_given(self) -> None:
        for name in ("token_algorithms", "token_audience", "token_issuer"):
            if getattr(self, name):
                raise StartupError(f"{name} is given, but none of {', '.join(_SOURCES)}")

    def _keys(self) -> tuple[KeySource, tuple[str, ...]]:
        """Return the source of the keys, and the algorithms that they are for."""
        if self.token_jwks_url is None:
            keys = self._read_keys()
            return FixedKeys(keys), self._allowed(tuple(keys))
        check_url(self.token_jwks_url)
        check_pairs()
        algorithms = self._allowed(PAIRS)
        return Jwks(partial(fetch, self.token_jwks_url), algorithms), algorithms

    def _read_keys(self) -> dict[str, list[Any]]:
        if self.token_key_file is not None:
            return read_public_keys(_read(self.token_key_file, "token_key_file"))
        if self.token_secret_file is not None:
            return read_secrets(_read(self.token_secret_file, "token_secret_file"))
        assert self.token_secret is not None, "one of the sources is given"
        try:
            # The environment may hold any bytes; those that are no text come as surrogates.
            return read_secrets(self.token_secret.encode(errors="surrogateescape"))
        except UnicodeEncodeError:
            raise StartupError("token_secret has a character that is not Unicode") from None

    def _allowed(self, possible: tuple[str, ...]) -> tuple[str, ...]:
        if not set(self.token_algorithms) <= set(possible):
            raise StartupError(
                f"token_algorithms: these keys are for {' and '.join(possible)} alone"
            )
        return tuple(self.token_algorithms) or possible


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise StartupError(f"{name}: {path} can't be read: {exc.strerror}") from exc
