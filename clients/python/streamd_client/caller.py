"""Calls that are made until they are answered: through reconnects, and the server's passing errors."""

import asyncio
from typing import Any

from streamd_client.attempts import Attempts
from streamd_client.errors import RpcError, StreamdError
from streamd_client.link import Link
from streamd_client.protocol import Answer

__all__ = ["Caller"]


class Caller:
    """
    The calls of a client, over its link.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    async def call(self, method: str, params: dict[str, Any], timeout: float) -> Any:
        """
        Call a method and return its result, through reconnects and passing errors of the server.

        Raises:
            RpcError: The server's answer, or its last one when the time was up.
            CallTimeout: No answer came in time.
            ClientStopped: The client has ended.
        """
        attempts = Attempts(method, timeout, clock=asyncio.get_running_loop().time)
        loss = self._link.loss
        while True:
            try:
                return await self._once(method, params, attempts.deadline)
            except (RpcError, TimeoutError) as exc:
                failure = exc
            if self._link.loss is not loss:  # it was sent more than once
                attempts.lost(self._link.loss)
            if isinstance(failure, TimeoutError):
                attempts.lost(self._link.trouble)
                raise attempts.verdict()
            await asyncio.sleep(attempts.pause(failure))

    async def _once(self, method: str, params: dict[str, Any], deadline: float) -> Any:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def answered(outcome: Answer | StreamdError, _size: int) -> None:
            if future.done():
                return
            if isinstance(outcome, Answer):
                future.set_result(outcome.result)
            else:
                future.set_exception(outcome)

        id = self._link.post(method, params, answered, lasting=True)
        # A timer of the call's own: asyncio.timeout would take longer than the rest of the call.
        timer = loop.call_at(deadline, _expire, future)
        try:
            return await future
        finally:
            timer.cancel()
            self._link.forget(id)
            if future.done() and not future.cancelled():
                future.exception()  # seen, also when the caller was cancelled at that moment


def _expire(future: "asyncio.Future[Any]") -> None:
    if not future.done():
        future.set_exception(TimeoutError())
