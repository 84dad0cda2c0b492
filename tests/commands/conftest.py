"""A server for each test of a command that speaks to one, and a stream for those that need none."""

from collections.abc import AsyncIterator

import pytest

from tests.commands.streams import StreamAt
from tests.harness import running
from tests.promises.serving import Daemon, daemon
from tests.stores.worlds import SHARED


@pytest.fixture
async def server() -> AsyncIterator[Daemon]:
    """A daemon with the usual keys, in memory, for who wants to end it."""
    async with daemon("--keys", "user,kind,repo", "--store", "memory:") as server:
        yield server


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """The URL of such a server that stays: it is of this process, which starts it sooner than another."""
    async with running(keys="user,kind,repo") as server:
        yield server.ws_url


@pytest.fixture(params=SHARED)
def place(request: pytest.FixtureRequest, stream_name: str) -> StreamAt:
    """A stream of this test's own, which is not there yet, in a store of each kind."""
    return StreamAt(request.getfixturevalue(f"{request.param}_url"), stream_name)


@pytest.fixture
def here(sqlite_url: str, stream_name: str) -> StreamAt:
    """The same in a file, for what has nothing to do with the kind of the store."""
    return StreamAt(sqlite_url, stream_name)
