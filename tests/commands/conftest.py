"""A daemon for each test of a command that speaks to one, and a stream for those that need none."""

from collections.abc import AsyncIterator

import pytest

from tests.commands.streams import StreamAt
from tests.promises.serving import Daemon, daemon
from tests.stores.worlds import SHARED


@pytest.fixture
async def server() -> AsyncIterator[Daemon]:
    """A daemon with the usual keys, in memory."""
    async with daemon("--keys", "user,kind,repo", "--store", "memory:") as running:
        yield running


@pytest.fixture
def url(server: Daemon) -> str:
    """Its URL."""
    return server.url


@pytest.fixture(params=SHARED)
def place(request: pytest.FixtureRequest, stream_name: str) -> StreamAt:
    """A stream of this test's own, which is not there yet, in a store of each kind."""
    return StreamAt(request.getfixturevalue(f"{request.param}_url"), stream_name)


@pytest.fixture
def here(sqlite_url: str, stream_name: str) -> StreamAt:
    """The same in a file, for what has nothing to do with the kind of the store."""
    return StreamAt(sqlite_url, stream_name)
