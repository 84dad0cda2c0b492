"""Real servers for tests: private, on a unix socket, gone with the process that started them."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import pytest
import redis

__all__ = ["RedisServer", "free_port", "need"]

_START_DEADLINE = 10.0

# A shell between us and the server: when we are gone, however that came, its input ends, and it ends
# the server. It knows the server's pid by itself and kills nobody else.
_GUARD = '"$@" & server=$!; read -r _; kill -9 "$server"; wait'


def need(program: str) -> str:
    """Return the path of a program, or skip the test: in CI a missing service is a failure."""
    path = shutil.which(program)
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")
    return path


def free_port() -> int:
    """Return a loopback port that nobody listens on just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


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
        self._guard: subprocess.Popen[bytes] | None = None
        self.pid = 0
        self.client = redis.Redis(unix_socket_path=str(self.socket), socket_timeout=10)
        """A connection of the test's own."""

    def start(self, *, wait: bool = True, **options: str) -> Self:
        """Start it, with more options if given, and wait until it serves."""
        self._options |= {name.replace("_", "-"): value for name, value in options.items()}
        settings = {"unixsocket": str(self.socket), "dir": str(self.folder)} | self._options
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        with (self.folder / "log").open("ab") as log:
            self._guard = subprocess.Popen(
                ["sh", "-c", _GUARD, "guard", need("redis-server"), *words],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
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
            self._guard.communicate()
            self._guard = None
            self.socket.unlink(missing_ok=True)

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
