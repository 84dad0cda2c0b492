"""Stores on a PostgreSQL, open for a test."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from streamd.stores.base import Store
from tests.stores.faults import make
from tests.stores.postgres.worlds import Connect


@pytest.fixture
async def connect(stream_name: str) -> AsyncIterator[Connect]:
    """Open stores on this test's stream of a server."""
    async with AsyncExitStack() as stack:

        async def connect(url: str, **limits: float) -> Store:
            return await stack.enter_async_context(make(url, stream_name, **limits))

        yield connect
