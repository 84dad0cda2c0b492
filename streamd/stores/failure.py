"""What an attempt at a store came to, where it came to nothing; and attempts made again."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import TypeVar

from streamd.errors import StoreUnavailable, UnknownOutcome

__all__ = ["Failure", "open_in_time", "persist"]

T = TypeVar("T")

_TRY_AGAIN = 0.1
"""Seconds between two attempts to open."""


class Failure(Exception):
    """One attempt failed; `code` is the word of the driver or server for the reason, or one of ours."""

    def __init__(
        self, code: str, sentence: str, *, repeat: bool, executed: bool = False, found: str = ""
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        """What is the matter, for people."""
        self.repeat = repeat
        """Whether it may pass by itself within seconds."""
        self.executed = executed
        """Whether what was to be done may have been."""
        self.found = found
        """What is there instead: the keys of the stream, the version of its form."""


def _pauses(random: Random) -> Iterator[float]:
    yield 0  # A log that changed hands, a connection that had died of old age: at once again.
    longest = 0.02
    while True:
        yield random.uniform(0.005, longest)
        longest = min(longest * 2, 1)


async def persist(
    attempt: Callable[[float], Awaitable[T]],
    take_over: Callable[[float], Awaitable[object]],
    *,
    deadline: float,
    random: Random,
    writes: bool = True,
) -> T:
    """Make attempts until one succeeds; each is told how many seconds it has.

    Whenever one finds that the log belongs to another server, `take_over` comes first. After
    `deadline` seconds raise UnknownOutcome if one that `writes` may have been done, else StoreUnavailable.
    """
    clock = asyncio.get_running_loop().time
    end = clock() + deadline
    # The first attempt leaves time for a second one, by a new connection.
    patience = deadline / 2
    executed = False
    error: Failure | None = None
    for pause in _pauses(random):
        try:
            return await attempt(patience)
        except Failure as failure:
            executed = executed or failure.executed
            error = _telling(error, failure)
        try:
            if error.code == "OWNER":
                await take_over(max(end - clock(), 0))
        except Failure as failure:
            error = failure
        patience = end - clock() - pause
        if not error.repeat or patience <= 0:
            if writes and executed:
                raise UnknownOutcome from error
            raise StoreUnavailable(f"the store is not available: {error.sentence}") from error
        await asyncio.sleep(pause)
    raise AssertionError("pauses never end")


async def open_in_time(attempt: Callable[[float], Awaitable[T]], deadline: float) -> T:
    """Make attempts to open what may be just starting, for so many seconds; raise the Failure that says most.

    Each is told when the time will be over, by the loop's clock.
    """
    clock = asyncio.get_running_loop().time
    end = clock() + deadline
    error: Failure | None = None
    while True:
        try:
            return await attempt(end)
        except Failure as failure:
            error = _telling(error, failure)
            over = not failure.repeat or end - clock() < 2 * _TRY_AGAIN
        if over:
            raise error
        await asyncio.sleep(_TRY_AGAIN)


def _telling(before: Failure | None, failure: Failure) -> Failure:
    """Return which to tell of: an attempt that the deadline cut short knows less than the one before."""
    return before if before is not None and failure.code == "SILENT" else failure
