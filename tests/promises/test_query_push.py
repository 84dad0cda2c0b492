"""Promise 3: what a subscription delivers is what the query finds, through whatever happens."""

import os
import random
import secrets

import pytest

from tests.promises.chaos import Chaos, run
from tests.promises.serving import daemon


def seed() -> int:
    """Return the seed of this run: a new one each time, or the one to be repeated."""
    return int(os.environ.get("STREAMD_TEST_SEED", random.SystemRandom().randrange(1 << 30)))


@pytest.mark.timeout(120)
async def test_push_and_query_agree_on_memory() -> None:
    async with daemon("--store", "memory:", "--keys", "user,kind,tag") as server:
        await run(Chaos([server.url], seed()))


@pytest.mark.timeout(120)
async def test_push_and_query_agree_when_the_window_is_small() -> None:
    options = ("--store", "memory:", "--keys", "user,kind,tag", "--window", "200")
    async with daemon(*options, "--outbox-bytes", "8192") as server:
        await run(Chaos([server.url], seed(), events=2_000, subscribers=100))


async def on_workers(store: str) -> None:
    """Let a server of two workers and another one share a stream."""
    options = ("--store", store, "--stream", secrets.token_hex(8), "--keys", "user,kind,tag")
    async with daemon(*options, "--workers", "2") as one, daemon(*options) as two:
        await run(Chaos([one.url, two.url], seed(), events=1_500, subscribers=100))


@pytest.mark.timeout(120)
async def test_push_and_query_agree_on_sqlite_with_two_workers(sqlite_url: str) -> None:
    await on_workers(sqlite_url)


@pytest.mark.postgres
@pytest.mark.timeout(120)
async def test_push_and_query_agree_on_postgresql_with_two_workers(postgres_url: str) -> None:
    await on_workers(postgres_url)


@pytest.mark.redis
@pytest.mark.timeout(120)
async def test_push_and_query_agree_on_redis_with_two_workers(redis_url: str) -> None:
    await on_workers(redis_url)
