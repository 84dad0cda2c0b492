"""The way back of a call that is measured: how long it took, and what became of it."""

from collections.abc import Callable

from streamd.calls import Answer
from streamd.errors import CallError
from streamd.meters import Meters

__all__ = ["MeasuredAnswer"]


class MeasuredAnswer:
    """Pass an answer on (see calls.Answer); measure how long the call took, and count its error."""

    __slots__ = ("_answer", "_began", "_duration", "_errors", "_now")

    def __init__(
        self, answer: Answer, method: str, meters: Meters, now: Callable[[], float]
    ) -> None:
        self._answer = answer
        self._duration = meters.calls[method]
        self._errors = meters.call_errors
        self._now = now
        self._began = now()

    def result(
        self,
        result: bytes,
        then: Callable[[], None] | None = None,
        undo: Callable[[], None] | None = None,
    ) -> None:
        """Answer with a result as JSON."""
        self._duration.observe(self._now() - self._began)
        self._answer.result(result, then, undo)

    def done(self, result: bytes) -> None:
        """Answer with what was done, as JSON."""
        self._duration.observe(self._now() - self._began)
        self._answer.done(result)

    def error(self, error: CallError) -> None:
        """Answer with an error."""
        self._duration.observe(self._now() - self._began)
        self._errors[error.code].add()
        self._answer.error(error)

    def check(self) -> None:
        """Raise LimitExceeded if there is no room for what would have to be read."""
        self._answer.check()
