"""streamd.stores.measured: how long a store takes, and how often it fails."""

import asyncio

import pytest

from streamd.cursor import Chain
from streamd.errors import StoreUnavailable
from streamd.filters import EVERYTHING
from streamd.meters import Meters
from streamd.stores.measured import MeasuredStore
from tests.parts import KEYS, PLENTY, ScriptedStore, draft, memory


def counts(meters: Meters, name: str) -> dict[str, float]:
    """Return how often each operation was counted."""
    (family,) = [each for each in meters.families if each.name == name]
    width = family.width
    cells = [meters._cells[family.at + cell] for cell in range(width * len(family.values))]
    some = {
        value: sum(cells[number * width : (number + 1) * width][: max(1, width - 1)])
        for number, value in enumerate(family.values)
    }
    return {value: count for value, count in some.items() if count}


async def test_all_is_passed_on_and_measured() -> None:
    meters, times = Meters(), iter([1.0, 1.004] + [2.0, 2.0] * 9)
    async with MeasuredStore(memory(), meters, lambda: next(times)) as store:
        await store.append([[draft({"user": 1})]], "1")
        assert (await store.state()).head == 1
        assert len((await store.newest(EVERYTHING, PLENTY)).entries) == 1
        assert len((await store.after(0, EVERYTHING, PLENTY)).entries) == 1
        tail = store.tail(0, Chain(""))
        assert len((await anext(tail)).entries) == 1
        await tail.aclose()
        assert store.upkeep().keys is KEYS
    assert counts(meters, "store_duration_seconds") == dict.fromkeys(
        ("append", "state", "newest", "after"), 1
    )
    assert counts(meters, "store_errors") == {}
    (family,) = [each for each in meters.families if each.name == "store_duration_seconds"]
    assert meters._cells[family.at + 3] == 1  # of append: 4 ms


async def test_failures_are_counted_and_passed_on() -> None:
    inner = ScriptedStore(Chain("aaaaaaaa"), [])
    meters = Meters()
    store = MeasuredStore(inner, meters)
    for error in (StoreUnavailable(), ZeroDivisionError()):
        inner.failures.append(error)
        with pytest.raises(type(error)):
            await store.state()
    assert counts(meters, "store_errors") == {"state": 2}
    assert counts(meters, "store_duration_seconds") == {"state": 2}
    inner.gate.clear()
    asking = asyncio.create_task(store.state())
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    assert counts(meters, "store_errors") == {"state": 2}, "to be cancelled is no failure"


async def test_what_the_tail_meets_is_counted() -> None:
    meters = Meters()
    inner = memory()
    MeasuredStore(inner, meters)
    inner.observer.lost()
    inner.observer.found()
    inner.observer.repaired()
    assert counts(meters, "store_errors") == {"tail": 1}
    for counter in (meters.reconnects, meters.gap_repairs):
        assert counter._cells[counter._at] == 1
