"""What is counted: a worker's numbers, their names, and what they mean.

The parts of streamd count here and know nothing of who reads it.
"""

from collections.abc import Iterable
from typing import Literal, get_args

from streamd.cells import Cells, Layout, private_cells
from streamd.closing import Closing
from streamd.errors import CallError

__all__ = ["Meters", "Reason"]

_CLOSE_CODES = sorted({1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009, 1011, *map(int, Closing)})
"""Those that are counted apart: the registered ones that come to pass, and all of ours."""

Reason = Literal[
    "connections", "address_connections", "connects_per_second", "draining",
    "host", "origin", "token", "refusals", "path", "handshake",
    "tls", "header_bytes", "header_deadline", "message_bytes", "http",
]  # fmt: skip
"""Why a connection or a request is refused before anything is called: limits by their names, and rules."""

_OPERATIONS = ("append", "state", "newest", "after")


class Meters(Layout):
    """Count what one worker does."""

    def __init__(self, cells: Cells | None = None, methods: Iterable[str] = ()) -> None:
        """Count in these cells, from where their counters stand, the calls of these methods apart."""
        super().__init__(private_cells() if cells is None else cells)
        self._count_peers()
        self._count_calls(methods)
        self._count_entries()
        self._count_store()
        self._count_worker()

    def _count_peers(self) -> None:
        self.connections = self._gauge("connections", "WebSockets that are open.")
        self.seats = self._gauge(
            "seats", "Connections of any kind that are let in: what the limit `connections` is for."
        )
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
        self.slow_readers = self._gauge(
            "slow_readers",
            "Connections that have not taken what they were sent for a second or longer.",
        )
        self.received_bytes = self._counter("received_bytes", "Bytes that came from peers.")
        self.sent_bytes = self._counter(
            "sent_bytes", "Bytes of messages on WebSockets and of answers over HTTP, as written."
        )

    def _count_calls(self, methods: Iterable[str]) -> None:
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

    def _count_entries(self) -> None:
        self.inserted = self._counter("inserted_entries", "Entries stored by this server's peers.")
        self.matched = self._counter(
            "matched_entries", "Entries for live subscriptions: one for each that wants it."
        )
        self.delivered = self._counter(
            "delivered_entries", "Entries written to subscriptions, live or while they catch up."
        )
        self.subscriptions = self._gauge("subscriptions", "Subscriptions that there are.")
        self.postings = self._gauge(
            "postings", "Filter values by which entries find subscriptions."
        )
        self.delivery = self._histogram(
            "insert_to_socket_seconds",
            "Time from the storing of an entry until it was written to the last who waited for it.",
        )

    def _count_store(self) -> None:
        self.store = self._histograms(
            "store_duration_seconds", "Time that the store took.", "operation", _OPERATIONS
        )
        self.store_errors = self._counters(
            "store_errors", "Failures of the store.", "operation", (*_OPERATIONS, "tail")
        )
        self.reconnects = self._counter(
            "store_reconnects", "Times that the tail has found the store again."
        )
        self.tail_lag_entries = self._gauge(
            "tail_lag_entries",
            "Entries that the store has and the tail of a worker had not brought.",
            "highest",
        )
        self.tail_lag = self._gauge(
            "tail_lag_seconds",
            "Time since the tail of a worker was known to be where the store is.",
            "highest",
        )
        self.gap_repairs = self._counter(
            "gap_repairs", "Times that the tail read entries which were not pushed to it."
        )
        self.epoch_changes = self._counter(
            "epoch_changes", "Times that the log went on under another epoch."
        )

    def _count_worker(self) -> None:
        self.loop_lag = self._histogram(
            "loop_lag_seconds", "Time that the event loop came late to a timer, by samples."
        )
        self.ready = self._gauge("ready_workers", "Workers that serve: store and tail are well.")
        self.workers = self._gauge("workers", "Worker processes.")
        self.workers.set(1)
        self._counter(
            "worker_starts", "Worker processes that were started, again and again if they die."
        ).add()
        self.processor = self._counter(
            "cpu_seconds", "Time of processors that the worker processes have used."
        )
        self.memory = self._gauge(
            "resident_memory_bytes",
            "Memory of the worker processes; what they share counts for each.",
        )
        self.certificate_expiry = self._gauge(
            "certificate_expiry_timestamp_seconds",
            "When the certificate in use ends, as Unix time; of servers that speak TLS.",
            "lowest",
        )


def _error_codes() -> tuple[int, ...]:
    return tuple(sorted({kind.code for kind in CallError.__subclasses__()}, reverse=True))
