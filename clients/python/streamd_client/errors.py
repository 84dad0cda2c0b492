"""
The errors of the client, one tree:

    StreamdError
    ├── RpcError(code, message, data)      the server answered with an error
    │   ├── ParseError                     −32700
    │   ├── InvalidRequest                 −32600
    │   ├── MethodNotFound                 −32601
    │   ├── InvalidParams                  −32602
    │   ├── InternalError                  −32603
    │   ├── Unauthorized                   −32001
    │   ├── Forbidden                      −32002
    │   ├── LimitExceeded                  −32004
    │   ├── RateLimited                    −32005  retried until the deadline
    │   ├── UnknownSubscription            −32006
    │   ├── PlaceLost                      −32007  entries were missed
    │   ├── UnknownOutcome                 −32010  retried until the deadline
    │   └── StoreUnavailable               −32011  retried until the deadline
    ├── CallTimeout                        no answer by the deadline; also a TimeoutError
    ├── ConnectionLost                     passing trouble; seen as the cause of a CallTimeout
    │   └── Unreachable                    no connection could be opened, nothing was sent
    ├── ProtocolError                      the server sent what the protocol does not know
    ├── RequestRefused                     the server answered a call with HTTP 4xx or the like
    └── ClientStopped                      nothing more comes from this client
        ├── ClientClosed                   close() was called
        ├── ConnectionRejected             a close code that says "do not come back"
        └── HandshakeRefused               the server answered the handshake with HTTP 4xx

Any other code is a plain RpcError. Every error can be made again from its `args`.
"""

from typing import Any, ClassVar, Self

__all__ = [
    "CallTimeout",
    "ClientClosed",
    "ClientStopped",
    "ConnectionLost",
    "ConnectionRejected",
    "Forbidden",
    "HandshakeRefused",
    "InternalError",
    "InvalidParams",
    "InvalidRequest",
    "LimitExceeded",
    "MethodNotFound",
    "ParseError",
    "PlaceLost",
    "ProtocolError",
    "RateLimited",
    "RequestRefused",
    "RpcError",
    "StoreUnavailable",
    "StreamdError",
    "Unauthorized",
    "UnknownOutcome",
    "UnknownSubscription",
    "Unreachable",
    "rpc_error",
]


class StreamdError(Exception):
    """Every error that this package raises on purpose."""

    def again(self) -> Self:
        """
        Return an equal error with a traceback of its own, for one more waiter.
        """
        copy = type(self)(*self.args)
        copy.__cause__ = self.__cause__
        return copy


# The server answered with an error.


class RpcError(StreamdError):
    """
    The server answered a call with an error.

    Attributes:
        code: The JSON-RPC error code.
        message: The server's sentence.
        data: What a program needs to know, by code; often an object, else None.
    """

    retryable: ClassVar[bool] = False
    """Whether the client repeats the call by itself until its deadline."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(code, message, data)
        self.code = code
        self.message = message
        self.data = data

    def __str__(self) -> str:
        details = "" if self.data is None else f" {self.data}"
        return f"{self.message} ({self.code}){details}"

    @property
    def retry_after(self) -> float | None:
        """Seconds the server asks to wait before the call is repeated."""
        milliseconds = self._detail("retry_after_ms")
        return max(0.0, milliseconds / 1000) if isinstance(milliseconds, (int, float)) else None

    def _detail(self, name: str) -> Any:
        return self.data.get(name) if isinstance(self.data, dict) else None


class ParseError(RpcError):
    """What was sent is not JSON."""


class InvalidRequest(RpcError):
    """What was sent is JSON and not a call."""


class MethodNotFound(RpcError):
    """The server has no such method on this transport."""


class InvalidParams(RpcError):
    """An argument is missing, unknown or of a kind the method does not take."""


class InternalError(RpcError):
    """The server failed."""


class Unauthorized(RpcError):
    """The call needs a token, or the token is not valid."""


class Forbidden(RpcError):
    """The token does not allow this."""


class LimitExceeded(RpcError):
    """
    A limit of the server was passed; its name, its maximum and what was given are attributes.
    """

    @property
    def limit(self) -> str | None:
        """The limit's name, as in `Info.limits`."""
        name = self._detail("limit")
        return None if name is None else str(name)

    @property
    def max(self) -> int | None:
        """The most that is allowed."""
        value = self._detail("max")
        return None if value is None else int(value)

    @property
    def got(self) -> int | None:
        """What was given."""
        value = self._detail("got")
        return None if value is None else int(value)


