"""What servers for tests are started and ended with."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

__all__ = ["Guard", "children", "free_port", "need", "running"]

# A shell between us and the server: when we are gone, however that came, its input ends, and it ends
# the server, even one that was stopped in its tracks. It knows the server's pid by itself and ends
# nobody else.
_GUARD = (
    'end=$1; shift; "$@" & server=$!; read -r _; kill "-$end" "$server"; kill -CONT "$server"; wait'
)


def need(program: str, *folders: Path) -> str:
    """Return the path of a program, from PATH or a folder, or skip the test.

    In CI a missing service is a failure.
    """
    places = [os.environ.get("PATH", os.defpath), *map(str, folders)]
    path = shutil.which(program, path=os.pathsep.join(places))
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


def _processes() -> dict[int, int]:
    """Return the parent of every process that runs."""
    command = [need("ps"), "-A", "-o", "pid=", "-o", "ppid=", "-o", "state="]
    lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    found = (line.split() for line in lines)
    return {int(pid): int(parent) for pid, parent, state in found if not state.startswith("Z")}


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that run."""
    return [child for child, parent in _processes().items() if parent == pid]


def running(pids: Iterable[int]) -> bool:
    """Tell whether any of these processes runs."""
    return not _processes().keys().isdisjoint(pids)


class Guard:
    """A program that runs for as long as we do, or until it is ended."""

    def __init__(
        self,
        words: Iterable[str],
        *,
        log: Path,
        end: str = "KILL",
        user: pwd.struct_passwd | None = None,
    ) -> None:
        """Start it in the folder of its log; `end` is the signal that ends it."""
        with log.open("ab") as output:
            self._shell = subprocess.Popen(
                ["sh", "-c", _GUARD, "guard", end, *words],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=log.parent,
                start_new_session=True,
                user=user and user.pw_uid,
                group=user and user.pw_gid,
                extra_groups=user and [],
            )

    def end(self) -> None:
        """End it, and wait until it is gone; idempotent."""
        self._shell.communicate()
