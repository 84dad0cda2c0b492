"""
The client for programs without asyncio: Django, Flask, scripts.

    client = Client("http://127.0.0.1:8080/")
    client.insert({"kind": "friend", "user": 23, "friend": 291})
    client.items(kind="friend", user=[23, 291], start=1, end=3)

It has the calls of `streamd_client.Client`, with the same values and errors, over HTTP. What it
has not is `subscribe`: to be told when something happens takes a connection that lasts, and is
what the client with asyncio, `streamd_client.connect`, is for. It needs urllib3, which
`pip install 'streamd-client[sync]'` brings.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from types import TracebackType
from typing import Any, Self, TypeVar

from streamd_client import methods
from streamd_client.attempts import Attempts
from streamd_client.backoff import call_jitter
from streamd_client.client import TIMEOUT
from streamd_client.errors import ConnectionLost, RpcError, Unauthorized
from streamd_client.http import Http, read_reply
from streamd_client.methods import Call
from streamd_client.protocol import MESSAGE_BYTES, encode_call
from streamd_client.tokens import SyncTokens, Token
from streamd_client.values import (
    Event,
    Explanation,
    Filter,
    History,
    Info,
    Inserted,
    Scalar,
)

__all__ = ["Client"]

ATTEMPT_TIMEOUT = 6.0
"""Seconds: longer than the server waits for its store (5) before it answers that it can't."""

LEAST = 0.001
"""Seconds that an attempt has, however late it is."""

T = TypeVar("T")


class Client:
    """
    Calls of one streamd server, over connections that are kept for the next call.

    A client is made once and may be used by any number of threads; connections are opened when
    they are needed, so it can be made where a module is imported. It may be forked (as gunicorn
    does with `--preload`): the new process opens connections of its own. But as with every lock,
    fork while no other thread is in the middle of a call.

    A call whose connection is lost, or that is not answered, is sent again, and so it is after
    passing errors of the server (`RpcError.retryable`) and HTTP 408, 425, 429, 502, 503 and 504.
    Every insert has an id before it is first sent, so none of this stores it twice. Each call
    takes `timeout` in seconds for all of that, and raises:

        RpcError: the server's answer, by code one of its subclasses;
        CallTimeout: no answer in time; whether an insert happened is not known then, unless the
            cause is `Unreachable`: nothing was sent;
        RequestRefused: an HTTP status that says that a repetition would not help;
        ProtocolError: an answer that is none;
        ClientClosed: the client was closed.

    Args:
        url: `http://…` or `https://…`; `ws://…` and `wss://…` mean the same server. Proxies
            named by the environment are not used.
        timeout: Seconds that each call has, unless it is given its own. A look-up of the
            server's name is not interrupted.
        attempt_timeout: Seconds after which an attempt is given up for the next.
        message_bytes: The server's limit of that name; a longer call raises `LimitExceeded`.
            None sends any.
        connections: How many are kept open. More threads open more for their call.
        ca_file: Certificates (PEM) to trust in place of the system's. A server's certificate is
            always verified.
        token: Says who calls, where the server wants to know: a text, or a function that returns
            one. It is called before the first call, and again when the token is refused.
        backoff: Maps the number of the failed attempt (0, 1, 2 …) to the seconds before the next.
        clock: A monotonic clock in seconds.
        sleep: Waits so many seconds.

    Raises:
        ValueError: `url` is no such URL.
        OSError: `ca_file` cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = TIMEOUT,
        attempt_timeout: float = ATTEMPT_TIMEOUT,
        message_bytes: int | None = MESSAGE_BYTES,
        connections: int = 32,
        ca_file: str | os.PathLike[str] | None = None,
        token: Token | None = None,
        backoff: Callable[[int], float] = call_jitter,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = Http(url, connections=connections, ca_file=ca_file, clock=clock)
        self._tokens = None if token is None else SyncTokens(token)
        self._timeout = timeout
        self._attempt_timeout = attempt_timeout
        self._message_bytes = message_bytes
        self._backoff = backoff
        self._clock = clock
        self._sleep = sleep
        self._ids = count(1)

    # Life.

    def __enter__(self) -> Self:
        """
        Return the client; it is closed at the end of the `with`.
        """
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """
        Close the client.
        """
        self.close()

    def close(self) -> None:
        """
        Close the connections; further calls raise `ClientClosed`. Idempotent.

        A call that another thread is waiting for is answered still, but not repeated.
        """
        self._http.close()

    # Inserting.

    def insert(
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
        return self._call(methods.insert(event, id), timeout)

    def insert_many(
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
        return self._call(methods.insert_many(events, ids), timeout)

    # Asking.

    def items(
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
        return self._call(methods.items(filter, keys, start, end), timeout)

    def history(
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
        return self._call(methods.history(filter, keys, before, limit), timeout)

    def explain(
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
        return self._call(methods.explain(filter, keys, cursor, event), timeout)

    def info(self, *, timeout: float | None = None) -> Info:
        """
        Return what the server says about itself: version, keys, limits, the newest place.
        """
        return self._call(methods.info(), timeout)

    def ping(self, *, timeout: float | None = None) -> float:
        """
        Return the seconds that a call and its answer take, waiting for a connection included.
        """
        started = self._clock()
        self._call(methods.ping(), timeout)
        return self._clock() - started

    def _call(self, call: Call[T], timeout: float | None) -> T:
        seconds = self._timeout if timeout is None else timeout
        id = next(self._ids)
        frame = encode_call(id, call.method, call.params, self._message_bytes)
        attempts = Attempts(call.method, seconds, clock=self._clock, backoff=self._backoff)
        while True:
            try:
                return call.read(self._attempt(id, frame, attempts.left))
            except (RpcError, ConnectionLost) as exc:
                failure = exc
            self._sleep(attempts.pause(failure))

    def _attempt(self, id: int, frame: bytes, left: float) -> Any:
        seconds = max(LEAST, min(left, self._attempt_timeout))
        if self._tokens is None:
            return read_reply(self._http.post(frame, seconds), id)
        token, old = self._tokens.get()
        try:
            return read_reply(self._http.post(frame, seconds, token), id)
        except Unauthorized:
            if not old:
                raise
        # It may be no more than too old: another may do.
        token, _ = self._tokens.get(refused=token)
        return read_reply(self._http.post(frame, seconds, token), id)
