"""The client: calls and feeds over one connection that comes back by itself."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from streamd_client import methods
from streamd_client.backoff import Backoff, full_jitter
from streamd_client.caller import Caller
from streamd_client.connection import websocket_url
from streamd_client.feed import Feed, OnGap
from streamd_client.link import Link
from streamd_client.methods import Call
from streamd_client.protocol import MESSAGE_BYTES, encode_call
from streamd_client.subscription import Subscription
from streamd_client.tokens import AsyncTokens, Token
from streamd_client.values import (
    Event,
    Explanation,
    Filter,
    History,
    Info,
    Inserted,
    Scalar,
    Standing,
    merge_filter,
)

__all__ = ["TIMEOUT", "Client", "connect"]

TIMEOUT = 10.0  # seconds

T = TypeVar("T")


def connect(
    url: str,
    *,
    timeout: float = TIMEOUT,
    message_bytes: int | None = MESSAGE_BYTES,
    ping_interval: float = 25.0,
    ping_timeout: float = 8.0,
    backoff: Callable[[int], float] = full_jitter,
    compression: bool = False,
    token: Token | None = None,
    ca_file: str | os.PathLike[str] | None = None,
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
        compression: Whether to compress what is sent and ask the server for the same: fewer bytes
            for more time of the processor.
        token: Says who calls, where the server wants to know: a text, or a function or coroutine
            function that returns one. It is called before the first connection, and again when the
            token is refused or has expired; if the new one is refused at once, the client stops.
        ca_file: Certificates (PEM) to trust in place of the system's.

    Raises:
        ValueError: `url` is no such URL.
        OSError: `ca_file` cannot be read; an `ssl.SSLError` if it has no certificates.
    """
    link = Link(
        websocket_url(url),
        ca_file=ca_file,
        message_bytes=message_bytes,
        backoff=Backoff(backoff),
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        compression=compression,
        tokens=None if token is None else AsyncTokens(token, timeout=timeout),
        timeout=timeout,
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
        self._caller = Caller(link)
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
        return await self._call(methods.insert(event, id), timeout)

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
        return await self._call(methods.insert_many(events, ids), timeout)

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
        return await self._call(methods.items(filter, keys, start, end), timeout)

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
        return await self._call(methods.history(filter, keys, before, limit), timeout)

    async def explain(
        self,
        *,
        filter: Filter | None = None,
        cursor: str | None = None,
        event: Event | None = None,
        timeout: float | None = None,
        **keys: Scalar | Iterable[Scalar],
    ) -> Explanation:
        """
        Tell key by key why an entry, or such an event, does or does not match a filter.

        Args:
            filter: As in `items`.
            cursor: The place of the entry.
            event: Any JSON object, in place of the cursor; it is not stored.
            keys: As in `items`.

        Raises:
            ValueError: Neither a cursor nor an event is given, or both.
            PlaceLost: The entry is no longer retained, or of another log.
        """
        return await self._call(methods.explain(filter, keys, cursor, event), timeout)

    async def subscriptions(self, *, timeout: float | None = None) -> list[Standing]:
        """
        Return how far the subscriptions of this connection are, as the server has it.
        """
        return await self._call(methods.subscriptions(), timeout)

    async def info(self, *, timeout: float | None = None) -> Info:
        """
        Return what the server says about itself: version, keys, limits, the newest place.
        """
        return await self._call(methods.info(), timeout)

    async def ping(self, *, timeout: float | None = None) -> float:
        """
        Return the seconds that a call and its answer take, waiting for a connection included.
        """
        started = time.monotonic()
        await self._call(methods.ping(), timeout)
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

    async def _call(self, call: Call[T], timeout: float | None) -> T:
        seconds = self._timeout if timeout is None else timeout
        return call.read(await self._caller.call(call.method, call.params, seconds))
