"""The token that says who calls: used again until the server takes it no more, then asked for anew."""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import TypeAlias, cast

from streamd_client.errors import Unreachable

__all__ = ["AsyncTokens", "GetToken", "SyncTokens", "Token"]

GetToken: TypeAlias = Callable[[], str | Awaitable[str]]

Token: TypeAlias = str | GetToken
"""A token, or what returns one; for the client with asyncio that may be a coroutine function."""


class AsyncTokens:
    """
    The token of a link.

    Args:
        token: The token, or what returns one.
        timeout: Seconds that this has.
    """

    def __init__(self, token: Token, *, timeout: float) -> None:
        self._source = token
        self._timeout = timeout
        self._token: str | None = None
        self.fresh = False
        """Whether the last one was asked for then, and not used before."""

    async def get(self) -> str:
        """
        Return the token for the next connection: the last one, if that was not dropped.

        Raises:
            Unreachable: There is none now.
        """
        self.fresh = self._token is None
        if self._token is None:
            self._token = await self._ask()
        return self._token

    def drop(self) -> None:
        """
        Forget the token: the next connection needs another.
        """
        self._token = None

    async def _ask(self) -> str:
        if isinstance(self._source, str):
            return self._source
        try:
            async with asyncio.timeout(self._timeout):
                given = self._source()
                return _text(await given if inspect.isawaitable(given) else given)
        except TimeoutError as exc:
            raise Unreachable(f"no token came within {self._timeout:g} s") from exc
        except Exception as exc:
            raise Unreachable(f"no token could be had: {_said(exc)}") from exc


class SyncTokens:
    """
    The token of a client without asyncio, for any number of threads.

    Args:
        token: The token, or a function that returns one.
    """

    def __init__(self, token: Token) -> None:
        self._source = token
        self._token: str | None = None
        self._lock = threading.Lock()

    def get(self, refused: str | None = None) -> tuple[str, bool]:
        """
        Return a token, another than the one that was refused, and whether it may be too old.

        Raises:
            Unreachable: There is none now.
        """
        if isinstance(self._source, str):
            return self._source, False
        with self._lock:
            old = self._token is not None and self._token != refused
            if not old:
                self._token = None
                self._token = self._ask()
            return cast("str", self._token), old

    def _ask(self) -> str:
        assert callable(self._source), "a text is not asked for"
        try:
            return _text(self._source())
        except Exception as exc:
            raise Unreachable(f"no token could be had: {_said(exc)}") from exc


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError(f"a token must be a text, got {type(given).__name__}")
    return given


def _said(exc: Exception) -> str:
    return str(exc) or type(exc).__name__
