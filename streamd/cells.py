"""Numbers in the cells of a row: counters, gauges, histograms, and what the cells are.

To count costs a tenth of a microsecond or two, so it is done once for a call or a batch, and never for
each of its deliveries.
"""

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeVar

__all__ = [
    "CELLS",
    "OTHER",
    "Cells",
    "Counter",
    "Family",
    "Gauge",
    "Histogram",
    "Labelled",
    "Layout",
    "private_cells",
]

if TYPE_CHECKING:
    Cells = memoryview[float]
else:
    Cells = memoryview

CELLS = 1024
"""Numbers in a row: more than there are cells."""

OTHER = "other"
"""The label of what has none of its own, so that no peer can make up one."""

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""The bounds of what is measured in seconds: from what goes well to the deadlines."""

_Over = Literal["total", "highest", "lowest"]
"""What gauges come to over several workers; the lowest is of those who have set theirs, to something but 0."""

K = TypeVar("K", bound=Hashable)
M = TypeVar("M")


class Family(NamedTuple):
    """All cells of one name."""

    name: str
    """With its unit, without prefix and suffix."""
    kind: Literal["counter", "histogram"] | _Over
    help: str
    at: int
    """The first of its cells."""
    label: str = ""
    """The name of its label, if it has one."""
    values: tuple[str, ...] = ()
    """The values of its label, in the order of the cells."""
    bounds: tuple[float, ...] = ()
    """The upper bounds of a histogram: for each a cell, one for what is above, and one for the sum."""

    @property
    def width(self) -> int:
        """The number of cells that each value of the label has."""
        return len(self.bounds) + 2 if self.bounds else 1

    @property
    def is_gauge(self) -> bool:
        """Whether it tells of now, and not of all that was."""
        return self.kind not in ("counter", "histogram")


class Counter:
    """A number that only grows."""

    __slots__ = ("_at", "_cells")

    def __init__(self, cells: Cells, at: int) -> None:
        self._cells = cells
        self._at = at

    @property
    def at(self) -> int:
        """Which cell of the row it is."""
        return self._at

    def add(self, number: float = 1) -> None:
        """Count so many more."""
        self._cells[self._at] += number


class Gauge(Counter):
    """A number that says how things are."""

    __slots__ = ()

    def set(self, number: float) -> None:
        """Take note of how things are now."""
        self._cells[self._at] = number


class Histogram:
    """How often something took how long."""

    __slots__ = ("_at", "_bounds", "_cells", "_sum")

    def __init__(self, cells: Cells, at: int) -> None:
        self._cells = cells
        self._at = at
        self._sum = at + len(_SECONDS) + 1

    def observe(self, seconds: float, times: int = 1) -> None:
        """Take note that something took so long, so many times."""
        cells = self._cells
        cells[self._at + bisect_left(_SECONDS, seconds)] += times
        cells[self._sum] += seconds * times


class Labelled(dict[K, M], Generic[K, M]):
    """Meters of one name by the value of their label; what has none of its own has that of OTHER."""

    def __init__(self, known: Iterable[tuple[K, M]], other: M) -> None:
        super().__init__(known)
        self._other = other

    def __missing__(self, key: K) -> M:
        return self._other


class Layout:
    """Give the meters of a row their cells, one after the other."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._free = 0
        self.families: list[Family] = []
        """What the cells are."""

    def _place(self, family: Family) -> int:
        self.families.append(family)
        self._free += family.width * max(1, len(family.values))
        assert self._free <= CELLS, "a row is too short"
        if family.is_gauge:
            # What a worker before this one has left in its row is of the past.
            self._cells[family.at] = 0
        return family.at

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(self._cells, self._place(Family(name, "counter", text, self._free)))

    def _gauge(self, name: str, text: str, over: _Over = "total") -> Gauge:
        return Gauge(self._cells, self._place(Family(name, over, text, self._free)))

    def _histogram(self, name: str, text: str) -> Histogram:
        family = Family(name, "histogram", text, self._free, bounds=_SECONDS)
        return Histogram(self._cells, self._place(family))

    def _counters(
        self, name: str, text: str, label: str, keys: Iterable[K]
    ) -> Labelled[K, Counter]:
        keys = tuple(keys)
        family = Family(name, "counter", text, self._free, label, _texts(keys))
        return self._label(Counter, family, keys)

    def _histograms(
        self, name: str, text: str, label: str, keys: Iterable[K]
    ) -> Labelled[K, Histogram]:
        keys = tuple(keys)
        family = Family(name, "histogram", text, self._free, label, _texts(keys), _SECONDS)
        return self._label(Histogram, family, keys)

    def _label(
        self, make: Callable[[Cells, int], M], family: Family, keys: tuple[K, ...]
    ) -> Labelled[K, M]:
        at = self._place(family)
        made = [make(self._cells, at + number * family.width) for number in range(len(keys) + 1)]
        return Labelled(zip(keys, made, strict=False), made[-1])


def _texts(keys: tuple[Hashable, ...]) -> tuple[str, ...]:
    return (*map(str, keys), OTHER)


def private_cells() -> Cells:
    """Return a row of zeros that is this process's alone."""
    return memoryview(bytearray(8 * CELLS)).cast("d")
