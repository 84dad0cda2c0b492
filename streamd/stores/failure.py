"""What an attempt at the place of a log came to, where it came to nothing; and attempts made again."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import TypeVar

from streamd.errors import StoreUnavailable, UnknownOutcome

__all__ = ["Failure", "persist"]

T = TypeVar("T")


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
            # An attempt that the deadline cut short knows less than the one before.
            error = error if error and failure.code == "SILENT" else failure
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
