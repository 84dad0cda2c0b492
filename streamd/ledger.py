"""Where the workers' numbers are: a row for each, which outlives it, and which every worker can read.

Workers die and are started anew. A row goes on to the next worker with what was counted in it, so a
counter of all rows never goes back. Who has a row holds a lock on it, which the system takes from a process
that ends, however it ends: so everybody knows whose gauges still tell of now.
"""

import fcntl
import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from itertools import takewhile
from multiprocessing.reduction import DupFd
from typing import Any, NamedTuple, Protocol

from streamd.cells import CELLS, Cells, private_cells
from streamd.errors import StartupError

__all__ = ["Ledger", "OwnLedger", "Row", "SharedLedger"]

_ROW = 8 * CELLS
_ROWS = 1024
"""Far more than workers at a time: at a restart there are old and new ones. Rows never taken take no room."""

_TAKEN = CELLS - 1
"""The cell that tells whether a row was ever taken."""


class Row(NamedTuple):
    """The numbers of one worker, as they were at one moment."""

    cells: Sequence[float]
    alive: bool
    """Whether there is still a worker that has it."""


class Ledger(Protocol):
    """Where a worker counts, and reads what all have counted."""

    def take(self) -> Cells:
        """Return this worker's row, always the same."""

    def read(self) -> list[Row]:
        """Return all rows that were ever taken."""

    def others_have(self, at: int, most: float) -> bool:
        """Tell whether another worker that is alive has at most so much in a cell."""


class OwnLedger:
    """The one row of a server that is a single process."""

    def __init__(self) -> None:
        self._cells = private_cells()

    def take(self) -> Cells:
        """Return the row."""
        return self._cells

    def read(self) -> list[Row]:
        """Return the row."""
        return [Row(self._cells.tolist(), alive=True)]

    def others_have(self, at: int, most: float) -> bool:
        """Tell that there is no other."""
        return False


class SharedLedger:
    """The rows of several processes, in a file without a name: it is gone with the last of them.

    It is pickled into worker processes, as sockets are, while they are started.
    """

    def __init__(self, file: int | None = None) -> None:
        """Make a ledger, or open the one of a file that was inherited."""
        self._file = _new_file() if file is None else file
        self._memory = memoryview(mmap.mmap(self._file, _ROW * _ROWS))
        self._mine: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _open, (DupFd(self._file),)

    def take(self) -> Cells:
        """Return this worker's row; raise StartupError if there are more workers than rows."""
        if self._mine is None:
            self._mine = next(filter(self._lock, range(_ROWS)), None)
        if self._mine is None:
            raise StartupError(f"there are more than {_ROWS} worker processes")
        row = self._row(self._mine)
        row[_TAKEN] = 1
        return row

    def read(self) -> list[Row]:
        """Return all rows that were ever taken."""
        return [Row(row.tolist(), self._is_alive(number)) for number, row in self._taken()]

    def others_have(self, at: int, most: float) -> bool:
        """Tell whether another worker that is alive has at most so much in a cell."""
        return any(
            row[at] <= most and number != self._mine and self._is_alive(number)
            for number, row in self._taken()
        )

    def _row(self, number: int) -> Cells:
        return self._memory[number * _ROW : (number + 1) * _ROW].cast("d")

    def _taken(self) -> Iterator[tuple[int, Cells]]:
        # Each worker has taken the first that was free.
        rows = ((number, self._row(number)) for number in range(_ROWS))
        return takewhile(lambda each: each[1][_TAKEN], rows)

    def _is_alive(self, number: int) -> bool:
        if number == self._mine:
            return True
        # Two who look at a time do not take each other for its worker.
        if not self._lock(number, fcntl.LOCK_SH):
            return True
        # Who comes for a row in this very moment takes another.
        fcntl.lockf(self._file, fcntl.LOCK_UN, _ROW, number * _ROW)
        return False

    def _lock(self, number: int, how: int = fcntl.LOCK_EX) -> bool:
        try:
            fcntl.lockf(self._file, how | fcntl.LOCK_NB, _ROW, number * _ROW)
        except OSError:
            return False
        return True


def _new_file() -> int:
    """Return a file that has no name, in memory where the system can: nobody is to wait for a disk."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("streamd ledger")
    else:
        file, name = tempfile.mkstemp(prefix="streamd-")
        os.unlink(name)
    os.ftruncate(file, _ROW * _ROWS)
    return file


def _open(inherited: Any) -> SharedLedger:
    return SharedLedger(inherited.detach())
