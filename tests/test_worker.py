"""streamd.worker: the parts put together, opened and closed."""

import asyncio

import orjson
import pytest

import streamd.watch
from streamd.cursor import Chain
from streamd.errors import InvalidParams, StartupError, StoreUnavailable
from streamd.limits import Limits
from streamd.stores.base import Stream
from streamd.stores.memory import MemoryStore
from streamd.worker import Worker
from tests.parts import DEADLINE, KEYS, Client, ScriptedStore, serving

STREAM = Stream("test", KEYS, Limits(store_deadline=0.05))


async def test_what_one_peer_inserts_another_sees() -> None:
    async with serving() as worker:
        one, other = Client(worker), Client(worker)
        await other.call("subscribe")
        await one.call("insert", {"event": {"user": 1}})
        await other.transport.until(lambda: other.transport.events())
        assert other.transport.events() == [{"user": 1}]
        assert orjson.loads(await worker.call("items", {})) == [{"user": 1}]
        with pytest.raises(InvalidParams):
            await worker.call("items", {"colour": 1})


async def test_it_goes_on_where_its_store_is() -> None:
    store = ScriptedStore(Chain("aaaaaaaa"), [])
    store.add(*[{"user": n} for n in range(5)])
    async with serving(store) as worker:
        assert len(orjson.loads(await worker.call("items", {}))) == 5


async def test_closing_twice_is_closing_once_and_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    worker = Worker(MemoryStore("memory:", STREAM), STREAM)
    await worker.open()
    assert worker.watch.ready
    assert asyncio.all_tasks() > before
    await worker.aclose()
    await worker.aclose()
    assert not worker.watch.ready
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    ("failure", "seen"),
    [
        (StoreUnavailable("the disk is gone"), StartupError),
        (ZeroDivisionError("the disk is gone"), ZeroDivisionError),
    ],
)
async def test_a_store_that_can_not_be_read_keeps_it_from_starting(
    failure: Exception, seen: type[Exception]
) -> None:
    class Closing(ScriptedStore):
        closed = False

        async def aclose(self) -> None:
            self.closed = True

    store = Closing(Chain("aaaaaaaa"), [])
    store.failures.append(failure)
    worker = Worker(store, STREAM)
    with pytest.raises(seen, match="the disk is gone"):
        await worker.open()
    assert store.closed
    assert not worker.watch.ready
    await worker.aclose()


async def test_it_is_ready_as_long_as_the_store_answers_and_the_tail_keeps_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streamd.watch, "_LOOK", 0.001)

    async def until(ready: bool) -> None:
        async with asyncio.timeout(DEADLINE):
            while worker.watch.ready != ready:
                await asyncio.sleep(0.001)

    store = ScriptedStore(Chain("aaaaaaaa"), [])
    worker = Worker(store, STREAM)
    await worker.open()
    await until(True)
    store.gate.clear()
    await until(False)
    store.gate.set()
    await until(True)
    store.add({"user": 1})  # the tail does not bring it
    await until(False)
    store.say(0)
    await until(True)
    # Whatever a look ended with, it looks again.
    store.failures += [StoreUnavailable(), ZeroDivisionError()]
    async with asyncio.timeout(DEADLINE):
        while store.failures:
            await asyncio.sleep(0.001)
    store.gate.clear()
    await until(False)
    store.gate.set()
    await until(True)
    await worker.aclose()
