"""Stores on a Redis, open for a test."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from streamd.stores.redis import RedisStore
from tests.stores.redis.worlds import Connect, make


@pytest.fixture
async def connect(stream_name: str) -> AsyncIterator[Connect]:
    """Open stores on this test's stream of a server."""
    async with AsyncExitStack() as stack:

        async def connect(url: str, **options: Any) -> RedisStore:
            return await stack.enter_async_context(make(url, stream_name, **options))

        yield connect
