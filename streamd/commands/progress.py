"""The progress of long work, on the standard error: a bar on a terminal, else only what is to be told."""

import sys
from types import TracebackType
from typing import Self

from rich import progress as bars
from rich.console import Console

from streamd.commands.shell import say
from streamd.commands.text import printable

__all__ = ["Progress"]


class Progress:
    """Show how far it is: in per cent where the whole is known, and with a text beside the bar.

    Args:
        in_bytes: Whether what is done is counted in bytes, as of a file that is read.
        hidden: Whether there is to be no bar, even on a terminal.
    """

    def __init__(self, *, in_bytes: bool = False, hidden: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._shown = self._console.is_terminal and sys.stderr.isatty() and not hidden
        self._bar = bars.Progress(
            bars.BarColumn(),
            bars.DownloadColumn() if in_bytes else bars.TaskProgressColumn(),
            bars.TextColumn("{task.fields[text]}"),
            console=self._console,
            transient=True,
            disable=not self._shown,
        )
        self._task = self._bar.add_task("", total=None, text="")

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

    def show(self, done: int, total: int | None, counted: int, of_what: str) -> None:
        """Show that so much is done, and how many of what that made, with their rate."""
        if not self._shown:
            return
        elapsed = self._bar.tasks[0].elapsed or 0.001
        text = f"{counted:,} {of_what}  {counted / elapsed:,.0f}/s"
        self._bar.update(self._task, completed=done, total=total, text=text)

    def tell(self, text: str) -> None:
        """Tell a line, above the bar."""
        if self._shown:
            self._console.print(printable(text), soft_wrap=True)
        else:
            say(text)

    def close(self) -> None:
        """Take the bar away. Idempotent."""
        self._bar.stop()
