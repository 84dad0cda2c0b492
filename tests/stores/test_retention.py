"""Retention goes on through whatever happens to the log's place, and tells of it once."""

import asyncio
import logging
from random import Random

import pytest

import streamd.stores.outage
from streamd.errors import StoreUnavailable
from streamd.stores.retention import Retention

LOGGER = logging.getLogger("streamd.stores.scripted")


class Scripted(Retention):
    """Its steps end as they are told to."""

    def __init__(self, *ends: float | Exception | None) -> None:
        super().__init__("the place", LOGGER, Random(1))
        self._pause = 0.0
        self.ends = list(ends)

    async def step(self) -> float | None:
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end


async def told(retention: Retention, caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    caplog.set_level(logging.INFO, LOGGER.name)
    async with asyncio.timeout(10):
        await retention.serve()
    return [(record.levelname, record.message) for record in caplog.records]


async def test_it_goes_on_until_nothing_will_ever_be_to_forget(
    caplog: pytest.LogCaptureFixture,
) -> None:
    retention = Scripted(0.0, 0.001, None, 0.0)
    assert await told(retention, caplog) == []
    assert retention.ends == [0.0]


async def test_an_outage_is_told_once_and_that_it_is_over(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamd.stores.outage, "_CALM", 0)
    gone = StoreUnavailable("it is gone")
    waits = [
        ("WARNING", f"retention waits for the place: {gone}"),
        ("INFO", "retention goes on"),
    ]
    assert await told(Scripted(gone, gone, gone, 0.0, 0.0, gone, None), caplog) == waits * 2


async def test_a_defect_ends_it_and_is_seen(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ZeroDivisionError):
        await told(Scripted(ZeroDivisionError()), caplog)
    (record,) = caplog.records
    assert (record.levelname, record.message) == (
        "CRITICAL",
        "retention has ended; nothing is forgotten any more",
    )


async def test_pauses_differ_from_worker_to_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await Scripted(*[8.0] * 20, None).serve()
    assert 4 <= min(slept) < 5 < 7 < max(slept) <= 8
