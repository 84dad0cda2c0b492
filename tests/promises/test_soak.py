"""The same promises for long: `make soak`. Each run prints its seed; STREAMD_TEST_SEED repeats it."""

import asyncio
import contextlib
import secrets
import sqlite3
import time
from collections.abc import Callable

import pytest

from tests.promises.chaos import Chaos, run
from tests.promises.serving import daemon
from tests.promises.test_kills import kill
from tests.promises.test_query_push import seed
from tests.services import PostgresServer, RedisServer

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


async def disturbed(store: str, disturb: Callable[[], object]) -> None:
    """Let servers share a stream while something happens to the store every second."""
    options = ("--store", store, "--stream", secrets.token_hex(8), "--keys", "user,kind,tag")
    async with (
        daemon(*options, "--workers", "2") as one,
        daemon(*options, "--window", "300") as two,
    ):

        async def go_on() -> None:
            while True:
                await asyncio.sleep(1)
                await asyncio.to_thread(disturb)

        disturbing = asyncio.create_task(go_on())
        try:
            await run(long([one.url, two.url]))
        finally:
            disturbing.cancel()
            await asyncio.gather(disturbing, return_exceptions=True)


@pytest.mark.redis
@pytest.mark.parametrize("number", range(RUNS))
async def test_push_and_query_agree_on_redis_for_long(
    redis_server: RedisServer, number: int
) -> None:
    def cut_off() -> None:
        redis_server.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    await disturbed(redis_server.url, cut_off)


@pytest.mark.postgres
@pytest.mark.parametrize("number", range(RUNS))
async def test_push_and_query_agree_on_postgresql_for_long(
    postgres_server: PostgresServer, number: int
) -> None:
    def cut_off() -> None:
        postgres_server.terminate("random() < 0.3")

    await disturbed(postgres_server.url(), cut_off)


@pytest.mark.parametrize("number", range(RUNS))
async def test_push_and_query_agree_on_sqlite_for_long(sqlite_url: str, number: int) -> None:
    path = sqlite_url.removeprefix("sqlite:///")

    def lock() -> None:
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(0.3)  # As long as some other program may need.

    await disturbed(sqlite_url, lock)


@pytest.mark.parametrize("number", range(RUNS))
@pytest.mark.parametrize("servers", [1, 2])
async def test_what_sqlite_took_survives_many_kills(
    sqlite_url: str, servers: int, number: int
) -> None:
    await kill(25, servers, "--store", sqlite_url)


@pytest.mark.postgres
@pytest.mark.parametrize("number", range(RUNS))
async def test_what_postgresql_took_survives_many_kills(
    postgres_url: str, stream_name: str, number: int
) -> None:
    await kill(25, 2, "--store", postgres_url, "--stream", stream_name)
