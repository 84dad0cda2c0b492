"""The guard: who somebody is, by his token, and what he may do by that."""

import logging
from collections import Counter, OrderedDict
from collections.abc import Sequence
from hashlib import blake2b

from streamd.access import NOBODY, OPEN, Access, parse_grants
from streamd.deadlines import Deadlines
from streamd.errors import InvalidParams, LimitExceeded, Unauthorized
from streamd.event import Keys
from streamd.jsonrpc import to_json
from streamd.limits import Limits
from streamd.tokens import CLAIM, Claims, Verifier
from streamd.turns import Turns

__all__ = ["Guard", "read_bearer"]

logger = logging.getLogger("streamd.guard")

_REMEMBERED = 4 << 20
"""Bytes of tokens whose verdicts are remembered: to check a signature costs some 100 µs, to look here 2."""


class Guard:
    """Judge tokens, and know what may be done without one."""

    def __init__(
        self,
        keys: Keys,
        limits: Limits,
        verifier: Verifier | None = None,
        newcomer: Access = OPEN,
    ) -> None:
        """Take what says whether tokens are to be believed; without it they are not looked at."""
        self._keys = keys
        self._limits = limits
        self._verifier = verifier
        self._turns = Turns()
        self._remembered: OrderedDict[bytes, tuple[Access, int]] = OrderedDict()
        self._size = 0
        self._version = 0
        self._present: Counter[str] = Counter()
        self.newcomer = newcomer
        """What may be done before a token has come."""
        self.deadlines = Deadlines()
        """When tokens end, and when they must have come."""

    @property
    def required(self) -> bool:
        """Whether nothing may be done without a token."""
        return self.newcomer is NOBODY

    @property
    def looks(self) -> bool:
        """Whether tokens are looked at."""
        return self._verifier is not None

    async def judge(self, token: str) -> Access:
        """Return what a token allows.

        Raise Unauthorized if it is refused, with the reason `expired` if a new one would do;
        StoreUnavailable if that can't be said now.
        """
        if self._verifier is None:
            return self.newcomer
        digest = blake2b(token.encode(errors="replace"), digest_size=32).digest()
        known = self._recall(digest, self._verifier)
        if known is not None:
            return known
        kid, algorithm = self._verifier.read_header(token)
        keys = await self._verifier.keys.find(kid, algorithm)
        version = self._verifier.keys.version
        claims = await self._turns.do(self._verifier.verify, token, keys, algorithm)
        access = await self._turns.do(self._admit, claims)
        if version == self._version == self._verifier.keys.version:
            self._remember(digest, access, len(token))
        return access

    def _recall(self, digest: bytes, verifier: Verifier) -> Access | None:
        """Return what a token allows that was judged before, by keys that still count."""
        if self._version != verifier.keys.version:
            self._version = verifier.keys.version
            self._remembered.clear()
            self._size = 0
        found = self._remembered.get(digest)
        if found is None:
            return None
        access, _ = found
        assert access.expires is not None, "a token ends"
        verifier.check_time(access.expires)
        self._remembered.move_to_end(digest)
        return access

    def _admit(self, claims: Claims) -> Access:
        try:
            grants = parse_grants(claims.grants, self._keys, self._limits)
            # Half of a surrogate pair can be read in a token, and never be written: no UTF-8 has it.
            to_json([claims.subject, claims.grants])
        except (InvalidParams, LimitExceeded) as error:
            fault = f"the token's claim {CLAIM}"
            raise Unauthorized(
                f"{fault}: {error.message}", why=f"{fault} can't be understood"
            ) from None
        except (TypeError, UnicodeEncodeError):
            raise Unauthorized("the token has a text that is not Unicode") from None
        return Access(grants, self._limits, subject=claims.subject, expires=claims.expires)

    def _remember(self, digest: bytes, access: Access, size: int) -> None:
        if self._remembered.setdefault(digest, (access, size))[0] is access:
            self._size += size
        while self._size > _REMEMBERED:
            _, (_, oldest) = self._remembered.popitem(last=False)
            self._size -= oldest

    def left(self, access: Access) -> float | None:
        """Return the seconds for which it may still be used, the leeway included; None: for ever."""
        if self._verifier is None or access.expires is None:
            return None
        return access.expires + self._verifier.rules.leeway - self._verifier.now()

    def enter(self, access: Access, before: Access) -> None:
        """Count a connection for the subject that a token names, and no longer for the one before.

        Raise LimitExceeded if the subject has as many as it may.
        """
        subject = access.subject
        if subject is None or subject == before.subject:
            return
        self._limits.check("subject_connections", self._present[subject] + 1)
        self._present[subject] += 1
        self.leave(before)

    def leave(self, access: Access) -> None:
        """Count a connection no longer for its subject."""
        subject = access.subject
        if subject is not None:
            self._present[subject] -= 1
            if not self._present[subject]:
                del self._present[subject]

    async def aclose(self) -> None:
        """End what is under way; idempotent."""
        if self._verifier is not None:
            await self._verifier.keys.aclose()

    async def look(self, headers: Sequence[str]) -> Access:
        """Return what somebody may do who came with these `Authorization` headers; raise as `judge`."""
        if not self.looks or not headers:
            return self.newcomer
        return await self.judge(read_bearer(headers))


def read_bearer(headers: Sequence[str]) -> str:
    """Return the token in `Authorization: Bearer` (RFC 6750, section 2.1); raise Unauthorized."""
    scheme, _, token = headers[0].strip().partition(" ")
    if len(headers) != 1 or scheme.lower() != "bearer" or not token:
        raise Unauthorized("Authorization must be there once, as Bearer and a token")
    return token.strip()
