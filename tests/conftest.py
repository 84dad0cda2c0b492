"""Fixtures that many tests share."""

import secrets
from collections.abc import Callable, Iterator

import pytest

from tests.services import RedisServer, free_port


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


@pytest.fixture
def stream_name() -> str:
    """A name that no other test has."""
    return "t-" + secrets.token_hex(6)
