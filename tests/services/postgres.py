"""A PostgreSQL of our own."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.services.process import Guard, children, free_port, need, running

__all__ = ["DATABASE", "PASSWORD", "ROLE", "PostgresServer", "make_postgres"]

_START_DEADLINE = 20.0
_STOP_DEADLINE = 10.0

ROLE, PASSWORD, DATABASE = "streamd", "hush-hush", "feeds"
"""Who uses it, and what is his."""

_ACCESS = """\
local all         all              trust
local replication all              trust
host  all         all 127.0.0.1/32 scram-sha-256
"""

# Without a server, an empty line ends a statement.
_SETUP = f"""\
CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}';

CREATE DATABASE {DATABASE} OWNER {ROLE};

"""

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "16MB",
    "max_connections": "50",
    "dynamic_shared_memory_type": "mmap",  # Nothing of a killed one stays outside of its folder.
    # What a killed process has written is in the kernel, and stays. Only a machine that loses its
    # power loses what was not synced, and no test does that to one.
    "fsync": "off",
}


def _program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs; Debian keeps those of a server off PATH."""
    folders = Path("/usr/lib/postgresql").glob("*/bin")
    newest_first = sorted(folders, key=lambda folder: float(folder.parent.name), reverse=True)
    return str(Path(need("postgres", *newest_first)).resolve().with_name(name))


def _owner() -> pwd.struct_passwd | None:
    """Return who PostgreSQL is to run as: it refuses to be root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _run(*words: str | Path, text: str = "") -> str:
    """Run a program as the servers' user until it ends; return what it printed."""
    user = _owner()
    done = subprocess.run(
        words,
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
        user=user and user.pw_uid,
        group=user and user.pw_gid,
        extra_groups=user and [],
    )
    assert done.returncode == 0, f"{words[0]}: {done.stdout}{done.stderr}"
    return done.stdout


def _new_folder() -> Path:
    # The path of a unix socket may be no longer than 107 bytes: pytest's own folders are too deep.
    folder = Path(tempfile.mkdtemp(prefix="streamd-postgres-"))
    if user := _owner():
        os.chown(folder, user.pw_uid, user.pw_gid)
    return folder


def make_postgres() -> Path:
    """Return a new folder with a server's data: that takes a second, a copy of it a moment."""
    data = _new_folder()
    # Each copy has one segment of the log: let it be small.
    options = ("--no-sync", "--no-locale", "--encoding=UTF8", "--wal-segsize=1")
    _run(_program("initdb"), *options, "--username=postgres", "--pgdata", data)
    (data / "pg_hba.conf").write_text(_ACCESS)
    _run(_program("postgres"), "--single", "-j", "-D", data, "postgres", text=_SETUP)
    return data


