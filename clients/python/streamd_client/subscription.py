"""
A subscription that outlives its connections: it asks again after each, from where it had got.

The law of `Subscription.state`, which only this file changes:

    SUBSCRIBING ──answer──→ CATCHING_UP ──live: true──→ LIVE
         ↑ connection lost,      │ too much waits           │
         │ place lost            ↓                          │
         └────── drained ───── PAUSED ←──────too much waits─┘
    any ──close(), a final error──→ CLOSED
"""

import asyncio
import enum
from typing import Any

from streamd_client.backoff import retry_delay
from streamd_client.errors import (
    ClientClosed,
    PlaceLost,
    ProtocolError,
    RpcError,
    StreamdError,
)
from streamd_client.inbox import Inbox
from streamd_client.link import Link
from streamd_client.protocol import Answer, Subscribed, read_subscribed
from streamd_client.values import Entry

__all__ = ["FeedState", "Subscription"]

PLACE_LOST = -32007


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


class Subscription:
    """
    One filter on one link, filling an inbox. Nothing here waits; a feed waits on the two events.

    Args:
        filter: As it goes over the wire.
        backfill: The entries to ask for where there is no place to go on from.
        after: The place to begin after.
    """

    def __init__(
        self, link: Link, filter: dict[str, Any], *, backfill: int, after: str | None
    ) -> None:
        self._link = link
        self._filter = filter
        self._backfill = backfill
        self._number: int | None = None
        self._attempt = 0
        self._retry: asyncio.TimerHandle | None = None
        self.inbox = Inbox(after)
        """What was received and not taken yet."""
        self.state = FeedState.SUBSCRIBING
        self.before: str | None = None
        """Where the history older than the last backfill begins."""
        self.end: StreamdError | None = None
        """Why it is closed; None if it is not, or was closed by its owner."""
        self.answered = asyncio.Event()
        """Set when the server has accepted it for the first time, and when it is closed."""
        self.changed = asyncio.Event()
        """Set when there is something to take, and when it is closed. Cleared by its reader."""

    @property
    def trouble(self) -> StreamdError | None:
        """Why there is no connection now, if that is known."""
        return self._link.trouble

    # Life.

    def open(self) -> None:
        """
        Subscribe now or when there is a connection, and after every reconnect.

        Raises:
            ClientStopped: The client has ended.
        """
        self._link.attach(self)

    def resume(self) -> None:
        """
        Fetch what was left on the server, now that the inbox is empty.
        """
        if self.state is FeedState.PAUSED:
            self.state = FeedState.SUBSCRIBING
            if self._link.connected:
                self._subscribe()

    def close(self) -> None:
        """
        Unsubscribe and drop what waits. Idempotent.
        """
        self.inbox.clear()
        self._finish(None)

    # Subscribing.

    def _subscribe(self) -> None:
        self._retry = None
        params = {"filter": self._filter, "backfill": self._backfill}
        if self.inbox.position is not None:
            params["after"] = self.inbox.position
        try:
            self._link.post("subscribe", params, self._settled)
        except StreamdError as exc:
            self._finish(exc)

    def _settled(self, outcome: Answer | StreamdError, size: int) -> None:
        if isinstance(outcome, StreamdError):
            self._refused(outcome)
            return
        try:
            subscribed = read_subscribed(outcome.result)
        except ProtocolError as exc:
            self._finish(exc)
            return
        if self.state is FeedState.CLOSED:
            self._link.unsubscribe(subscribed.subscription)
        else:
            self._accepted(subscribed, size)

    def _accepted(self, subscribed: Subscribed, size: int) -> None:
        self._attempt = 0
        self._number = subscribed.subscription
        self._link.route(self._number, self)
        self.state = FeedState.LIVE if subscribed.live else FeedState.CATCHING_UP
        if subscribed.resumed is False:
            self._lose("the place in the log is gone", {"reason": subscribed.reason})
        if not subscribed.resumed:
            self.before = subscribed.before
        for entry in subscribed.entries:
            self.inbox.put(entry, size // len(subscribed.entries))
        self.inbox.mark(subscribed.cursor)
        self.answered.set()
        self.changed.set()

    def _refused(self, error: StreamdError) -> None:
        if self.state is FeedState.CLOSED:
            return
        if isinstance(error, RpcError) and error.retryable:
            delay = retry_delay(self._attempt, error.retry_after)
            self._attempt += 1
            self._retry = asyncio.get_running_loop().call_later(delay, self._subscribe)
        else:
            self._finish(error)

    def _lose(self, message: str, data: Any) -> None:
        self.inbox.gap(PlaceLost(PLACE_LOST, message, data, self.inbox.position))

    def _pause(self) -> None:
        self._leave()
        self.state = FeedState.PAUSED

    def _leave(self) -> None:
        if self._number is not None:
            self._link.unsubscribe(self._number)
            self._number = None

    def _finish(self, error: StreamdError | None) -> None:
        if self.state is FeedState.CLOSED:
            return
        self.state = FeedState.CLOSED
        self.end = error
        if self._retry is not None:
            self._retry.cancel()
        self._leave()
        self._link.detach(self)
        self.answered.set()
        self.changed.set()

    # What the link tells (`routes.Subscriber`).

    def connected(self) -> None:
        """
        Subscribe on a new connection.
        """
        if self.state is FeedState.SUBSCRIBING:
            self._subscribe()

    def disconnected(self) -> None:
        """
        Forget the connection's number.
        """
        self._number = None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self.state is not FeedState.PAUSED:
            self.state = FeedState.SUBSCRIBING

    def received(self, entry: Entry, size: int) -> None:
        """
        Keep an entry, or pause if too much waits.
        """
        if self.inbox.has_room(size):
            self.inbox.put(entry, size)
            self.changed.set()
        else:
            self._pause()

    def progressed(self, cursor: str, live: bool) -> None:
        """
        Note how far the server has got.
        """
        self.inbox.mark(cursor)
        if live:
            self.state = FeedState.LIVE

    def closed_by_server(self, error: RpcError) -> None:
        """
        Go on with a gap after a lost place; end, or try again, as the error says.
        """
        self._number = None
        self.state = FeedState.SUBSCRIBING
        if isinstance(error, PlaceLost):
            self._lose(error.message, error.data)
            self.changed.set()
            self._subscribe()
        else:
            self._refused(error)

    def stopped(self, error: StreamdError) -> None:
        """
        End with the link.
        """
        if isinstance(error, ClientClosed):
            self.inbox.clear()
        self._finish(error)
