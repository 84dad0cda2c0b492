"""Promises 2 and 5 under kill -9 of the server, at any moment."""

import secrets
from contextlib import AsyncExitStack

import pytest

from tests.promises.kills import run
from tests.promises.serving import daemon
from tests.promises.test_query_push import seed

pytestmark = pytest.mark.timeout(120)


@pytest.mark.redis
async def test_what_redis_took_survives_the_server(redis_url: str) -> None:
    options = ("--store", redis_url, "--stream", secrets.token_hex(8))
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(daemon(*options)) for _ in range(2)]
        await run(servers, 4, seed())
