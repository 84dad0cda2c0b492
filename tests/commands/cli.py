"""The command `streamd` as its users run it: a process with pipes, or on a terminal."""

import asyncio
import os
import pty
import signal
import sys
from dataclasses import dataclass
from typing import Any

import orjson

__all__ = ["DEADLINE", "Command", "Result", "on_terminal", "streamd"]

DEADLINE = 30.0
"""Seconds after which what a test waits for is not going to happen."""


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[Any]:
        """Its output, read as NDJSON."""
        return [orjson.loads(line) for line in self.out.splitlines()]


class Command:
    """A running command, with pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, *words: str, url: str, **options: Any) -> "Command":
        """Start it; it has its input, output and error as pipes unless `options` say otherwise."""
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "streamd", *words), env=environment(url), **pipes | options
            )
        )

    async def line(self) -> Any:
        """Return the next line of its output, read as JSON."""
        assert self.process.stdout
        return orjson.loads(await asyncio.wait_for(self.process.stdout.readline(), DEADLINE))

    async def told(self) -> str:
        """Return the next line of its standard error."""
        assert self.process.stderr
        line = await asyncio.wait_for(self.process.stderr.readline(), DEADLINE)
        return line.decode().rstrip("\n")

    async def end(self, number: signal.Signals | None = None, stdin: bytes = b"") -> Result:
        """Send a signal, if one is given, and wait for the end."""
        if number is not None:
            self.process.send_signal(number)
        given = None if self.process.stdin is None else stdin
        try:
            out, err = await asyncio.wait_for(self.process.communicate(given), DEADLINE)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise
        assert self.process.returncode is not None
        return Result(self.process.returncode, out or b"", (err or b"").decode())


def environment(url: str) -> dict[str, str]:
    """Return the environment of a user who has told the server's URL once and for all."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("STREAMD_", "COLUMNS"))}
    return kept | {"STREAMD_URL": url, "TERM": "xterm-256color"}


async def streamd(*words: str, url: str, stdin: bytes = b"") -> Result:
    """Run a command to its end, with pipes."""
    return await (await Command.start(*words, url=url)).end(stdin=stdin)


async def on_terminal(*words: str, url: str, stdin: bytes = b"") -> Result:
    """Run a command to its end; its output and error are a terminal, and `out` is what that got."""
    ours, theirs = pty.openpty()
    shown = bytearray()

    def read() -> None:
        # Linux says EIO when nobody holds the other end any more.
        try:
            while chunk := os.read(ours, 65536):
                shown.extend(chunk)
        except OSError:
            pass

    command = await Command.start(*words, url=url, stdout=theirs, stderr=theirs)
    os.close(theirs)
    reading = asyncio.create_task(asyncio.to_thread(read))
    result = await command.end(stdin=stdin)
    await asyncio.wait_for(reading, DEADLINE)
    os.close(ours)
    return Result(result.code, bytes(shown), "")
