"""A feed: what a caller reads with `async for`, and the place he has got to."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeAlias

from streamd_client.errors import CallTimeout, PlaceLost
from streamd_client.subscription import FeedState, Subscription
from streamd_client.values import Entry

__all__ = ["Feed", "OnGap"]

OnGap: TypeAlias = Callable[[PlaceLost], Awaitable[None] | None]


class Feed:
    """
    The entries that match a filter, oldest first, from the past into the future without a gap.

    Made by `Client.subscribe`; entered once with `async with`, read by one task with `async for`.
    The connection may come and go meanwhile. Calls may be made inside the loop's body.

    Iterating raises `PlaceLost` where entries may have been missed, unless `on_gap` was given;
    iterate again to go on with the newest entries. Any other error is the end of the feed and is
    raised again by every further attempt.
    """

    def __init__(self, subscription: Subscription, *, on_gap: OnGap | None, timeout: float) -> None:
        self._subscription = subscription
        self._on_gap = on_gap
        self._timeout = timeout
        self._entered = False
        self._reading = False

    # What it tells.

    @property
    def cursor(self) -> str | None:
        """
        The place to store, and to give as `after` tomorrow.

        It is the last entry whose loop body has finished: it moves when the next one is asked
        for, and with the server's progress while nothing waits. None before the first place.
        """
        return self._subscription.inbox.cursor

    @property
    def before(self) -> str | None:
        """What to give to `Client.history` for the entries older than the last backfill."""
        return self._subscription.before

    @property
    def state(self) -> FeedState:
        """Where the feed stands."""
        return self._subscription.state

    @property
    def live(self) -> bool:
        """Whether everything up to now has been received."""
        return self._subscription.state is FeedState.LIVE

    # Life.

    async def __aenter__(self) -> Self:
        """
        Subscribe, and wait for the server to accept it.

        Raises:
            RpcError: The server refused, e.g. a key it does not know.
            CallTimeout: It did not answer in time.
            ClientStopped: The client has ended.
        """
        if self._entered:
            raise RuntimeError("a feed can be entered only once")
        self._entered = True
        try:
            self._subscription.open()
            await self._wait_for_answer()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """
        Unsubscribe.
        """
        await self.close()

    async def close(self) -> None:
        """
        Unsubscribe and end the iteration, also one that is waiting. Idempotent.

        What was received and not taken is dropped; `cursor` stays readable.
        """
        self._subscription.close()

    async def _wait_for_answer(self) -> None:
        subscription = self._subscription
        try:
            async with asyncio.timeout(self._timeout):
                await subscription.answered.wait()
        except TimeoutError:
            raise CallTimeout("subscribe", self._timeout) from subscription.trouble
        if subscription.end is not None:
            raise subscription.end.again()

    # Reading.

    def __aiter__(self) -> Self:
        """
        Go on where the last iteration stopped.
        """
        return self

    async def __anext__(self) -> Entry:
        """
        Return the next entry; the one before it is finished now.

        Raises:
            PlaceLost: Entries may have been missed, and `on_gap` was not given.
            StreamdError: The feed has ended by itself.
        """
        if not self._entered:
            raise RuntimeError("enter the feed with `async with` before iterating")
        if self._reading:
            raise RuntimeError("another task is reading this feed")
        self._reading = True
        try:
            return await self._next()
        finally:
            self._reading = False

    async def _next(self) -> Entry:
        subscription = self._subscription
        while True:
            subscription.changed.clear()
            item = subscription.inbox.take()
            if isinstance(item, Entry):
                return item
            if isinstance(item, PlaceLost):
                await self._report(item)
            elif subscription.state is FeedState.CLOSED:
                raise StopAsyncIteration if subscription.end is None else subscription.end.again()
            else:
                subscription.resume()
                await subscription.changed.wait()

    async def _report(self, gap: PlaceLost) -> None:
        if self._on_gap is None:
            raise gap
        result = self._on_gap(gap)
        if inspect.isawaitable(result):
            await result
