"""The daemon as its users run it: a process of its own, on a loopback port."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

START_DEADLINE = 20.0
STOP_DEADLINE = 20.0


def free_port() -> int:
    """Return a loopback port that nobody listens on just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def workers_of(pid: int) -> list[int]:
    """Return the worker processes of a `streamd serve`, as Linux tells of them."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pids = [int(child) for child in children]
    return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@dataclass
class Daemon:
    """A running `streamd serve`."""

    port: int
    options: tuple[str, ...]
    folder: str
    """Where it runs, and keeps the file of its default store."""
    process: asyncio.subprocess.Process | None = None
    output: bytearray = field(default_factory=bytearray)
    """What it has written to both of its outputs."""
    _reader: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Its WebSocket address."""
        return f"ws://127.0.0.1:{self.port}/"

    async def launch(self) -> None:
        """Start it."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("STREAMD_")}
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streamd", "serve", "--port", str(self.port), *self.options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
            cwd=self.folder,
        )
        self._reader = asyncio.create_task(self._read())

    async def start(self) -> None:
        """Start it and wait until it answers that it is ready."""
        await self.launch()
        assert self.process
        async with asyncio.timeout(START_DEADLINE):
            while not await self.is_ready():
                assert self.process.returncode is None, self.output.decode()
                await asyncio.sleep(0.05)

    async def _read(self) -> None:
        assert self.process
        assert self.process.stdout
        while chunk := await self.process.stdout.read(65536):
            self.output += chunk

    async def is_ready(self) -> bool:
        """Tell whether /health/ready says so."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            writer.write(
                b"GET /health/ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
            )
            return b" 200 " in await reader.readline()
        except OSError:
            return False
        finally:
            writer.close()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process
        self.process.send_signal(number)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it, and return its exit code."""
        assert self.process
        assert self._reader
        if self.process.returncode is None:
            self.send(number)
        try:
            code = await asyncio.wait_for(self.process.wait(), STOP_DEADLINE)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise
        await self._reader
        return code


@asynccontextmanager
async def daemon(*options: str, port: int | None = None) -> AsyncIterator[Daemon]:
    """Run `streamd serve` with some options for as long as the block lasts."""
    with TemporaryDirectory(prefix="streamd-") as folder:
        running = Daemon(port or free_port(), options, folder)
        try:
            await running.start()
            yield running
        finally:
            if running.process is not None:
                await running.stop()
