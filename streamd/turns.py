"""Turns: the time of the event loop, shared out among all who have work for it.

Work is done in pieces: plain functions, each of them short. In one round of the loop there is an allowance of
time for all of them together, whoever's they are; what is left waits in a line, and meanwhile the loop goes
round: sockets, timers and the push of the tail have their time. While nobody waits and the allowance
lasts, a piece is done at once, so that a lone peer waits for nothing.

There are two lines. In the second stand newcomers, who have not been answered yet, and those who bring
much at once: however many come and whatever they bring, those who are served already and bring little
don't stand behind them, and a part of each round is the second line's own. What takes much longer than
that and can't be stopped is paid back: the second line then rests for some rounds.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import ParamSpec, TypeVar

__all__ = ["MUCH", "Turns"]

logger = logging.getLogger("streamd.turns")

_ALLOWANCE = 0.003
"""Seconds of work in one round of the loop. What is done at once counts up to the next time that somebody waits."""

_SECOND = 1 / 3
"""The part of the allowance that the second line has for itself, while somebody waits there."""

_SHARE = 0.001
"""Seconds that one of those in line may go on before the next has his turn."""

_REST = 8
"""Rounds of the loop that the second line lets pass after a piece that took much longer than a round may.

In so many an event gets from its producer to those who wait for it: it meets one such piece, not one in each.
"""

MUCH = 32 << 10
"""Bytes of JSON that can take more than a share to read; who brings more at once stands in the second line.

A mebibyte of empty lists takes 35 ms, and there is no stopping on the way.
"""

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

_Line = deque[Callable[[], object]]


class Turns:
    """Do everybody's work in turns."""

    __slots__ = ("_line", "_now", "_rest", "_running", "_scheduled", "_second", "_used")

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        """Begin; `now` tells the time in seconds, within a round of the loop too."""
        self._now = now
        self._line: _Line = deque()
        self._second: _Line = deque()
        self._rest = 0
        self._used = 0.0
        self._scheduled = False
        self._running = False

    def free(self, *, second: bool = False) -> bool:
        """Tell whether a piece of work may be done at once; inside of a piece it may, as part of it.

        What belongs in the second line waits for all who wait, any other for those in the first.
        """
        if self._running:
            return True
        return (
            not self._line
            and self._used < _ALLOWANCE
            and not (second and (self._second or self._rest))
        )

    def run(self, piece: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do a piece of work at once, and count its time; for those who have asked whether it is `free`."""
        if self._running:
            return piece(*args, **kwargs)
        self._running = True
        began = self._now()
        try:
            return piece(*args, **kwargs)
        finally:
            self._used += self._now() - began
            self._running = False

    def spend(self, seconds: float) -> None:
        """Count work that was begun here and that the loop does soon: the first step of a task."""
        self._used += seconds

    def add(self, step: Callable[[], object], *, second: bool = False) -> None:
        """Let `step` be called in its turn, in the first line or the second, never from inside of this call.

        While it returns something true there is more to do: it is called again, as often as a share
        allows, and then stands in line anew.
        """
        (self._second if second else self._line).append(step)
        self._schedule()

    async def do(self, piece: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a piece of work returns, or raise what it raises, when it has had its turn."""
        if self.free():
            return self.run(piece, *args, **kwargs)
        return await self._wait(partial(piece, *args, **kwargs), second=False)

    async def read(self, reader: Callable[[bytes], T], message: bytes) -> T:
        """Do the same with a message that is to be read, in the line where its size belongs."""
        second = len(message) > MUCH
        if self.free(second=second):
            return self.run(reader, message)
        return await self._wait(partial(reader, message), second=second)

    async def _wait(self, piece: Callable[[], T], *, second: bool) -> T:
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.add(partial(_settle, done, piece), second=second)
        return await done

    async def each(self, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Return what a function returns for each of some items, as many in one turn as a share allows."""
        results: list[R] = []
        rest = iter(items)

        def some() -> bool:
            until = self._now() + _SHARE
            for item in rest:
                results.append(work(item))
                if self._now() >= until:
                    return True
            return False

        while await self.do(some):
            pass
        return results

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._work_off)

    def _work_off(self) -> None:
        """Serve those in line, as many as one round of the loop allows."""
        self._used = 0.0
        try:
            if self._rest:
                self._rest -= 1
                self._serve(self._line, _ALLOWANCE)
            else:
                self._serve_both()
        finally:
            self._scheduled = False
            if self._line or self._second:
                self._schedule()

    def _serve_both(self) -> None:
        reserved = _ALLOWANCE * _SECOND if self._second else 0.0
        self._serve(self._line, _ALLOWANCE - reserved)
        until = max(_ALLOWANCE, self._used + reserved)
        self._serve(self._second, until)
        if self._used > until + _ALLOWANCE:
            self._rest = _REST

    def _serve(self, line: _Line, until: float) -> None:
        while line and self._used < until:
            self.run(self._give_turn, line)

    def _give_turn(self, line: _Line) -> None:
        step = line.popleft()
        until = self._now() + _SHARE
        try:
            while step():
                if self._now() >= until:
                    line.append(step)
                    return
        except Exception:
            # A defect; it must not keep the others from their turns.
            logger.exception("a piece of work failed")


def _settle(done: "asyncio.Future[T]", piece: Callable[[], T]) -> None:
    if done.done():
        return  # Who wanted it has given up.
    try:
        done.set_result(piece())
    except Exception as exc:  # noqa: BLE001 - it belongs to those who asked
        done.set_exception(exc)
        done.exception()  # They may give up before they hear of it.
