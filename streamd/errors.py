"""The errors of streamd and their codes on the wire.

    StreamdError
    ├── StartupError              a sentence for whoever started the server
    │   └── BadSettings           several of them
    ├── UpkeepError               a sentence for whoever moves a log or checks it
    └── CallError                 the answer to one call: a code, a sentence, data for programs
        ├── ParseError            -32700  the message is not JSON
        ├── InvalidRequest        -32600  JSON, but no JSON-RPC 2.0 call
        ├── MethodNotFound        -32601
        ├── InvalidParams         -32602
        ├── InternalError         -32603  a defect of ours; the log has it, the peer does not
        ├── Unauthorized          -32001  no token, or none that is valid
        ├── Forbidden             -32002  the token does not allow it
        ├── LimitExceeded         -32004
        ├── RateLimited           -32005
        ├── UnknownSubscription   -32006
        ├── PlaceLost             -32007  a cursor that can't be kept
        ├── UnknownOutcome        -32010  an insert that may or may not have happened
        └── StoreUnavailable      -32011

The codes -32700 … -32603 are those of JSON-RPC 2.0, section 5.1; the others lie in its range for servers.
"""

from typing import Any, ClassVar, Literal

__all__ = [
    "BadSettings",
    "CallError",
    "Forbidden",
    "InternalError",
    "InvalidParams",
    "InvalidRequest",
    "LimitExceeded",
    "MethodNotFound",
    "ParseError",
    "PlaceLost",
    "RateLimited",
    "StartupError",
    "StoreUnavailable",
    "StreamdError",
    "Unauthorized",
    "UnknownOutcome",
    "UnknownSubscription",
    "UpkeepError",
]


class StreamdError(Exception):
    """The root of all errors that streamd raises on purpose."""


class StartupError(StreamdError):
    """What keeps the server from starting, as one sentence that says what to do."""


class BadSettings(StartupError):
    """What is wrong with the settings."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults
        """A sentence for each."""


class UpkeepError(StreamdError):
    """What ends an export, an import or a check, as one sentence that says what to do."""


class CallError(StreamdError):
    """The failure of one call, as JSON-RPC shows it to the peer."""

    code: ClassVar[int]
    message: str
    data: dict[str, Any] | None

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data = data or None

    def to_json(self) -> dict[str, Any]:
        """Return the `error` member of a JSON-RPC 2.0 response (section 5.1)."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return error


class ParseError(CallError):
    """The message is not JSON."""

    code = -32700


class InvalidRequest(CallError):
    """The message is JSON, but not a JSON-RPC 2.0 call."""

    code = -32600


class MethodNotFound(CallError):
    """There is no such method here."""

    code = -32601


class InvalidParams(CallError):
    """A parameter is missing, surplus or not what it must be."""

    code = -32602


class InternalError(CallError):
    """Something failed that should not have: its cause is in the log, not in the answer."""

    code = -32603

    def __init__(self) -> None:
        super().__init__("internal error")


class Unauthorized(CallError):
    """There is no token, or it is refused; `data.reason` is `expired` where a new one would do."""

    code = -32001

    def __init__(self, message: str, *, why: str | None = None, **data: Any) -> None:
        super().__init__(message, **data)
        self.why = message if why is None else why
        """The same for the log: nothing that the token says is in it."""


class Forbidden(CallError):
    """The caller's grants do not allow it."""

    code = -32002


class LimitExceeded(CallError):
    """A documented limit is exceeded; `data` names it, its value and what was given."""

    code = -32004

    def __init__(self, limit: str, maximum: int, got: int) -> None:
        super().__init__(
            f"{limit} is limited to {maximum}, got {got}", limit=limit, max=maximum, got=got
        )


class RateLimited(CallError):
    """Calls or events come faster than a documented limit allows; nothing was done."""

    code = -32005

    def __init__(self, limit: str, maximum: float, retry_after_ms: int) -> None:
        super().__init__(
            f"{limit} is limited to {maximum:g}; come again in {retry_after_ms} ms",
            limit=limit,
            max=maximum,
            retry_after_ms=retry_after_ms,
        )


class UnknownSubscription(CallError):
    """The connection has no subscription of this number."""

    code = -32006


class PlaceLost(CallError):
    """A place in the log can't be kept: retention passed it, or its part of the log is gone."""

    code = -32007

    def __init__(self, reason: Literal["expired", "epoch"]) -> None:
        sentence = {
            "expired": "the entries after this cursor are no longer retained",
            "epoch": "this cursor belongs to a part of the log that was lost",
        }[reason]
        super().__init__(sentence, reason=reason)
        self.reason = reason


class UnknownOutcome(CallError):
    """The store took the insert and did not answer: repeat it with the same id."""

    code = -32010

    def __init__(self) -> None:
        super().__init__(
            "the outcome of the insert is unknown; repeat it with the same id to be sure"
        )


class StoreUnavailable(CallError):
    """The store can't be reached, or refuses; nothing was stored."""

    code = -32011

    def __init__(
        self, message: str = "the store is not available", *, retry_after_ms: int = 1000
    ) -> None:
        super().__init__(message, retry_after_ms=retry_after_ms)
