"""streamd.systemd: what a service's systemd hears, of the class and of `streamd serve`."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from streamd.systemd import Systemd
from tests.services import free_port

DEADLINE = 30.0


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    """Listen as systemd does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        sock.settimeout(DEADLINE)
        yield sock


@pytest.fixture
def place() -> Iterator[Path]:
    # The path of a unix socket may be no longer than 107 bytes.
    with tempfile.TemporaryDirectory(prefix="streamd-") as folder:
        yield Path(folder) / "notify"


def heard(sock: socket.socket) -> str:
    return sock.recv(4096).decode()


def nothing_more(sock: socket.socket) -> bool:
    sock.setblocking(False)
    with suppress(BlockingIOError):
        raise AssertionError(sock.recv(4096))
    return True


def test_each_state_is_one_message(place: Path) -> None:
    with listening(str(place)) as sock:
        systemd = Systemd({"NOTIFY_SOCKET": str(place), "WATCHDOG_USEC": "30000000"})
        systemd.ready()
        systemd.alive()
        systemd.stopping()
        assert [heard(sock) for _ in range(3)] == ["READY=1", "WATCHDOG=1", "STOPPING=1"]
        assert nothing_more(sock)


def test_a_name_without_a_file(place: Path) -> None:
    name = f"streamd-test-{os.getpid()}"
    with listening(f"\0{name}") as sock:
        Systemd({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert heard(sock) == "READY=1"


@pytest.mark.parametrize(
    "watchdog", [{}, {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid() + 1)}]
)
def test_signs_of_life_are_for_those_who_want_them(place: Path, watchdog: dict[str, str]) -> None:
    with listening(str(place)) as sock:
        systemd = Systemd({"NOTIFY_SOCKET": str(place)} | watchdog)
        systemd.alive()
        assert nothing_more(sock)


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_where_nobody_listens_nothing_happens(environment: dict[str, str]) -> None:
    Systemd(environment).ready()


def test_one_that_does_not_listen_any_more_holds_nobody_up(place: Path) -> None:
    with listening(str(place)) as sock:
        systemd = Systemd({"NOTIFY_SOCKET": str(place)})
        for _ in range(1_000):  # More than a queue takes.
            systemd.ready()
        assert heard(sock) == "READY=1"


@pytest.mark.parametrize("workers", [1, 2])
def test_the_server_tells_of_its_life(place: Path, workers: int) -> None:
    port = free_port()
    given = {
        "NOTIFY_SOCKET": str(place),
        "WATCHDOG_USEC": "2000000",
        "STREAMD_PORT": str(port),
        "STREAMD_WORKERS": str(workers),
        "STREAMD_STORE": f"sqlite:///{place.parent}/streamd.db",
    }
    kept = {name: value for name, value in os.environ.items() if "STREAMD_" not in name}
    with listening(str(place)) as sock:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamd", "serve"],
            env=kept | given,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert heard(sock) == "READY=1"
            socket.create_connection(("127.0.0.1", port), timeout=DEADLINE).close()
            begun = time.monotonic()
            assert heard(sock) == "WATCHDOG=1"
            assert heard(sock) == "WATCHDOG=1"
            assert time.monotonic() - begun < 10
            process.send_signal(signal.SIGTERM)
            while (state := heard(sock)) == "WATCHDOG=1":
                pass
            assert state == "STOPPING=1"
            assert process.wait(DEADLINE) == 0
            assert nothing_more(sock)
        finally:
            process.terminate()
            process.wait(DEADLINE)
