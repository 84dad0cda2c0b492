"""Fixtures that many tests share."""

import os
import secrets
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.services import PostgresServer, RedisServer, free_port, make_postgres

# Who is started in the background of a shell, as by nohup, ignores Ctrl-C, and so would all programs
# that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis for all ordinary tests: each takes a stream of its own, none breaks it."""
    server = RedisServer(port=str(free_port()))
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of the shared Redis."""
    return redis_server.url


@pytest.fixture
def new_redis() -> Iterator[Callable[..., RedisServer]]:
    """Start a Redis for one test, which may break it."""
    servers: list[RedisServer] = []

    def start(**options: str) -> RedisServer:
        server = RedisServer()
        servers.append(server)
        return server.start(**options)

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def postgres_made() -> Iterator[Path]:
    """What every PostgreSQL starts as."""
    made = make_postgres()
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="session")
def postgres_server(postgres_made: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL for all ordinary tests: each takes a stream or a database of its own, none breaks it."""
    server = PostgresServer(postgres_made)
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of the shared PostgreSQL's database."""
    return postgres_server.url()


@pytest.fixture
def new_postgres(postgres_made: Path) -> Iterator[Callable[..., PostgresServer]]:
    """Start a PostgreSQL for one test, which may break it; on a copy of some data if given."""
    servers: list[PostgresServer] = []

    def start(data: Path = postgres_made, **settings: str) -> PostgresServer:
        server = PostgresServer(data, **settings)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def sqlite_url() -> Iterator[str]:
    """The URL of a database file that is not there yet."""
    # Only a machine that loses its power loses what was not synced, and no test does that to one:
    # nothing waits for a disk where there is a folder without one.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(
        prefix="streamd-sqlite-", dir=memory, ignore_cleanup_errors=True
    ) as folder:
        yield f"sqlite:///{folder}/streamd.db"


@pytest.fixture
def stream_name() -> str:
    """A name that no other test has."""
    return "t-" + secrets.token_hex(6)
