"""Attempts are made again while that may help, and what is said at the end is what is known."""

import asyncio
from random import Random
from typing import Any

import pytest

from streamd.errors import StoreUnavailable, UnknownOutcome
from streamd.stores.failure import Failure, open_in_time, persist

PASSING = Failure("BUSY", "it is busy", repeat=True)
LASTING = Failure("FULL", "it is full", repeat=False)
FOREIGN = Failure("OWNER", "it has changed hands", repeat=True)
SILENT = Failure("SILENT", "it does not answer", repeat=True)
CUT = Failure("LOST", "it hung up", repeat=True, executed=True)


class Place:
    """Answers attempts as it is told to, the last answer for ever."""

    def __init__(self, *answers: str | Failure, taken_over: Failure | None = None) -> None:
        self._answers = list(answers)
        self._taken_over = taken_over
        self.seen: list[str] = []
        self.patience: list[float] = []

    async def attempt(self, seconds: float) -> str:
        self.patience.append(seconds)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        self.seen.append("attempt")
        if isinstance(answer, Failure):
            raise answer
        return answer

    async def take_over(self, seconds: float) -> None:
        assert seconds >= 0
        self.seen.append("take over")
        if self._taken_over is not None:
            raise self._taken_over

    async def persist(self, deadline: float = 10.0, **options: Any) -> str:
        async with asyncio.timeout(20):
            return await persist(
                self.attempt, self.take_over, deadline=deadline, random=Random(1), **options
            )


async def test_what_passes_is_tried_again() -> None:
    place = Place(PASSING, PASSING, SILENT, "done")
    assert await place.persist() == "done"
    assert place.patience[0] == 5.0, "time is left for a second one"
    assert 9.0 < place.patience[1] <= 10.0
    assert place.patience[1:] == sorted(place.patience[1:], reverse=True)


async def test_a_log_that_has_changed_hands_is_taken_over_before_the_next() -> None:
    place = Place(FOREIGN, "done")
    assert await place.persist() == "done"
    assert place.seen == ["attempt", "take over", "attempt"]


@pytest.mark.parametrize(
    "place", [Place(LASTING), Place(FOREIGN, taken_over=LASTING)], ids=["attempt", "take over"]
)
async def test_what_lasts_is_told_at_once(place: Place) -> None:
    with pytest.raises(StoreUnavailable, match="not available: it is full") as caught:
        await place.persist()
    assert caught.value.__cause__ is LASTING
    assert place.seen.count("attempt") == 1


async def test_what_may_have_been_written_is_not_called_unavailable() -> None:
    with pytest.raises(UnknownOutcome):
        await Place(CUT, LASTING).persist()
    with pytest.raises(StoreUnavailable, match="it is full"):
        await Place(CUT, LASTING).persist(writes=False)


async def test_the_deadline_ends_it_with_the_reason_that_says_most() -> None:
    begun = asyncio.get_running_loop().time()
    with pytest.raises(StoreUnavailable, match="it is busy"):
        await Place(PASSING, SILENT).persist(0.2)
    assert asyncio.get_running_loop().time() - begun < 5
    with pytest.raises(StoreUnavailable, match="it does not answer"):
        await Place(SILENT).persist(0.2)


# Opening.


async def test_what_is_just_starting_is_waited_for() -> None:
    place = Place(PASSING, SILENT, "open")
    begun = asyncio.get_running_loop().time()
    assert await open_in_time(place.attempt, 10.0) == "open"
    assert len(set(place.patience)) == 1
    assert begun + 10 <= place.patience[0] < begun + 15


async def test_what_can_not_be_opened_is_told_with_the_reason_that_says_most() -> None:
    with pytest.raises(Failure, match="it is full"):
        await open_in_time(Place(PASSING, LASTING).attempt, 10.0)
    with pytest.raises(Failure, match="it is busy"):
        await open_in_time(Place(PASSING, SILENT).attempt, 0.5)
