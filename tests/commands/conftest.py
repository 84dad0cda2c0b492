"""A daemon for each test of a command."""

from collections.abc import AsyncIterator

import pytest

from tests.promises.serving import Daemon, daemon


@pytest.fixture
async def server() -> AsyncIterator[Daemon]:
    """A daemon with the usual keys, in memory."""
    async with daemon("--keys", "user,kind,repo", "--store", "memory:") as running:
        yield running


@pytest.fixture
def url(server: Daemon) -> str:
    """Its URL."""
    return server.url
