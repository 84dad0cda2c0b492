"""The transports are tested on both event loops: theirs are the transports."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from streamd.server import RunningServer
from tests.harness import Peer, running, websocket


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    """A server as it is by default."""
    async with running() as server:
        yield server


@pytest.fixture
async def peer(server: RunningServer) -> AsyncIterator[Peer]:
    """A WebSocket to it."""
    async with websocket(server) as peer:
        yield peer
