"""The Python clients and a server that is over its limits: they wait, come back, and lose nothing."""

import asyncio

import pytest
from streamd_client import CallTimeout, RateLimited, connect
from streamd_client.sync import Client as SyncClient

from streamd.cells import Counter
from streamd.server import RunningServer
from tests.harness import running
from tests.keys import SECRET, token


def refusals(server: RunningServer) -> float:
    """Return how many calls came too fast so far."""
    return value(server.application.gate.worker.meters.call_errors[-32005])


def value(counter: Counter) -> float:
    return counter._cells[counter._at]


async def test_calls_that_come_too_fast_are_repeated_until_they_are_done() -> None:
    async with running(calls_per_second=20, burst=0.5) as server:
        async with connect(server.url) as client:
            work = [client.insert({"n": number}) for number in range(30)]
            places = await asyncio.gather(*work)
            assert len({place.cursor for place in places}) == 30
            assert len(await client.items(end=100)) == 30
        assert refusals(server) > 0


async def test_events_that_come_too_fast_are_repeated_until_they_are_stored() -> None:
    async with running(events_per_second=100, burst=0.2) as server:
        async with connect(server.url) as client:
            for _ in range(3):
                await client.insert_many([{}] * 30)
            assert len(await client.items(end=1_000)) == 90
        assert refusals(server) > 0


async def test_a_call_that_never_may_be_done_in_time_raises_what_the_server_said() -> None:
    async with running(calls_per_second=0.01, burst=100) as server:
        async with connect(server.url) as client:
            await client.ping()
            with pytest.raises(RateLimited) as caught:
                await client.ping(timeout=0.5)
            assert caught.value.retry_after > 10
            assert caught.value.data["limit"] == "calls_per_second"


async def test_a_client_that_is_sent_away_for_its_haste_comes_back_with_its_calls() -> None:
    async with running(calls_per_second=20, burst=0.5, refusals=5) as server:
        async with connect(server.url, backoff=lambda attempt: 0.2) as client:
            places = await asyncio.gather(*[client.insert({"n": n}) for n in range(40)])
            assert len({place.cursor for place in places}) == 40
            assert len(await client.items(end=100)) == 40
        meters = server.application.gate.worker.meters
        assert value(meters.connects) > 1
        assert value(meters.disconnects[4029]) > 0


@pytest.mark.parametrize("limit", [{"connections": 1}, {"address_connections": 1}])
async def test_a_client_for_whom_there_is_no_room_waits_for_it(limit: dict[str, int]) -> None:
    async with running(**limit) as server:
        async with connect(server.url) as first:
            await first.ping()
            async with connect(server.url, backoff=lambda attempt: 0.1) as second:
                with pytest.raises(CallTimeout):
                    await second.ping(timeout=0.5)
                await first.close()
                await second.ping()


async def test_a_client_whose_subject_has_all_its_connections_waits_for_one() -> None:
    async with running(token_secret=SECRET, subject_connections=1) as server:
        async with connect(server.url, token=token()) as first:
            await first.ping()
            async with connect(server.url, token=token(), backoff=lambda attempt: 0.1) as second:
                with pytest.raises(CallTimeout):
                    await second.ping(timeout=0.5)
                await first.close()
                await second.ping()


async def test_a_client_that_comes_back_too_fast_is_let_in_later() -> None:
    async with running(connects_per_second=2, burst=0.5) as server:
        for _ in range(3):
            async with connect(server.url, backoff=lambda attempt: 0.1) as client:
                await client.ping()
        meters = server.application.gate.worker.meters
        assert value(meters.refused["connects_per_second"]) > 0


async def test_calls_over_http_that_come_too_fast_are_repeated_until_they_are_done() -> None:
    def insert(url: str) -> int:
        with SyncClient(url) as client:
            for number in range(20):
                client.insert({"n": number})
            return len(client.items(end=100))

    async with running(calls_per_second=20, burst=0.5, refusals=1) as server:
        assert await asyncio.to_thread(insert, server.url) == 20
        assert refusals(server) > 1, "with HTTP 429 as well"
