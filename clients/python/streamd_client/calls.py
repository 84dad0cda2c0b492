"""The calls that have no answer yet."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeAlias

from streamd_client.errors import StreamdError
from streamd_client.protocol import Answer, CallId, encode_call

__all__ = ["Answered", "Calls"]

Answered: TypeAlias = Callable[[Answer | StreamdError, int], None]
"""Takes the outcome of a call, and the size in bytes of the frame it came in."""


@dataclass(slots=True)
class _Call:
    frame: bytes
    answered: Answered
    lasting: bool


class Calls:
    """
    A table of calls by their ids, which rise and are never used again.

    Args:
        message_bytes: The longest frame to send; None for any.
    """

    def __init__(self, message_bytes: int | None) -> None:
        self._message_bytes = message_bytes
        self._ids = count(1)
        self._calls: dict[int, _Call] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def add(
        self, method: str, params: dict[str, Any], answered: Answered, *, lasting: bool
    ) -> tuple[int, bytes]:
        """
        Enter a call and return its id and its frame. A lasting one outlives the connection.

        Raises:
            LimitExceeded: The frame is longer than the server would take.
        """
        id = next(self._ids)
        frame = encode_call(id, method, params, self._message_bytes)
        self._calls[id] = _Call(frame, answered, lasting)
        return id, frame

    def settle(self, id: CallId, outcome: Answer | StreamdError, size: int) -> None:
        """
        Tell the caller the outcome; ignored when the call was given up in the meantime.
        """
        if isinstance(id, int) and (call := self._calls.pop(id, None)) is not None:
            call.answered(outcome, size)

    def forget(self, id: int) -> None:
        """
        Drop a call whose caller waits no more. Idempotent.
        """
        self._calls.pop(id, None)

    def forget_passing(self) -> None:
        """
        Drop all that are not lasting: their connection is gone.
        """
        self._calls = {id: call for id, call in self._calls.items() if call.lasting}

    def fail(self, error: StreamdError) -> None:
        """
        Drop all, and tell each caller an error of his own.
        """
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.answered(error.again(), 0)

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """
        Return the ids and frames of all, in the order they were entered.
        """
        return ((id, call.frame) for id, call in self._calls.items())
