"""A Redis of our own."""

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Self

import redis

from tests.services.process import Guard, need

__all__ = ["RedisServer"]

_START_DEADLINE = 10.0


class RedisServer:
    """A redis-server of our own; `options` are settings of redis.conf, without their dashes."""

    def __init__(self, **options: str) -> None:
        self._options = {"save": "", "bind": "127.0.0.1", "port": "0", "daemonize": "no"} | options
        # The path of a unix socket may be no longer than 107 bytes: pytest's own folders are too deep.
        self.folder = Path(tempfile.mkdtemp(prefix="streamd-redis-"))
        self.socket = self.folder / "s"
        self.url = f"unix://{self.socket}"
        self.port = int(self._options["port"])
        """Its port on the loopback, or 0 if it has none."""
        self._guard: Guard | None = None
        self.pid = 0
        self.client = redis.Redis(unix_socket_path=str(self.socket), socket_timeout=10)
        """A connection of the test's own."""

    def start(self, *, wait: bool = True, **options: str) -> Self:
        """Start it, with more options if given, and wait until it serves."""
        self._options |= {name.replace("_", "-"): value for name, value in options.items()}
        settings = {"unixsocket": str(self.socket), "dir": str(self.folder)} | self._options
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        self._guard = Guard([need("redis-server"), *words], log=self.folder / "log")
        if wait:
            self.wait()
        return self

    def wait(self) -> None:
        """Wait until it serves."""
        end = time.monotonic() + _START_DEADLINE
        while True:
            try:
                self.client.ping()
            except redis.RedisError:
                if time.monotonic() > end:
                    text = (self.folder / "log").read_text(errors="replace")
                    raise AssertionError(f"redis-server did not start:\n{text}") from None
                time.sleep(0.005)
            else:
                self.pid = int(self.client.info("server")["process_id"])
                return

    def pause(self) -> None:
        """Let it stop in its tracks: its sockets take bytes, nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a crash would; what it has written to its folder stays."""
        self.client.close()
        if self._guard is not None:
            self._guard.end()
            self._guard = None
            self.socket.unlink(missing_ok=True)

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
