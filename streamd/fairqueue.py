"""Fair queueing: who asks for little does not wait behind those who ask for much, however many they are.

Each source of work has a line of its own, and what is first in a line has a stamp: when it would be done if
all lines were served side by side, at one speed. The lowest stamp goes first. That is fair queueing (Demers,
Keshav and Shenker, SIGCOMM 1989), with a clock that goes on by what was done, shared among all lines. A large
item among very many sources may so have to wait for very long: who serves them is to do the oldest from time
to time.
"""

import heapq
from collections import OrderedDict, deque
from itertools import chain
from operator import itemgetter
from typing import Generic, TypeVar

__all__ = ["FairQueue"]

_SPARE = 100
"""Stamps that count no more and are kept, beside as many as there are lines: most go by themselves."""

T = TypeVar("T")


_Item = tuple[int, int, T]
"""Its number, its size, and itself."""

_Stamp = tuple[float, int, object]
"""When it would be done, a number (of two at one time the one goes first that was stamped first), and whose it is."""


class FairQueue(Generic[T]):
    """Keep items in the lines of their sources, and tell which is next."""

    def __init__(self) -> None:
        self._lines: dict[object, deque[_Item[T]]] = {}
        self._ages: OrderedDict[int, object] = OrderedDict()
        """The source of each item by its number; the oldest first."""
        self._stamps: list[_Stamp] = []
        """A heap: one for each line, and some that count no more."""
        self._current: dict[object, _Stamp] = {}
        """The stamp that counts, for each line."""
        self._clock = 0.0
        self._last = 0
        """The last number."""

    def __len__(self) -> int:
        return len(self._ages)

    def push(self, source: object, value: T, size: int) -> None:
        """Put an item, which costs so much (above 0), at the end of the line of its source."""
        self._last = number = self._last + 1
        self._ages[number] = source
        line = self._lines.get(source)
        if line is None:
            self._lines[source] = deque(((number, size, value),))
            self._stamp(source, self._clock + size)
        else:
            line.append((number, size, value))

    def next(self) -> T:
        """Return what goes next; there must be something."""
        while self._current.get((stamp := self._stamps[0])[2]) is not stamp:
            heapq.heappop(self._stamps)
        return self._lines[stamp[2]][0][2]

    def oldest(self) -> T:
        """Return what has waited longest; there must be something."""
        return self._lines[next(iter(self._ages.values()))][0][2]

    def take(self, source: object) -> tuple[int, T]:
        """Take the first of a line out, to be done, with a number; raise KeyError if there is none.

        Of two items the one that came first has the lower number.
        """
        begun, num_lines = self._current[source][0], len(self._lines)
        line = self._lines[source]
        number, size, value = self._shift(source, line)
        self._clock += size / num_lines
        if line:
            self._stamp(source, max(begun, self._clock) + line[0][1])
        return number, value

    def take_all(self) -> list[T]:
        """Take everything out, as it came."""
        items = sorted(chain.from_iterable(self._lines.values()), key=itemgetter(0))
        for each in (self._lines, self._ages, self._stamps, self._current):
            each.clear()
        return [item[2] for item in items]

    def drop(self, source: object) -> T:
        """Take the first of a line out, which is not done: what is behind it comes in its place."""
        return self._shift(source, self._lines[source])[2]

    def _shift(self, source: object, line: deque[_Item[T]]) -> _Item[T]:
        item = line.popleft()
        del self._ages[item[0]]
        if not line:
            del self._lines[source], self._current[source]
        return item

    def _stamp(self, source: object, at: float) -> None:
        self._last = number = self._last + 1
        stamp = self._current[source] = at, number, source
        heapq.heappush(self._stamps, stamp)
        if len(self._stamps) > 2 * len(self._lines) + _SPARE:
            self._stamps = list(self._current.values())
            heapq.heapify(self._stamps)
