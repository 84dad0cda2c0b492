"""The keys of an issuer (JSON Web Key Set, RFC 7517, section 5): asked for when needed, and kept."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from streamd.errors import ParseError, StoreUnavailable, Unauthorized
from streamd.jsonrpc import from_json
from streamd.tokens import read_jwk

__all__ = ["Jwks"]

logger = logging.getLogger("streamd.jwks")

_FRESH = 300.0
"""Seconds after which the keys are asked for anew, while those that are there go on to count."""
_AGAIN = 30.0
"""Seconds between two questions for a name that is not there: anybody can make names up."""
_RETRY = 5.0
"""Seconds after a question that failed until the next."""
_MOST_KEYS = 100


class Jwks:
    """Keep the keys of an issuer up to date; `fetch` brings the document, or raises OSError.

    However many ask, one question is under way at a time. While the issuer is away, the last keys that
    it gave count.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[bytes]],
        algorithms: Sequence[str],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin without keys; `now` is in seconds, and never goes back."""
        self._fetch = fetch
        self._algorithms = algorithms
        self._now = now
        self._keys: dict[tuple[str | None, str], Any] = {}
        self._known: list[Any] = []
        self._asked: float | None = None
        self._failed = False
        self._task: asyncio.Task[None] | None = None
        self.version = 0
        """Another number whenever the keys have changed."""

    async def find(self, kid: str | None, algorithm: str) -> Sequence[Any]:
        """Return the key of that name alone, or the only one for the algorithm if a token names none.

        Raise Unauthorized if there is none, StoreUnavailable if the issuer could not be asked.
        """
        if self._task is None and self._due(_FRESH):
            self._ask()
        if not self._known:
            await self._answer()
        key = self._get(kid, algorithm)
        if key is None and self._task is None and self._due(_AGAIN):
            self._ask()
        if key is None:
            await self._answer()
            key = self._get(kid, algorithm)
        if key is not None:
            return (key,)
        if self._failed:
            raise StoreUnavailable("the keys that tokens are checked with can't be fetched now")
        raise Unauthorized("the token is signed with a key that its issuer does not show (kid)")

    def _get(self, kid: str | None, algorithm: str) -> Any:
        if kid is not None:
            return self._keys.get((kid, algorithm))
        keys = [key for (_, each), key in self._keys.items() if each == algorithm]
        return keys[0] if len(keys) == 1 else None

    def _due(self, seconds: float) -> bool:
        if self._asked is None:
            return True
        return self._now() - self._asked >= (_RETRY if self._failed else seconds)

    async def _answer(self) -> None:
        """Wait for the question that is under way."""
        if self._task is not None:
            # One who gives up must not take the answer from the others.
            await asyncio.shield(self._task)

    def _ask(self) -> None:
        self._asked = self._now()
        self._task = asyncio.create_task(self._renew(), name="jwks: fetch")

    async def _renew(self) -> None:
        try:
            document = from_json(await self._fetch())
            given = document["keys"] if isinstance(document, dict) else None
            if not isinstance(given, list):
                raise TypeError
            if given != self._known:
                self._take(given)
        except OSError as error:  # a TimeoutError is one, too
            self._fail(error.strerror or str(error) or "no answer in time")
        except (ParseError, KeyError, TypeError):
            self._fail("the answer is no key set")
        except Exception:
            self._failed = True
            logger.exception("the keys for tokens could not be fetched")
        else:
            if self._failed:
                logger.warning("the keys for tokens can be fetched again")
            self._failed = False
        finally:
            self._task = None

    def _fail(self, why: str) -> None:
        if not self._failed:
            logger.warning("the keys for tokens can't be fetched: %s", why)
        self._failed = True
        # A question may take as long as it is to the next: nobody is to wait for two.
        self._asked = self._now()

    def _take(self, given: list[Any]) -> None:
        keys = [read_jwk(each, self._algorithms) for each in given[:_MOST_KEYS]]
        self._keys = {(key[1], key[0]): key[2] for key in keys if key is not None}
        if not self._keys:
            logger.warning("the issuer shows no key that tokens can be checked with")
        self._known = given
        self.version += 1

    async def aclose(self) -> None:
        """End a question that is under way; idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
