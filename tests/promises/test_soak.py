"""The same promises for long: `make soak`. Each run prints its seed; STREAMD_TEST_SEED repeats it."""

import asyncio
import secrets

import pytest

from tests.promises.chaos import Chaos, run
from tests.promises.serving import daemon
from tests.promises.test_query_push import seed
from tests.services import RedisServer

RUNS = 10

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]


def long(urls: list[str]) -> Chaos:
    """Return a run of some minutes."""
    return Chaos(urls, seed(), events=8_000, subscribers=250, writers=8, deadline=120)


@pytest.mark.parametrize("number", range(RUNS))
@pytest.mark.parametrize("window", ["100000", "300"])
async def test_push_and_query_agree_on_memory_for_long(number: int, window: str) -> None:
    options = ("--store", "memory:", "--keys", "user,kind,tag", "--window", window)
    async with daemon(*options, "--outbox-bytes", "16384") as server:
        await run(long([server.url]))


@pytest.mark.redis
@pytest.mark.parametrize("number", range(RUNS))
async def test_push_and_query_agree_on_redis_for_long(
    redis_server: RedisServer, number: int
) -> None:
    stream = secrets.token_hex(8)
    options = ("--store", redis_server.url, "--stream", stream, "--keys", "user,kind,tag")
    async with (
        daemon(*options, "--workers", "2") as one,
        daemon(*options, "--window", "300") as two,
    ):

        async def kill() -> None:
            while True:
                await asyncio.sleep(1)
                await asyncio.to_thread(
                    redis_server.client.execute_command, "CLIENT", "KILL", "TYPE", "pubsub"
                )

        killing = asyncio.create_task(kill())
        try:
            await run(long([one.url, two.url]))
        finally:
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)