class RateLimited(RpcError):
    """Too much was asked for in too short a time."""

    retryable = True


class UnknownSubscription(RpcError):
    """This connection has no subscription of that number."""


class PlaceLost(RpcError):
    """
    A feed's place in the log is gone: entries may have been missed.

    Iterating again goes on with the newest entries (`backfill` of them) and everything after.

    Attributes:
        cursor: The place that was lost; None when nothing had been received.
    """

    def __init__(
        self, code: int, message: str, data: Any = None, cursor: str | None = None
    ) -> None:
        super().__init__(code, message, data)
        self.args = (code, message, data, cursor)
        self.cursor = cursor

    @property
    def reason(self) -> str | None:
        """`expired`: the entries are no longer retained; `epoch`: the log was replaced."""
        reason = self._detail("reason")
        return None if reason is None else str(reason)


class UnknownOutcome(RpcError):
    """It is not known whether the events were stored; repeating with the same id is safe."""

    retryable = True


class StoreUnavailable(RpcError):
    """The server cannot reach its store."""

    retryable = True


BY_CODE: dict[int, type[RpcError]] = {
    -32700: ParseError,
    -32600: InvalidRequest,
    -32601: MethodNotFound,
    -32602: InvalidParams,
    -32603: InternalError,
    -32001: Unauthorized,
    -32002: Forbidden,
    -32004: LimitExceeded,
    -32005: RateLimited,
    -32006: UnknownSubscription,
    -32007: PlaceLost,
    -32010: UnknownOutcome,
    -32011: StoreUnavailable,
}


def rpc_error(code: int, message: str, data: Any = None) -> RpcError:
    """
    Return the error that belongs to `code`; a plain `RpcError` when the code is not known.
    """
    return BY_CODE.get(code, RpcError)(code, message, data)


# The server did not answer.


class CallTimeout(StreamdError, TimeoutError):
    """
    No answer came by the call's deadline; the outcome of an insert is unknown then.

    Only where the cause is `Unreachable` it is known: no attempt was sent, nothing was stored.

    Attributes:
        method: The method that was called.
        timeout: The seconds it had.
    """

    def __init__(self, method: str, timeout: float) -> None:
        super().__init__(method, timeout)
        self.method = method
        self.timeout = timeout

    def __str__(self) -> str:
        trouble = "" if self.__cause__ is None else f": {self.__cause__}"
        return f"{self.method} was not answered within {self.timeout:g} s{trouble}"


class ConnectionLost(StreamdError):
    """
    The connection ended or could not be opened; the client comes back by itself.

    Attributes:
        reason: What happened, as a sentence.
        code: The close code, None when no connection was open.
        retry_after: Seconds the server asks to wait, None if it does not.
    """

    def __init__(
        self, reason: str, code: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(reason, code, retry_after)
        self.reason = reason
        self.code = code
        self.retry_after = retry_after

    def __str__(self) -> str:
        code = "" if self.code is None else f" (close code {self.code})"
        return f"the connection was lost{code}: {self.reason}"


class Unreachable(ConnectionLost):
    """No connection could be opened: nothing was sent."""

    def __str__(self) -> str:
        return f"the server could not be reached: {self.reason}"


class ProtocolError(StreamdError):
    """
    The server sent what the protocol does not know; a frame of that kind stops the client.
    """


class RequestRefused(StreamdError):
    """
    The server, or a proxy before it, answered with an HTTP status that a retry would not change.

    Attributes:
        status: The HTTP status.
        body: What was said, at most 200 characters.
    """

    _what: ClassVar[str] = "call"

    def __init__(self, status: int, body: str = "") -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body

    def __str__(self) -> str:
        body = f": {self.body}" if self.body else ""
        return f"the server refused the {self._what} with HTTP {self.status}{body}"


# Nothing more will come.


class ClientStopped(StreamdError):
    """The client has ended for good; the subclass says why."""


class ClientClosed(ClientStopped):
    """The client was closed by its owner."""

    def __str__(self) -> str:
        return "the client is closed"


class HandshakeRefused(ClientStopped, RequestRefused):
    """
    The server refused the WebSocket handshake with an HTTP status of 400–499.
    """

    _what = "connection"


class ConnectionRejected(ClientStopped):
    """
    The connection was closed with a code that says "do not come back".

    Attributes:
        code: The close code.
        reason: The reason in the close frame, may be empty.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        reason = f": {self.reason}" if self.reason else ""
        return f"the connection was closed for good with code {self.code}{reason}"
