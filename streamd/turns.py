"""Turns: the time of the event loop, shared out among all who have work for it.

Work is done in pieces: plain functions, each of them short. In one round of the loop there is an allowance of
time for all of them together, whoever's they are; what is left waits in a line, and meanwhile the loop goes
round: sockets, timers and the push of the tail have their time. While nobody waits and the allowance
lasts, a piece is done at once, so that a lone peer waits for nothing.

There are three lines. Those who are served already and bring little stand in the first. Whoever brings much at
once stands in another, and newcomers, who have not been answered yet, in a third: however many come and whatever
they bring, those of the first line don't stand behind them, and a part of each round is for the other two, in
turns. So who brings much does not stand behind the thousands who come at once, either: it may be a producer that
was made to wait. What takes much longer than that part and can't be stopped is paid back: they rest for some rounds.
"""

import asyncio
import enum
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import ParamSpec, TypeVar

__all__ = ["MUCH", "Line", "Turns"]

logger = logging.getLogger("streamd.turns")

_ALLOWANCE = 0.003
"""Seconds of work in one round of the loop. What is done at once counts up to the next time that somebody waits."""

_RESERVED = 1 / 3
"""The part of the allowance that the lines behind the first have for themselves, while somebody waits there."""

_SHARE = 0.001
"""Seconds that one of those in line may go on before the next has his turn."""

_REST = 8
"""Rounds of the loop that the lines behind the first let pass after a piece that took much longer than a round may.

In so many an event gets from its producer to those who wait for it: it meets one such piece, not one in each.
"""

MUCH = 32 << 10
"""Bytes of JSON that can take more than a share to read; who brings more at once stands in the line for that.

A mebibyte of empty lists takes 35 ms, and there is no stopping on the way.
"""

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

_Steps = deque[Callable[[], object]]


class Line(enum.Enum):
    """Where a piece of work waits for its turn."""

    FIRST = enum.auto()
    """That of who is served already, and brings little."""
    BULK = enum.auto()
    """That of who brings much."""
    NEWCOMERS = enum.auto()
    """That of who was not answered yet."""


class Turns:
    """Do everybody's work in turns."""

    __slots__ = ("_first", "_lines", "_now", "_others", "_rest", "_running", "_scheduled", "_used")

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        """Begin; `now` tells the time in seconds, within a round of the loop too."""
        self._now = now
        self._lines: dict[Line, _Steps] = {line: deque() for line in Line}
        self._first = self._lines[Line.FIRST]
        self._others = deque([self._lines[Line.BULK], self._lines[Line.NEWCOMERS]])
        """Those behind the first; that whose turn was last stands in front."""
        self._rest = 0
        self._used = 0.0
        self._scheduled = False
        self._running = False

    def free(self, line: Line = Line.FIRST) -> bool:
        """Tell whether a piece of work may be done at once; inside of a piece it may, as part of it.

        What belongs behind the first line waits for all who wait, any other for those in the first.
        """
        if self._running:
            return True
        return (
            not self._first
            and self._used < _ALLOWANCE
            and (line is Line.FIRST or not (self._rest or self._others_wait()))
        )

    def _others_wait(self) -> bool:
        return bool(self._others[0] or self._others[1])

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

    def add(self, step: Callable[[], object], line: Line = Line.FIRST) -> None:
        """Let `step` be called in its turn, in the line where it belongs, never from inside of this call.

        While it returns something true there is more to do: it is called again, as often as a share
        allows, and then stands in line anew.
        """
        self._lines[line].append(step)
        self._schedule()

    async def do(self, piece: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a piece of work returns, or raise what it raises, when it has had its turn."""
        if self.free():
            return self.run(piece, *args, **kwargs)
        return await self._wait(partial(piece, *args, **kwargs), Line.FIRST)

    async def read(self, reader: Callable[[bytes], T], message: bytes) -> T:
        """Do the same with a message that is to be read, in the line where its size belongs."""
        line = Line.BULK if len(message) > MUCH else Line.FIRST
        if self.free(line):
            return self.run(reader, message)
        return await self._wait(partial(reader, message), line)

    async def begin(self, seconds: float, line: Line) -> None:
        """Wait for the turn to begin what the loop then does by itself, and takes so long, roughly."""
        await self._wait(partial(self.spend, seconds), line)

    async def _wait(self, piece: Callable[[], T], line: Line) -> T:
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.add(partial(_settle, done, piece), line)
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
                self._serve_first(_ALLOWANCE)
            else:
                self._serve_all()
        finally:
            self._scheduled = False
            if self._first or self._others_wait():
                self._schedule()

    def _serve_all(self) -> None:
        reserved = _ALLOWANCE * _RESERVED if self._others_wait() else 0.0
        self._serve_first(_ALLOWANCE - reserved)
        until = max(_ALLOWANCE, self._used + reserved)
        self._serve_others(until)
        if self._used > until + _ALLOWANCE:
            self._rest = _REST

    def _serve_first(self, until: float) -> None:
        while self._first and self._used < until:
            self.run(self._give_turn, self._first)

    def _serve_others(self, until: float) -> None:
        while self._others_wait() and self._used < until:
            self._others.rotate()
            if line := self._others[0]:
                self.run(self._give_turn, line)

    def _give_turn(self, line: _Steps) -> None:
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
