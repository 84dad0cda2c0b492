"""What a method deals with: who calls, where the answer goes, what was given."""

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from streamd.access import Access
from streamd.errors import CallError, InvalidParams
from streamd.event import kind_of
from streamd.rates import Rates
from streamd.subscription import Peer

__all__ = ["Answer", "Caller", "Conversation", "Params", "Work", "integer"]

Params = dict[str, Any]
"""The parameters of a call by name; an optional one that was null is not in it."""

Work = Coroutine[Any, Any, None]
"""What is left of a call that has to wait."""


class Answer(Protocol):
    """Where the outcome of one call goes: one of `result`, `done` and `error` is called, once."""

    def result(
        self,
        result: bytes,
        then: Callable[[], None] | None = None,
        undo: Callable[[], None] | None = None,
    ) -> None:
        """Answer with a result as JSON; `then` is called when it is written, or else `undo`."""

    def done(self, result: bytes) -> None:
        """Answer with what was done, as JSON: that is told, however large the batch's answer is by then."""

    def error(self, error: CallError) -> None:
        """Answer with an error."""

    def check(self) -> None:
        """Raise LimitExceeded if there is no room for what would have to be read: the batch is full."""


class Caller(Protocol):
    """Who calls."""

    @property
    def peer(self) -> Peer | None:
        """What events can be pushed to; None over HTTP."""

    @property
    def access(self) -> Access:
        """What the caller may do now."""

    @property
    def rates(self) -> Rates | None:
        """What holds the caller to the rates that are set; None if none is."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait until this caller may be given one more large answer."""


class Conversation(Caller, Protocol):
    """Who calls on a connection that lasts."""

    def authenticate(self, token: str, answer: Answer) -> Work:
        """Begin to judge a token: what comes behind it waits until that is done."""


_WHOLE_FLOATS = 2.0**64


def integer(params: Params, name: str, default: int, least: int) -> int:
    """Return a parameter that is a whole number, not less than the least; raise InvalidParams.

    `20.0` is one, as in JSON Schema.
    """
    value = params.get(name, default)
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE_FLOATS:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidParams(f"{name} must be an integer, got {kind_of(value)}")
    if value < least:
        raise InvalidParams(f"{name} must be at least {least}, got {value}")
    return value
