"""An outage is told once, however many attempts fail, and once when it is over."""

import logging
from random import Random

import pytest

import streamd.stores.outage
from streamd.stores.outage import Outage, pause_of
from tests.stores.worlds import Told

LOGGER = logging.getLogger("streamd.stores.scripted")


def test_it_is_told_when_it_begins_and_when_it_is_over(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamd.stores.outage, "_CALM", 0)
    caplog.set_level(logging.INFO, LOGGER.name)
    observer = Told()
    outage = Outage(LOGGER, "it is lost", "it is back", observer)
    outage.succeed()
    for reason in ("first", ValueError("another")):
        for _ in range(3):
            outage.fail(reason)
        assert outage.failures == 3
        for _ in range(3):
            outage.succeed()
        assert outage.failures == 0
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "it is lost: first"),
        ("INFO", "it is back"),
        ("WARNING", "it is lost: another"),
        ("INFO", "it is back"),
    ]
    assert observer.told == ["lost", "found"] * 2


def test_what_comes_and_goes_is_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, LOGGER.name)
    observer = Told()
    outage = Outage(LOGGER, "it is lost", "it is back", observer)
    for _ in range(100):
        outage.fail("now and then")
        assert outage.failures == 1
        outage.succeed()
    assert observer.told == ["lost", "found"] * 100
    monkeypatch.setattr(streamd.stores.outage, "_CALM", 0)
    outage.succeed()
    outage.succeed()
    assert caplog.messages == ["it is lost: now and then", "it is back"]


def test_pauses_grow_to_a_bound_and_are_spread() -> None:
    random = Random(1)
    for failures, longest in ((1, 0.1), (2, 0.2), (5, 1.6), (6, 2.0), (10_000, 2.0)):
        pauses = [pause_of(failures, random) for _ in range(200)]
        assert 0.2 * longest <= min(pauses) < 0.3 * longest
        assert 0.9 * longest < max(pauses) <= longest
