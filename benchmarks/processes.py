"""Servers under measurement: processes of their own, and the CPU time that they take."""

import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Served", "cpu_seconds", "free_port", "running", "streamd", "wait_for"]

_START = 20.0
"""Seconds that a server may take to start."""
_END = 20.0
"""Seconds that it may take to end."""


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs: where, and as which processes."""

    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """Return the CPU time that its processes have taken so far."""
        return sum(map(cpu_seconds, (self.pid, *_children(self.pid))))

    def resident(self) -> int:
        """Return the bytes of memory that its process has in use (RSS)."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has taken, in nanoseconds' resolution (Linux).

    The clock of another process is named as clock_getcpuclockid(3) does it.
    """
    return time.clock_gettime((~pid << 3) | 2)


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for each in map(int, listed) for child in (each, *_children(each))]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until somebody listens; raise SystemExit if nobody does."""
    end = time.monotonic() + _START
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            # A port of this range that nobody listens on may be given to the one who tries it.
            if probe.connect_ex(("127.0.0.1", port)) == 0 and probe.getsockname()[1] != port:
                return
        time.sleep(0.05)
    raise SystemExit(f"this server did not start: {process.args!r}")


@contextmanager
def running(command: list[str], port: int, *, inherited: tuple[int, ...] = ()) -> Iterator[Served]:
    """Run a server for as long as the block lasts, with file descriptors that it inherits."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=inherited
    ) as process:
        try:
            wait_for(port, process)
            yield Served(port, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(_END)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def streamd(store: str = "memory:", *options: str) -> Iterator[Served]:
    """Run `streamd serve` on a free port."""
    port = free_port()
    command = [sys.executable, "-m", "streamd", "serve", "--port", str(port), "--store", store]
    with running([*command, *options], port) as served:
        yield served
