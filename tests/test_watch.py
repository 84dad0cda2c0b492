"""streamd.watch: whether a worker can serve, and how far behind it is."""

import asyncio
import time
from collections.abc import Iterator

import pytest

import streamd.watch
from streamd.cursor import Chain
from streamd.errors import StoreUnavailable
from tests.harness import running, until
from tests.parts import Client, ScriptedStore, memory, serving, turns
from tests.services import PostgresServer, RedisServer
from tests.test_metrics import counted

CHAIN = Chain("aaaaaaaa")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(streamd.watch, "_LOOK", 0.005)
    monkeypatch.setattr(streamd.watch, "_BEAT", 0.005)
    return


async def test_a_tail_without_a_sign_of_life_does_not_follow(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(streamd.watch, "_SILENCE", 0.05)
    store = ScriptedStore(CHAIN, [])
    async with serving(store) as worker:
        await until(lambda: not worker.watch.ready)
        assert counted(worker.meters)["streamd_ready_workers"] == 0
        assert "not ready: the tail gives no sign of life" in caplog.text
        store.say(0)  # nothing new
        await until(lambda: worker.watch.ready)
        assert counted(worker.meters)["streamd_ready_workers"] == 1


async def test_what_is_the_matter_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    store = ScriptedStore(CHAIN, [])
    async with serving(store, store_deadline=0.01) as worker:
        for _ in range(2):
            store.gate.clear()
            await until(lambda: not worker.watch.ready)
            await asyncio.sleep(0.05)
            store.gate.set()
            await until(lambda: worker.watch.ready)
    told = [record.message for record in caplog.records if record.name == "streamd.watch"]
    assert told == ["not ready: the store did not answer in time"] * 2


async def test_a_worker_whose_tail_has_ended_is_not_alive() -> None:
    class Broken(ScriptedStore):
        async def tail(self, since: int, chain: Chain):  # type: ignore[no-untyped-def]
            yield await self.runs.get()
            raise ZeroDivisionError

    store = Broken(CHAIN, [])
    async with serving(store) as worker:
        assert worker.watch.alive
        store.say(0)
        await until(lambda: not worker.watch.ready)
        assert not worker.watch.alive


async def test_a_store_that_is_away_leaves_it_alive() -> None:
    store = ScriptedStore(CHAIN, [])
    async with serving(store, store_deadline=0.01) as worker:
        store.failures += [StoreUnavailable()] * 50
        await until(lambda: not worker.watch.ready)
        assert worker.watch.alive


@pytest.mark.parametrize(
    "service",
    [
        pytest.param("new_redis", marks=pytest.mark.redis),
        pytest.param("new_postgres", marks=pytest.mark.postgres),
    ],
)
async def test_a_store_that_stands_still_is_seen_though_nobody_inserts_or_asks(
    service: str, request: pytest.FixtureRequest
) -> None:
    store: RedisServer | PostgresServer = request.getfixturevalue(service)()
    url = store.url if isinstance(store, RedisServer) else store.url()
    async with running(store=url, store_deadline=1.5) as server:
        worker = server.application.gate.worker
        errors = "streamd_store_errors_total/{}".format
        store.pause()
        await until(lambda: counted(worker.meters)[errors("state")] >= 2)
        await until(lambda: counted(worker.meters)[errors("tail")] == 1)
        found = counted(worker.meters)
        assert found["streamd_tail_lag_seconds"] > 1
        assert found["streamd_ready_workers"] == 0
        store.resume()
        await until(lambda: counted(worker.meters)["streamd_ready_workers"])
        await until(lambda: counted(worker.meters)["streamd_store_reconnects_total"])


async def test_the_lag_of_the_tail_in_entries_and_seconds() -> None:
    store = ScriptedStore(CHAIN, [])
    async with serving(store, store_deadline=0.01) as worker:

        def lag() -> tuple[float, float]:
            found = counted(worker.meters)
            return found["streamd_tail_lag_entries"], found["streamd_tail_lag_seconds"]

        store.add(*[{"user": 1}] * 7)
        await until(lambda: lag()[0] == 7 and lag()[1] > 0.1)
        store.say(0, 5)
        await until(lambda: lag()[0] == 2)
        assert lag()[1] > 0.1
        store.say(5)
        await until(lambda: lag() == (0, 0))


async def test_how_late_the_event_loop_is() -> None:
    begun = time.monotonic()
    async with serving() as worker:
        name = "streamd_loop_lag_seconds_{}".format

        def samples() -> tuple[float, float, float]:
            """Return how many there are, the sum of them, and how many are of over 0.1 s."""
            found = counted(worker.meters)
            count = found[name("count")]
            return count, found[name("sum")], count - found[name("bucket/0.1")]

        await until(lambda: samples()[0] > 3)
        count, before, late_before = samples()
        time.sleep(0.12)  # noqa: ASYNC251 - that is the point
        await until(lambda: samples()[0] > count + 1)
        _, after, late = samples()
        assert after - before > 0.11
        assert late > late_before
        # A busy machine holds the loop up besides, but never for longer than all has taken.
        passed = time.monotonic() - begun
        assert after < passed
        assert late * 0.1 < passed


async def test_postings_are_those_of_live_subscriptions() -> None:
    async with serving(memory()) as worker:
        client = Client(worker)
        await client.call("subscribe", {"filter": {"user": [1, 2, 3]}})
        await until(lambda: counted(worker.meters)["streamd_postings"] == 3)
        assert counted(worker.meters)["streamd_subscriptions"] == 1
        client.session.close()
        await turns()
        await until(lambda: counted(worker.meters)["streamd_postings"] == 0)


async def test_what_the_process_uses() -> None:
    async with serving() as worker:
        before = counted(worker.meters)
        until_then = time.process_time() + 0.05
        while time.process_time() < until_then:
            pass
        await until(
            lambda: (
                counted(worker.meters)["streamd_cpu_seconds_total"]
                >= before["streamd_cpu_seconds_total"] + 0.05
            )
        )
        used = counted(worker.meters)
        assert used["streamd_cpu_seconds_total"] <= time.process_time()
        assert 10 << 20 < used["streamd_resident_memory_bytes"] < 10 << 30
        assert used["streamd_worker_starts_total"] == 1
