"""
A feed: a subscription that outlives its connections, read with `async for`.

The law of `Feed._state`, which only this file changes:

    SUBSCRIBING ──answer──→ CATCHING_UP ──live: true──→ LIVE
         ↑ connection lost,      │ too much waits           │
         │ place lost            ↓                          │
         └────── drained ───── PAUSED ←──────too much waits─┘
    any ──close(), a final error──→ CLOSED
"""

import asyncio
import enum
import inspect
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeAlias

from streamd_client.errors import (
    CallTimeout,
    ClientClosed,
    PlaceLost,
    ProtocolError,
    RpcError,
    StreamdError,
)
from streamd_client.inbox import Inbox
from streamd_client.link import Link, retry_delay
from streamd_client.protocol import Answer, Subscribed, read_subscribed
from streamd_client.values import Entry

__all__ = ["Feed", "FeedState", "OnGap"]

PLACE_LOST = -32007

OnGap: TypeAlias = Callable[[PlaceLost], Awaitable[None] | None]


class FeedState(enum.Enum):
    """Where a feed stands."""

    SUBSCRIBING = "subscribing"
    """No subscription on the server: there is no connection, or the answer is on its way."""
    CATCHING_UP = "catching up"
    """Subscribed; older entries are still coming."""
    LIVE = "live"
    """Subscribed; everything up to now has been received."""
    PAUSED = "paused"
    """The reader is slow: what waits is kept, the rest is fetched when it has been taken."""
    CLOSED = "closed"
    """Nothing more is received."""


