"""The attempts of one call: when to make the next, and what to say when there is none. No I/O."""

from collections.abc import Callable

from streamd_client.backoff import call_jitter, retry_delay
from streamd_client.errors import (
    CallTimeout,
    ConnectionLost,
    RpcError,
    StreamdError,
    UnknownOutcome,
    Unreachable,
)

__all__ = ["Attempts"]


class Attempts:
    """
    The attempts of one call, from now to its deadline.

    What the caller sees at the end never says less than is known: `StoreUnavailable` and
    `RateLimited` mean that nothing was stored, so they are raised only where no other attempt
    may have reached the server.

    Args:
        method: The method that is called.
        timeout: The seconds that all attempts have together.
        clock: A monotonic clock in seconds.
        backoff: Maps the number of the failed attempt (0, 1, 2 …) to the seconds before the next.
    """

    def __init__(
        self,
        method: str,
        timeout: float,
        *,
        clock: Callable[[], float],
        backoff: Callable[[int], float] = call_jitter,
    ) -> None:
        self._method = method
        self._timeout = timeout
        self._clock = clock
        self._backoff = backoff
        self._failed = 0
        self._answer: RpcError | None = None
        self._trouble: ConnectionLost | None = None
        self._arrived = False
        self.deadline = clock() + timeout
        """When the caller's time is over, on the clock."""

    @property
    def left(self) -> float:
        """The seconds until the deadline."""
        return self.deadline - self._clock()

    def lost(self, trouble: ConnectionLost | None) -> None:
        """
        Note an attempt without an answer, and why if that is known.
        """
        if not self._arrived:  # what leaves the outcome open is not forgotten for what does not
            self._trouble = trouble
            self._arrived = not isinstance(trouble, Unreachable)

    def pause(self, failure: RpcError | ConnectionLost) -> float:
        """
        Note how an attempt failed and return the seconds to wait before the next.

        Raises:
            StreamdError: There is no next one; the error is for the caller.
        """
        if isinstance(failure, ConnectionLost):
            self.lost(failure)
        elif not failure.retryable:
            raise failure
        elif not isinstance(self._answer, UnknownOutcome):
            self._answer = failure
        delay = retry_delay(self._failed, failure.retry_after, self._backoff)
        self._failed += 1
        if delay >= self.left:
            raise self.verdict()
        return delay

    def verdict(self) -> StreamdError:
        """
        Return what the caller is to see now that the time is over.
        """
        answer = self._answer
        if answer is not None and (isinstance(answer, UnknownOutcome) or not self._arrived):
            return answer
        error = CallTimeout(self._method, self._timeout)
        error.__cause__ = self._trouble or answer
        return error
