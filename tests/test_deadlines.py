"""streamd.deadlines: each is told once, at its time."""

import asyncio
import random

import pytest

from streamd.deadlines import Deadlines


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.25

    def __call__(self) -> float:
        return self.now


class Thing:
    def __init__(self, name: int = 0) -> None:
        self.name = name

    def expire(self) -> None:
        """Nothing follows."""


def test_each_is_due_within_a_second_after_its_time_and_never_before() -> None:
    clock = Clock()
    deadlines = Deadlines(clock)
    rng = random.Random(7)
    times = {Thing(n): rng.choice([0.0, -5.0, 0.5, rng.uniform(0, 20_000)]) for n in range(500)}
    began = clock.now
    for thing, seconds in times.items():
        deadlines.set(thing, seconds)
    seen = {}
    while deadlines:
        clock.now += rng.choice([0.01, 0.5, 1.0, 1.0, 7.3, 100.0])
        step = clock.now
        for thing in deadlines.due():
            assert thing not in seen
            seen[thing] = step
            assert step >= began + times[thing]  # type: ignore[index]  # only things are in it
    assert len(seen) == len(times)
    assert not deadlines._steps


def test_a_second_is_the_most_that_it_is_late() -> None:
    clock = Clock()
    deadlines = Deadlines(clock)
    for tenth in range(100):
        deadlines.set(Thing(tenth), tenth / 10)
    for tenth in range(120):
        clock.now = 1_000.25 + tenth / 10
        deadlines.due()
        late = [t for t in deadlines._at if clock.now - 1_000.25 - t.name / 10 > 1]  # type: ignore[attr-defined]  # it is a Thing
        assert not late


def test_the_last_time_that_is_said_counts() -> None:
    clock = Clock()
    deadlines, thing = Deadlines(clock), Thing()
    deadlines.set(thing, 5)
    deadlines.set(thing, 10)
    clock.now += 7
    assert deadlines.due() == []
    deadlines.set(thing, 1)
    clock.now += 2
    assert deadlines.due() == [thing]
    assert deadlines.due() == []


def test_what_is_forgotten_is_not_told_and_takes_no_room() -> None:
    clock = Clock()
    deadlines = Deadlines(clock)
    for number in range(10_000):
        thing = Thing(number)
        deadlines.set(thing, number * 10)
        deadlines.forget(thing)
        deadlines.forget(thing)
    assert (len(deadlines), deadlines._steps) == (0, {})
    clock.now += 1e6
    assert deadlines.due() == []


def test_a_process_that_stood_still_for_years_goes_on_at_once() -> None:
    clock = Clock()
    deadlines, soon, far = Deadlines(clock), Thing(), Thing()
    deadlines.set(soon, 10)
    deadlines.set(far, 20 * 365 * 86_400)
    clock.now += 10 * 365 * 86_400
    assert deadlines.due() == [soon]
    clock.now += 10 * 365 * 86_400 + 1
    assert deadlines.due() == [far]


async def test_who_gets_a_later_time_while_others_are_told_is_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamd.deadlines._STEP", 0)
    clock, told = Clock(), []
    deadlines = Deadlines(clock)

    class Told(Thing):
        def expire(self) -> None:
            told.append(self.name)
            if self.name == 0:
                deadlines.set(things[-1], 10)

    things = [Told(number) for number in range(300)]
    for thing in things:
        deadlines.set(thing, 1)
    clock.now += 2
    running = asyncio.create_task(deadlines.run())
    while len(told) < 299:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert told == list(range(299))
    clock.now += 11
    while len(told) < 300:
        await asyncio.sleep(0)
    running.cancel()
