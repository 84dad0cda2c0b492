"""The progress of an insert, on the standard error: a bar on a terminal, else only what went wrong."""

import os
import stat
import sys
from types import TracebackType
from typing import Self

from rich import progress as bars
from rich.console import Console

from streamd.commands.loading import Tally
from streamd.commands.shell import say
from streamd.commands.text import printable

__all__ = ["Progress"]


class Progress:
    """Show how far the input has been read: in per cent where it is a file, whose size is known."""

    def __init__(self, fd: int) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._shown = self._console.is_terminal and sys.stderr.isatty()
        self._bar = bars.Progress(
            bars.BarColumn(),
            bars.DownloadColumn(),
            bars.TextColumn("{task.fields[tally]}"),
            console=self._console,
            transient=True,
            disable=not self._shown,
        )
        self._task = self._bar.add_task("", total=_size(fd), tally="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def advance(self, size: int, tally: Tally) -> None:
        """Note that so many bytes more were read, and what has become of them."""
        if not self._shown:
            return
        elapsed = self._bar.tasks[0].elapsed or 0.001
        text = f"{tally.inserted:,} events  {tally.inserted / elapsed:,.0f}/s"
        if tally.refused:
            text += f"  {tally.refused:,} refused"
        self._bar.update(self._task, advance=size, tally=text)

    def refused(self, number: int, reason: str) -> None:
        """Tell of a line that is not inserted."""
        text = f"line {number}: {reason}"
        if self._shown:
            self._console.print(printable(text), soft_wrap=True)
        else:
            say(text)

    def close(self) -> None:
        """Take the bar away. Idempotent."""
        self._bar.stop()


def _size(fd: int) -> int | None:
    """The bytes that are left in a file; None for anything else."""
    try:
        found = os.fstat(fd)
        return found.st_size - os.lseek(fd, 0, os.SEEK_CUR) if stat.S_ISREG(found.st_mode) else None
    except OSError:
        return None