class PostgresServer:
    """A PostgreSQL of our own."""

    def __init__(self, data: Path, **settings: str) -> None:
        """Prepare it with a copy of a server's data; `settings` are those of postgresql.conf."""
        self.folder = _new_folder()
        self._data = self.folder / "data"
        _run("cp", "-R", data, self._data)
        self.port = free_port()
        places = {"port": str(self.port), "unix_socket_directories": str(self.folder)}
        self._settings = _SETTINGS | places | settings
        self._guard: Guard | None = None
        self.pid = 0
        """The postmaster's; 0 while it is not known to serve."""

    def url(self, *, database: str = DATABASE, password: str = PASSWORD) -> str:
        """Return the URL of a database there, for a role that owns it and has no other rights."""
        return f"postgresql://{ROLE}:{password}@127.0.0.1:{self.port}/{database}"

    # Its life.

    def start(self, *, wait: bool = True, **settings: str) -> Self:
        """Start it, with more settings if given, and wait until it serves."""
        self._settings |= settings
        words = [f"--{name}={value}" for name, value in self._settings.items()]
        self._guard = Guard(
            [_program("postgres"), "-D", str(self._data), *words],
            log=self.folder / "log",
            end="QUIT",  # At once, with all that it has started.
            user=_owner(),
        )
        if wait:
            self.wait()
        return self

    def wait(self) -> None:
        """Wait until it serves."""
        end = time.monotonic() + _START_DEADLINE
        while not self._is_ready():
            if time.monotonic() > end:
                text = (self.folder / "log").read_text(errors="replace")
                raise AssertionError(f"postgres did not start:\n{text}")
            time.sleep(0.01)

    def _is_ready(self) -> bool:
        """Look where pg_ctl looks: line 1 is the pid, line 8 the status."""
        lines = self._notes()
        if len(lines) < 8 or lines[7].strip() != "ready":
            return False
        self.pid = int(lines[0])
        return True

    def _notes(self) -> list[str]:
        with suppress(FileNotFoundError):
            return (self._data / "postmaster.pid").read_text().splitlines()
        return []

    def pause(self) -> None:
        """Let it stop in its tracks: its sockets take connections and bytes, nobody answers."""
        assert self.pid
        os.kill(self.pid, signal.SIGSTOP)  # From now on it starts no other.
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> list[int]:
        """Send a signal to all of its processes; return them."""
        pids = [self.pid, *children(self.pid)]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return pids

    def stop(self) -> None:
        """End it as an administrator does, who waits for nobody: it says so to those connected."""
        os.kill(self.pid, signal.SIGINT)
        self._gone([self.pid])

    def kill(self) -> None:
        """End all of its processes at once, as a crash would; what they have written stays."""
        self.pause()
        self._gone(self._signal(signal.SIGKILL))

    def _gone(self, pids: list[int]) -> None:
        end = time.monotonic() + _STOP_DEADLINE
        while running(pids):
            assert time.monotonic() < end, "postgres does not end"
            time.sleep(0.01)
        self._end()

    def _end(self) -> None:
        if self._guard is not None:
            self._guard.end()
            self._guard = None
        self.pid = 0
        # All of its processes are gone, but a killed one has left its notes, and outside of its
        # folder a piece of shared memory, by which a successor would know that it still runs.
        if notes := self._notes():
            subprocess.run(["ipcrm", "-m", notes[6].split()[1]], check=True)
            (self._data / "postmaster.pid").unlink()

    def close(self) -> None:
        """End it and remove its folder."""
        if self.pid:
            self.kill()
        self._end()
        shutil.rmtree(self.folder, ignore_errors=True)

    # What tests do to it.

    def sql(self, text: str, *, database: str = DATABASE) -> list[str]:
        """Do some statements as the superuser; return the lines of their answers, columns parted by |."""
        where = ("-h", str(self.folder), "-p", str(self.port), "-U", "postgres", "-d", database)
        options = ("-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1")
        return _run(_program("psql"), *options, *where, text=text).splitlines()

    def new_database(self, name: str, options: str = "") -> str:
        """Create a database that is empty; return its URL."""
        self.sql(f'CREATE DATABASE "{name}" OWNER {ROLE} {options}')
        return self.url(database=name)

    def terminate(self, which: str = "true") -> int:
        """End the connections of which a condition on pg_stat_activity holds; return how many."""
        return len(
            self.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE usename = '{ROLE}' AND ({which})"
            )
        )

    def copy(self) -> Path:
        """Return a copy of its data, as a backup takes it while it serves; gone with the server."""
        folder = self.folder / f"copy-{time.monotonic_ns()}"
        where = ("-h", str(self.folder), "-p", str(self.port), "-U", "postgres")
        options = ("-X", "fetch", "-c", "fast", "--no-sync")
        _run(_program("pg_basebackup"), *options, *where, "-D", folder)
        return folder

    def put_back(self, copy: Path) -> None:
        """Replace its data by a copy that was made before, while it does not run."""
        assert not self.pid
        shutil.rmtree(self._data)
        _run("cp", "-R", copy, self._data)
