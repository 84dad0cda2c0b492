"""Promises 2 and 5 under kill -9 of the server, at any moment: 20 kills in all, for each kind of store some."""

from contextlib import AsyncExitStack

import pytest

from tests.promises.kills import run
from tests.promises.serving import daemon
from tests.promises.test_query_push import seed

pytestmark = pytest.mark.timeout(180)


async def kill(count: int, servers: int, *options: str) -> None:
    """Kill servers that share a stream, in turn."""
    async with AsyncExitStack() as stack:
        running = [await stack.enter_async_context(daemon(*options)) for _ in range(servers)]
        await run(running, count, seed())


async def test_what_sqlite_took_survives_the_server(sqlite_url: str) -> None:
    await kill(6, 1, "--store", sqlite_url)


async def test_what_sqlite_took_from_two_servers_survives_them(sqlite_url: str) -> None:
    await kill(4, 2, "--store", sqlite_url)


@pytest.mark.postgres
async def test_what_postgresql_took_survives_the_server(
    postgres_url: str, stream_name: str
) -> None:
    await kill(7, 2, "--store", postgres_url, "--stream", stream_name)


@pytest.mark.redis
async def test_what_redis_took_survives_the_server(redis_url: str, stream_name: str) -> None:
    await kill(3, 2, "--store", redis_url, "--stream", stream_name)
