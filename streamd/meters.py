"""What is counted: a worker's numbers, each in a cell of its row; their names, and what they mean.

The parts of streamd count here and know nothing of who reads it. To count costs a tenth of a microsecond or
two, so it is done once for a call or a batch, and never for each of its deliveries.
"""

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeVar, get_args

from streamd.errors import CallError

__all__ = [
    "CELLS",
    "OTHER",
    "Cells",
    "Counter",
    "Family",
    "Gauge",
    "Histogram",
    "Labelled",
    "Meters",
    "Reason",
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

_CLOSE_CODES = (
    1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009, 1011, 1012, 1013, 4001, 4008, 4029, 4501, 4508, 4512,
)  # fmt: skip

Reason = Literal[
    "connections", "address_connections", "connects_per_second", "draining",
    "host", "origin", "token", "refusals", "path", "handshake",
    "header_bytes", "header_deadline", "message_bytes", "http",
]  # fmt: skip
"""Why a connection or a request is refused before anything is called: limits by their names, and rules."""

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""The bounds of what is measured in seconds: from what goes well to the deadlines."""

K = TypeVar("K", bound=Hashable)
M = TypeVar("M")


class Family(NamedTuple):
    """All cells of one name."""

    name: str
    """With its unit, without prefix and suffix."""
    kind: Literal["counter", "total", "highest", "histogram"]
    """`total` and `highest` are gauges, which differ in what they come to over several workers."""
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
        return self.kind in ("total", "highest")


class Counter:
    """A number that only grows."""

    __slots__ = ("_at", "_cells")

    def __init__(self, cells: Cells, at: int) -> None:
        self._cells = cells
        self._at = at

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


class Meters:
    """Count what one worker does."""

    def __init__(self, cells: Cells | None = None, methods: Iterable[str] = ()) -> None:
        """Count in these cells, from where their counters stand, the calls of these methods apart."""
        self._cells = private_cells() if cells is None else cells
        self._free = 0
        self.families: list[Family] = []
        """What the cells are."""

        # Peers.
        self.connections = self._total("connections", "WebSockets that are open.")
        self.connects = self._counter("connects", "WebSockets that were opened.")
        self.disconnects = self._counters(
            "disconnects", "WebSockets that have ended, by their close code.", "code", _CLOSE_CODES
        )
        self.refused = self._counters(
            "refused",
            "Connections and requests that were refused before they could call anything, by reason.",
            "reason",
            get_args(Reason),
        )
        self.slow_readers = self._total(
            "slow_readers",
            "Connections that have not taken what they were sent for a second or longer.",
        )
        self.received_bytes = self._counter("received_bytes", "Bytes that came from peers.")
        self.sent_bytes = self._counter(
            "sent_bytes", "Bytes of messages on WebSockets and of answers over HTTP, as written."
        )

        # Calls.
        self.calls = self._histograms(
            "call_duration_seconds",
            "Time from the beginning of a call to its answer.",
            "method",
            methods,
        )
        self.call_errors = self._counters(
            "call_errors",
            "Calls and messages that were answered with an error.",
            "code",
            _error_codes(),
        )
        self.resumes = self._counters(
            "resumes",
            "Subscriptions that came with a place: resumed there, or told that it is expired or of a lost epoch.",
            "outcome",
            ("resumed", "expired", "epoch"),
        )

        # Entries.
        self.inserted = self._counter("inserted_entries", "Entries stored by this server's peers.")
        self.matched = self._counter(
            "matched_entries", "Entries for live subscriptions: one for each that wants it."
        )
        self.delivered = self._counter(
            "delivered_entries", "Entries written to subscriptions, live or while they catch up."
        )
        self.subscriptions = self._total("subscriptions", "Subscriptions that there are.")
        self.postings = self._total(
            "postings", "Filter values by which entries find subscriptions."
        )
        self.delivery = self._histogram(
            "insert_to_socket_seconds",
            "Time from the storing of an entry until it was written to the last who waited for it.",
        )

        # The store and the tail.
        self.store = self._histograms(
            "store_duration_seconds", "Time that the store took.", "operation", _OPERATIONS
        )
        self.store_errors = self._counters(
            "store_errors", "Failures of the store.", "operation", (*_OPERATIONS, "tail")
        )
        self.reconnects = self._counter(
            "store_reconnects", "Times that the tail has found the store again."
        )
        self.tail_lag_entries = self._highest(
            "tail_lag_entries",
            "Entries that the store has and the tail of a worker had not brought.",
        )
        self.tail_lag = self._highest(
            "tail_lag_seconds",
            "Time since the tail of a worker was known to be where the store is.",
        )
        self.gap_repairs = self._counter(
            "gap_repairs", "Times that the tail read entries which were not pushed to it."
        )
        self.epoch_changes = self._counter(
            "epoch_changes", "Times that the log went on under another epoch."
        )

        # The worker itself.
        self.loop_lag = self._histogram(
            "loop_lag_seconds", "Time that the event loop came late to a timer, by samples."
        )
        self.ready = self._total("ready_workers", "Workers that serve: store and tail are well.")
        self.workers = self._total("workers", "Worker processes.")
        self.workers.set(1)
        self._counter(
            "worker_starts", "Worker processes that were started, again and again if they die."
        ).add()
        self.processor = self._counter(
            "cpu_seconds", "Time of processors that the worker processes have used."
        )
        self.memory = self._total(
            "resident_memory_bytes",
            "Memory of the worker processes; what they share counts for each.",
        )

    # How they are laid out.

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

    def _total(self, name: str, text: str) -> Gauge:
        return Gauge(self._cells, self._place(Family(name, "total", text, self._free)))

    def _highest(self, name: str, text: str) -> Gauge:
        return Gauge(self._cells, self._place(Family(name, "highest", text, self._free)))

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


_OPERATIONS = ("append", "state", "newest", "after")


def _texts(keys: tuple[Hashable, ...]) -> tuple[str, ...]:
    return (*map(str, keys), OTHER)


def _error_codes() -> tuple[int, ...]:
    return tuple(sorted({kind.code for kind in CallError.__subclasses__()}, reverse=True))


def private_cells() -> Cells:
    """Return a row of zeros that is this process's alone."""
    return memoryview(bytearray(8 * CELLS)).cast("d")
