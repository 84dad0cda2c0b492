"""The client: calls and feeds over one connection that comes back by itself."""

import base64
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from streamd_client.backoff import Backoff, full_jitter
from streamd_client.connection import websocket_url
from streamd_client.feed import Feed, OnGap
from streamd_client.link import Link
from streamd_client.protocol import (
    encode_call,
    read_history,
    read_info,
    read_inserted,
    read_inserted_many,
    read_items,
)
from streamd_client.subscription import Subscription
from streamd_client.values import (
    Event,
    Filter,
    History,
    Info,
    Inserted,
    Scalar,
    merge_filter,
)

__all__ = ["Client", "connect"]

MESSAGE_BYTES = 1024 * 1024
TIMEOUT = 10.0  # seconds


def new_insert_id() -> str:
    """
    Return a random insert id: 128 bits as 22 ASCII characters.
    """
    return base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()


def connect(
    url: str,
    *,
    timeout: float = TIMEOUT,
    message_bytes: int | None = MESSAGE_BYTES,
    ping_interval: float = 25.0,
    ping_timeout: float = 8.0,
    backoff: Callable[[int], float] = full_jitter,
) -> "Client":
    """
    Return a client for `async with`; it connects in the background and again whenever it must.

    Args:
        url: `ws://…` or `wss://…`; `http://…` and `https://…` mean the same server.
        timeout: Seconds that each call has, unless it is given its own.
        message_bytes: The server's limit of that name. A longer call fails alone with
            `LimitExceeded`; sent, it would end the connection. None sends any.
        ping_interval: Seconds without a byte received after which the link is tried.
        ping_timeout: Seconds it then has before a new connection is made.
        backoff: Maps the number of the failed attempt (0, 1, 2 …) to the seconds before the next.

    Raises:
        ValueError: `url` is no such URL.
    """
    link = Link(
        websocket_url(url),
        message_bytes=message_bytes,
        backoff=Backoff(backoff),
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
    )
    return Client(link, timeout=timeout)


class Client:
    """
    A connection to a streamd server that lasts. Made by `connect`, entered once.

    Any number of calls may run at the same time; they are sent in the order they were made. A
    call whose connection is lost is sent again on the next one. Passing errors of the server
    (`RpcError.retryable`) are retried too. Each call takes `timeout` in seconds, and raises:

        RpcError: the server's answer, by code one of its subclasses;
        CallTimeout: no answer in time;
        ClientStopped: the client was closed, or the server said not to come back.
    """

    def __init__(self, link: Link, *, timeout: float) -> None:
        self._link = link
        self._timeout = timeout

    # Life.

    async def __aenter__(self) -> Self:
        """
        Begin to connect; calls wait for the connection.
        """
        self._link.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """
        Close the client.
        """
        await self.close()

    async def close(self) -> None:
        """
        Close the connection; every waiting call and feed raises `ClientClosed`. Idempotent.
        """
        await self._link.close()

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._link.connected

    # Inserting.

    async def insert(
        self, event: Event, id: str | None = None, *, timeout: float | None = None
    ) -> Inserted:
        """
        Store an event and return its place, once however often it has to be sent.

        Args:
            event: Any JSON object.
            id: Identifies this insert for repeats within the server's memory of ids (10 minutes
                by default), at most 128 bytes; random when not given. Give one to repeat an
                insert safely whose outcome you never learnt.

        Raises:
            UnknownOutcome: The server does not know whether it stored the event.
            InvalidParams: The event cannot be stored, or the id belongs to another event.
        """
        params = {"event": event, "id": new_insert_id() if id is None else id}
        return read_inserted(await self._call("insert", params, timeout))

    async def insert_many(
        self,
        events: Iterable[Event],
        ids: Sequence[str | None] | None = None,
        *,
        timeout: float | None = None,
    ) -> list[Inserted]:
        """
        Store all the events or none, with consecutive places, in one call.

        Args:
            ids: One for each event, as in `insert`; None or absent ones are made here.

        Raises:
            ValueError: There are more or fewer ids than events.
            LimitExceeded: There are more events than the server takes in one call.
        """
        events = list(events)
        given = [None] * len(events) if ids is None else ids
        if len(given) != len(events):
            raise ValueError(f"{len(events)} events and {len(given)} ids")
        made = [new_insert_id() if id is None else id for id in given]
        params = {"events": events, "ids": made}
        return read_inserted_many(await self._call("insert_many", params, timeout))

    # Asking.

    async def items(
        self,
        *,
        filter: Filter | None = None,
        start: int = 0,
        end: int = 20,
        timeout: float | None = None,
        **keys: Scalar | Iterable[Scalar],
    ) -> list[Event]:
        """
        Return the events from `start` up to and without `end`, counted from the newest.

        Args:
            filter: Keys and values; for keys that cannot be keyword arguments.
            keys: The same by keyword: `kind="friend", user=[23, 291]`. AND between keys, OR
                in a list.
        """
        params = {"filter": merge_filter(filter, keys), "start": start, "end": end}
        return read_items(await self._call("items", params, timeout))

    async def history(
        self,
        *,
        filter: Filter | None = None,
        before: str | None = None,
        limit: int = 20,
        timeout: float | None = None,
        **keys: Scalar | Iterable[Scalar],
    ) -> History:
        """
        Return a page of entries, newest first, that does not shift while events arrive.

        Args:
            filter: As in `items`.
            before: The `before` of the page before; None for the newest page.
            limit: The most entries to return. A page may be shorter and yet not the last.
            keys: As in `items`.
        """
        params: dict[str, Any] = {"filter": merge_filter(filter, keys), "limit": limit}
        if before is not None:
            params["before"] = before
        return read_history(await self._call("history", params, timeout))

    async def info(self, *, timeout: float | None = None) -> Info:
        """
        Return what the server says about itself: version, keys, limits, the newest place.
        """
        return read_info(await self._call("info", {}, timeout))

    async def ping(self, *, timeout: float | None = None) -> float:
        """
        Return the seconds that a call and its answer take, waiting for a connection included.
        """
        started = time.monotonic()
        await self._call("ping", {}, timeout)
        return time.monotonic() - started

    # Following.

    def subscribe(
        self,
        *,
        filter: Filter | None = None,
        backfill: int = 20,
        after: str | None = None,
        on_gap: OnGap | None = None,
        timeout: float | None = None,
        **keys: Scalar | Iterable[Scalar],
    ) -> Feed:
        """
        Return the feed of what matches, for `async with` and `async for`.

        Args:
            filter: As in `items`.
            backfill: How many of the newest entries come first, where there is no place to go
                on from.
            after: A stored `Feed.cursor` to go on from; "start" for the oldest entry retained.
            on_gap: Called (and awaited, if it is a coroutine function) with the `PlaceLost`
                where entries may have been missed, after which the iteration goes on; without
                it the iteration raises.
            timeout: Seconds for the server to accept the subscription at first.
            keys: As in `items`.

        Raises:
            TypeError: The filter cannot be written as JSON, or names a key twice.
        """
        merged = merge_filter(filter, keys)
        encode_call(0, "subscribe", merged)  # here, where the mistake is, and not at a reconnect
        subscription = Subscription(self._link, merged, backfill=backfill, after=after)
        seconds = self._timeout if timeout is None else timeout
        return Feed(subscription, on_gap=on_gap, timeout=seconds)

    async def _call(self, method: str, params: dict[str, Any], timeout: float | None) -> Any:
        return await self._link.call(method, params, self._timeout if timeout is None else timeout)
