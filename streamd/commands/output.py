"""The standard output: lines for people on a terminal, NDJSON for programs in a pipe or file."""

import asyncio
import os
import select
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import orjson
from rich.console import Console
from streamd_client import Entry

from streamd.commands.text import entry_line

__all__ = ["Ndjson", "Printer", "Stdout", "open_printer", "while_read"]

_PIPE_BUF = 4096
"""So much fits into a pipe that is ready for more, on every system."""


class Printer(Protocol):
    """Shows entries, one line each."""

    async def show(self, entry: Entry) -> None:
        """Show one; raise BrokenPipeError when nobody reads any more."""


class Stdout:
    """The bytes of the standard output, unbuffered. A slow reader does not stop the event loop."""

    def __init__(self, fd: int = 1) -> None:
        self.fd = fd
        self.is_pipe = stat.S_ISFIFO(os.fstat(fd).st_mode)

    async def write(self, data: bytes) -> None:
        """Write all of it; raise BrokenPipeError when the reader has gone."""
        left = memoryview(data)
        while left:
            if self.is_pipe:
                await self._writable()
            left = left[os.write(self.fd, left[:_PIPE_BUF]) :]

    async def _writable(self) -> None:
        if select.select([], [self.fd], [], 0)[1]:
            return
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(self.fd, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(self.fd)


class Ndjson:
    """One JSON text a line: the bare events, or the entries whole."""

    def __init__(self, stdout: Stdout, *, entries: bool) -> None:
        self._stdout = stdout
        self._entries = entries

    async def show(self, entry: Entry) -> None:
        value: Any = entry if self._entries else entry.event
        await self._stdout.write(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE))


class Pretty:
    """A line for people to read, as wide as the terminal."""

    def __init__(self, keys: list[str], when: Callable[[int], str]) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._keys = keys
        self._when = when

    async def show(self, entry: Entry) -> None:
        line = entry_line(entry, self._keys, self._when(entry.time))
        # Said here: a text's own no_wrap and overflow are lost on the way through `print`.
        self._console.print(line, no_wrap=True, overflow="ellipsis")


def open_printer(keys: list[str], when: Callable[[int], str], *, entries: bool) -> Printer:
    """Return the printer that fits the standard output.

    Args:
        keys: The names of the declared keys; people see them first.
        when: What people are told of an entry's time.
        entries: Whether programs get the entries whole.
    """
    if sys.stdout.isatty():
        return Pretty(keys, when)
    return Ndjson(Stdout(), entries=entries)


@asynccontextmanager
async def while_read(stdout: Stdout) -> AsyncIterator[None]:
    """End the block with BrokenPipeError when the reader of a pipe goes, also while there's nothing to write."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    gone = False

    def reader_gone() -> None:
        nonlocal gone
        gone = True
        loop.remove_reader(stdout.fd)
        task.cancel()

    if not stdout.is_pipe:
        yield
        return
    # The only thing that ever comes out of this end of a pipe is the news that the other is closed.
    loop.add_reader(stdout.fd, reader_gone)
    try:
        yield
    except asyncio.CancelledError:
        if gone and task.uncancel() == 0:
            raise BrokenPipeError from None
        raise
    finally:
        if not gone:
            loop.remove_reader(stdout.fd)
