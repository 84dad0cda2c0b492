"""Numbered lines from a file descriptor, with a bounded part of them in memory."""

import asyncio
import os
import stat
import threading
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError
from typing import NamedTuple

__all__ = ["Line", "Lines", "bytes_left", "read_chunks"]

_CHUNK = 256 * 1024
_CHUNKS_AHEAD = 4


class Line(NamedTuple):
    """A line that is not blank."""

    number: int
    """The first line of the input is 1."""
    text: bytes | None
    """Without its end; None when it is too long to be kept."""


class Lines:
    """Cut chunks of bytes into lines, none longer than `longest` bytes. No I/O."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._number = 0
        self._rest = b""
        self._too_long = False

    def cut(self, chunk: bytes) -> list[Line]:
        """Return the lines that end in this chunk."""
        first, *others = chunk.split(b"\n")
        if not others:
            self._keep(first)
            return []
        self._keep(first)
        lines = [self._end()]
        for text in others[:-1]:
            self._keep(text)
            lines.append(self._end())
        self._keep(others[-1])
        return [line for line in lines if line.text != b""]

    def finish(self) -> list[Line]:
        """Return the last line, if it did not end with a newline."""
        line = self._end()
        return [] if line.text == b"" else [line]

    def _keep(self, text: bytes) -> None:
        if self._too_long or len(self._rest) + len(text) > self._longest:
            self._rest, self._too_long = b"", True
        else:
            self._rest = self._rest + text if self._rest else text

    def _end(self) -> Line:
        self._number += 1
        line = Line(self._number, None if self._too_long else self._rest.strip())
        self._rest, self._too_long = b"", False
        return line


async def read_chunks(fd: int) -> AsyncIterator[bytes]:
    """Yield what a file descriptor has, as soon as it is there; raise OSError if it can't be read."""
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes | OSError] = asyncio.Queue(_CHUNKS_AHEAD)

    def read() -> None:
        chunk: bytes | OSError = b"more"
        while chunk and not isinstance(chunk, OSError):
            chunk = _read(fd)
            putting = chunks.put(chunk)
            try:
                asyncio.run_coroutine_threadsafe(putting, loop).result()
            except (RuntimeError, CancelledError):  # the loop has ended before the input
                putting.close()
                return

    # A thread, as an event loop cannot wait for a plain file; nobody waits for its end, as it may
    # be waiting for a line that never comes.
    threading.Thread(target=read, name="input", daemon=True).start()
    while chunk := await chunks.get():
        if isinstance(chunk, OSError):
            raise chunk
        yield chunk


def _read(fd: int) -> bytes | OSError:
    try:
        return os.read(fd, _CHUNK)
    except OSError as error:
        return error


def bytes_left(fd: int) -> int | None:
    """Return how many bytes are left to be read in a file; None for anything else."""
    try:
        found = os.fstat(fd)
        return found.st_size - os.lseek(fd, 0, os.SEEK_CUR) if stat.S_ISREG(found.st_mode) else None
    except OSError:
        return None
