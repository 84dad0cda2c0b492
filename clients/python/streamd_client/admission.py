"""How a link is let in where the server asks who comes: by a token, in the first call of a connection."""

import asyncio
from collections.abc import Callable

from streamd_client.backoff import Backoff
from streamd_client.calls import Calls
from streamd_client.connection import Connection
from streamd_client.errors import (
    ConnectionLost,
    ConnectionRejected,
    LimitExceeded,
    MethodNotFound,
    RpcError,
    StreamdError,
    Unauthorized,
)
from streamd_client.protocol import Answer
from streamd_client.tokens import AsyncTokens

__all__ = ["Admission"]

TOKEN_EXPIRED = 4001
"""The close code that means: come back with a new token."""
TOO_MANY = 4029
"""The close code that means: there are too many connections with this token."""
TOKEN_REFUSED = 4501
"""The close code that means: this token will not do."""


class Admission:
    """
    Shows the token of a link, and judges what becomes of it.

    Args:
        tokens: Where tokens come from.
        calls: The link's.
        backoff: The link's.
        timeout: Seconds that the server has to take a token.
    """

    def __init__(
        self, tokens: AsyncTokens, calls: Calls, backoff: Backoff, *, timeout: float
    ) -> None:
        self._tokens = tokens
        self._calls = calls
        self._backoff = backoff
        self._timeout = timeout
        self._timer: asyncio.TimerHandle | None = None
        """Runs while the server looks at the token."""

    async def token(self) -> str:
        """
        Return the token for the next connection.

        Raises:
            Unreachable: There is none now.
        """
        return await self._tokens.get()

    def show(self, token: str, connection: Connection, taken: Callable[[], None]) -> None:
        """
        Show the token, before anything else is sent; the connection is abandoned if it is not taken.

        Args:
            taken: Called when all else may be sent.
        """

        def answered(outcome: Answer | StreamdError, _size: int) -> None:
            self.leave()
            if isinstance(outcome, (Answer, MethodNotFound)):  # which has no need of tokens
                taken()
            else:
                connection.abandon(self._passing(outcome) or outcome)

        late = ConnectionLost("the server did not answer to the token")
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._timeout, connection.abandon, late)
        id, frame = self._calls.add("authenticate", {"token": token}, answered, lasting=False)
        connection.send(id, frame)

    def leave(self) -> None:
        """
        Wait for no answer any more: it came, or the connection is gone. Idempotent.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def judge(self, ending: StreamdError) -> StreamdError:
        """
        Return what it means that a connection ended so; a token that is too old is not used again.
        """
        if self._is_old_token(ending):
            expired = ConnectionLost("the token has expired", TOKEN_EXPIRED)
            expired.__cause__ = ending
            ending = expired
        if isinstance(ending, ConnectionLost) and ending.code == TOKEN_EXPIRED:
            self._tokens.drop()
        return ending

    def _is_old_token(self, ending: StreamdError) -> bool:
        """Tell whether a refusal may mean no more than that: a new one that is refused says that none will do."""
        refused = isinstance(ending, Unauthorized) or (
            isinstance(ending, ConnectionRejected) and ending.code == TOKEN_REFUSED
        )
        return refused and not (self._tokens.fresh and not self._backoff.stable)

    def _passing(self, error: StreamdError) -> ConnectionLost | None:
        """Return the trouble where another connection may have its token taken, else None."""
        if isinstance(error, LimitExceeded):
            return ConnectionLost(error.message, TOO_MANY)
        if not (isinstance(error, RpcError) and error.retryable):
            return None
        if error.retry_after is not None:
            self._backoff.told(error.retry_after)
        return ConnectionLost(error.message)
