import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from streamd_client import Client, connect

from clients.python.tests.fake_server import FakeServer


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with FakeServer() as server:
        yield server


@pytest.fixture
async def client(server: FakeServer) -> AsyncIterator[Client]:
    async with connected_to(server) as client:
        yield client


@pytest.fixture(autouse=True)
async def no_task_is_left_behind() -> AsyncIterator[None]:
    yield
    left = {task for task in asyncio.all_tasks() if task.get_name() == "streamd-client"}
    assert not left


def connected_to(server: FakeServer, **options: object) -> Client:
    """A client that does not wait long between attempts."""
    return connect(server.url, **{"backoff": lambda attempt: 0.01, **options})  # type: ignore[arg-type]


async def eventually(condition: Callable[[], object]) -> None:
    """Wait for what nobody tells; the test's time limit is the deadline."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.002)
