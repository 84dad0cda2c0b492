"""
HTTP to one server: connections that are kept, and what an answer or its absence means.

Proxies that the environment names are not used, for no server: `http_proxy` is set for the web,
and a feed server is a neighbour.
"""

import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from websockets.uri import parse_uri

from streamd_client import __version__
from streamd_client.connection import MAX_ANSWER, PASSING_STATUS, said, websocket_url
from streamd_client.errors import (
    ClientClosed,
    ConnectionLost,
    ProtocolError,
    RequestRefused,
    StreamdError,
    Unreachable,
)
from streamd_client.protocol import Answer, Failure, parse

try:
    from urllib3 import (
        BaseHTTPResponse,
        HTTPConnectionPool,
        HTTPSConnectionPool,
        Timeout,
        make_headers,
    )
    from urllib3.exceptions import (
        ClosedPoolError,
        ConnectTimeoutError,
        HTTPError,
        ReadTimeoutError,
    )
except ImportError as exc:
    raise ImportError(
        "the client without asyncio needs urllib3 2: pip install 'streamd-client[sync]'"
    ) from exc

__all__ = ["Http", "Reply", "read_reply"]

PASSING = PASSING_STATUS | {502, 503, 504}
"""HTTP statuses after which a call is repeated."""

PIECE = 64 * 1024  # bytes read at a time


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for a request."""

    status: int
    content: bytes
    retry_after: float | None = None
    """Seconds that the header of that name asks for."""


class Http:
    """
    Requests to one server, from any number of threads.

    A process that was forked opens connections of its own.

    Args:
        url: `http://…`, `https://…`, `ws://…` or `wss://…`.
        connections: The most that are kept; more are opened while more threads are at it.
        ca_file: Certificates (PEM) to trust in place of the system's.
        clock: A monotonic clock in seconds.

    Raises:
        ValueError: `url` is no such URL.
        OSError: `ca_file` cannot be read; an `ssl.SSLError` if it has no certificates.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int,
        ca_file: str | os.PathLike[str] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._uri = parse_uri(websocket_url(url))
        self._connections = connections
        self._clock = clock
        self._tls = ssl.create_default_context(cafile=ca_file) if self._uri.secure else None
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"streamd-client/{__version__}",
        }
        if self._uri.user_info is not None:
            self._headers |= make_headers(basic_auth=":".join(self._uri.user_info))
        self._closed = False
        self._pool = self._new_pool()
        self._owner = os.getpid()

    def _new_pool(self) -> HTTPConnectionPool:
        host, port, most = self._uri.host, self._uri.port, self._connections
        if self._tls is None:
            return HTTPConnectionPool(host, port, maxsize=most)
        return HTTPSConnectionPool(host, port, maxsize=most, ssl_context=self._tls)

    def close(self) -> None:
        """
        Close the connections; one that is in use is closed after its answer. Idempotent.
        """
        self._closed = True
        self._pool.close()

    def post(self, body: bytes, seconds: float, token: str | None = None) -> Reply:
        """
        Send a request and return its answer, whatever its status, within so many seconds.

        Raises:
            Unreachable: Nothing was sent.
            ConnectionLost: No answer came, or not all of it.
            ProtocolError: The answer is longer than any that the server gives.
            ClientClosed: This was closed.
        """
        if self._owner != os.getpid():
            # The parent goes on using the old ones: what either of us reads, the other misses.
            self._pool, self._owner = self._new_pool(), os.getpid()
        if self._closed:
            raise ClientClosed
        try:
            return self._exchange(body, seconds, token)
        except ClosedPoolError:
            raise ClientClosed from None
        except ConnectTimeoutError as exc:
            raise Unreachable(_why(exc)) from exc
        except ReadTimeoutError as exc:
            raise ConnectionLost(f"no answer came within {seconds:.3g} s") from exc
        except HTTPError as exc:
            raise ConnectionLost(_why(exc)) from exc

    def _exchange(self, body: bytes, seconds: float, token: str | None) -> Reply:
        deadline = self._clock() + seconds
        bearer = {} if token is None else {"Authorization": f"Bearer {token}"}
        response = self._pool.urlopen(
            "POST",
            self._uri.resource_name,
            body,
            self._headers | bearer,
            retries=False,  # and so no redirects
            timeout=Timeout(total=seconds),
            preload_content=False,
            decode_content=False,
        )
        try:
            content = self._read(response, deadline)
        except BaseException:
            response.close()  # else what is left of the answer would be taken for the next one
            raise
        return Reply(response.status, content, _seconds(response.headers.get("Retry-After")))

    def _read(self, response: BaseHTTPResponse, deadline: float) -> bytes:
        content = bytearray()
        while part := response.read1(PIECE):
            content += part
            if len(content) > MAX_ANSWER:
                raise ProtocolError(f"the server's answer is longer than {MAX_ANSWER} bytes")
            if self._clock() > deadline:
                raise ConnectionLost("the answer did not end in time")
        return bytes(content)


def _why(exc: HTTPError) -> str:
    """Return the reason without the sentences about its own objects that urllib3 wraps it in."""
    inner = [arg for arg in (exc.__cause__, *exc.args) if isinstance(arg, Exception)]
    reason = inner[0] if inner else exc
    return str(reason) or type(reason).__name__


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdecimal() else None


def read_reply(reply: Reply, id: int) -> Any:
    """
    Return the result that the answer to call `id` holds.

    Raises:
        RpcError: It holds an error.
        ConnectionLost: Its status says that it may work another time.
        RequestRefused: Its status says that it will not.
        ProtocolError: It is no answer to this call.
    """
    try:
        (message,) = parse(reply.content)
    except (ProtocolError, ValueError):
        message = None
    match message:
        case Failure(answered, error) if answered in (id, None):
            raise error
        case Answer(answered, result) if answered == id and reply.status == 200:
            return result
    if reply.status != 200:
        raise _refusal(reply)
    raise ProtocolError("the server sent something else than the answer to this call")


def _refusal(reply: Reply) -> StreamdError:
    text = said(reply.content)
    if reply.status in PASSING:
        what = f": {text}" if text else ""
        return ConnectionLost(f"HTTP {reply.status}{what}", None, reply.retry_after)
    return RequestRefused(reply.status, text)