class Feed:
    """
    The entries that match a filter, oldest first, from the past into the future without a gap.

    Made by `Client.subscribe`; entered once with `async with`, read by one task with `async for`.
    The connection may come and go meanwhile. Calls may be made inside the loop's body.

    Iterating raises `PlaceLost` where entries may have been missed, unless `on_gap` was given;
    iterate again to go on with the newest entries. Any other error is the end of the feed and is
    raised again by every further attempt.
    """

    def __init__(
        self,
        link: Link,
        filter: dict[str, Any],
        *,
        backfill: int,
        after: str | None,
        on_gap: OnGap | None,
        timeout: float,
    ) -> None:
        self._link = link
        self._filter = filter
        self._backfill = backfill
        self._on_gap = on_gap
        self._timeout = timeout
        self._inbox = Inbox(after)
        self._state = FeedState.SUBSCRIBING
        self._number: int | None = None
        self._before: str | None = None
        self._end: StreamdError | None = None
        self._entered = False
        self._reading = False
        self._attempt = 0
        self._retry: asyncio.TimerHandle | None = None
        self._answered_once = asyncio.Event()
        self._changed = asyncio.Event()

    # What it tells.

    @property
    def cursor(self) -> str | None:
        """
        The place to store, and to give as `after` tomorrow.

        It is the last entry whose loop body has finished: it moves when the next one is asked
        for, and with the server's progress while nothing waits. None before the first place.
        """
        return self._inbox.cursor

    @property
    def before(self) -> str | None:
        """What to give to `Client.history` for the entries older than the last backfill."""
        return self._before

    @property
    def state(self) -> FeedState:
        """Where the feed stands."""
        return self._state

    @property
    def live(self) -> bool:
        """Whether everything up to now has been received."""
        return self._state is FeedState.LIVE

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
            self._link.attach(self)
            await self._wait_for_answer()
            if self._end is not None:
                raise self._end.again()
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
        self._inbox.clear()
        self._finish(None)

    async def _wait_for_answer(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._answered_once.wait()
        except TimeoutError:
            raise CallTimeout("subscribe", self._timeout) from self._link.trouble

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
        while True:
            self._changed.clear()
            item = self._inbox.take()
            if isinstance(item, Entry):
                return item
            if isinstance(item, PlaceLost):
                await self._report(item)
            elif self._state is FeedState.CLOSED:
                raise StopAsyncIteration if self._end is None else self._end.again()
            else:
                self._resume()
                await self._changed.wait()

    async def _report(self, gap: PlaceLost) -> None:
        if self._on_gap is None:
            raise gap
        result = self._on_gap(gap)
        if inspect.isawaitable(result):
            await result

    # Subscribing.

    def _subscribe(self) -> None:
        self._retry = None
        params = {"filter": self._filter, "backfill": self._backfill}
        if self._inbox.position is not None:
            params["after"] = self._inbox.position
        try:
            self._link.post("subscribe", params, self._answered)
        except StreamdError as exc:
            self._finish(exc)

    def _answered(self, outcome: Answer | StreamdError, size: int) -> None:
        if isinstance(outcome, StreamdError):
            self._refused(outcome)
            return
        try:
            subscribed = read_subscribed(outcome.result)
        except ProtocolError as exc:
            self._finish(exc)
            return
        if self._state is FeedState.CLOSED:
            self._link.unsubscribe(subscribed.subscription)
        else:
            self._accepted(subscribed, size)

    def _accepted(self, subscribed: Subscribed, size: int) -> None:
        self._attempt = 0
        self._number = subscribed.subscription
        self._link.route(self._number, self)
        self._state = FeedState.LIVE if subscribed.live else FeedState.CATCHING_UP
        if subscribed.resumed is False:
            self._lose("the place in the log is gone", {"reason": subscribed.reason})
        if not subscribed.resumed:
            self._before = subscribed.before
        for entry in subscribed.entries:
            self._inbox.put(entry, size // len(subscribed.entries))
        self._inbox.mark(subscribed.cursor)
        self._answered_once.set()
        self._changed.set()

    def _refused(self, error: StreamdError) -> None:
        if self._state is FeedState.CLOSED:
            return
        if isinstance(error, RpcError) and error.retryable:
            delay = retry_delay(error, self._attempt)
            self._attempt += 1
            self._retry = asyncio.get_running_loop().call_later(delay, self._subscribe)
        else:
            self._finish(error)

    def _lose(self, message: str, data: Any) -> None:
        self._inbox.gap(PlaceLost(PLACE_LOST, message, data, self._inbox.position))

    def _pause(self) -> None:
        self._leave()
        self._state = FeedState.PAUSED

    def _resume(self) -> None:
        if self._state is FeedState.PAUSED:
            self._state = FeedState.SUBSCRIBING
            if self._link.connected:
                self._subscribe()

    def _leave(self) -> None:
        if self._number is not None:
            self._link.unsubscribe(self._number)
            self._number = None

    def _finish(self, error: StreamdError | None) -> None:
        if self._state is FeedState.CLOSED:
            return
        self._state = FeedState.CLOSED
        self._end = error
        if self._retry is not None:
            self._retry.cancel()
        self._leave()
        self._link.detach(self)
        self._answered_once.set()
        self._changed.set()

    # What the link tells (`link.Subscriber`).

    def connected(self) -> None:
        """Strictly private."""
        if self._state is FeedState.SUBSCRIBING:
            self._subscribe()

    def disconnected(self) -> None:
        """Strictly private."""
        self._number = None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._state is not FeedState.PAUSED:
            self._state = FeedState.SUBSCRIBING

    def received(self, entry: Entry, size: int) -> None:
        """Strictly private."""
        if self._inbox.has_room(size):
            self._inbox.put(entry, size)
            self._changed.set()
        else:
            self._pause()

    def progressed(self, cursor: str, live: bool) -> None:
        """Strictly private."""
        self._inbox.mark(cursor)
        if live:
            self._state = FeedState.LIVE

    def closed_by_server(self, error: RpcError) -> None:
        """Strictly private."""
        self._number = None
        self._state = FeedState.SUBSCRIBING
        if isinstance(error, PlaceLost):
            self._lose(error.message, error.data)
            self._changed.set()
            self._subscribe()
        else:
            self._refused(error)

    def stopped(self, error: StreamdError) -> None:
        """Strictly private."""
        if isinstance(error, ClientClosed):
            self._inbox.clear()
        self._finish(error)
