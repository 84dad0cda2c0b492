"""streamd.turns: everybody's work in order, so much in one round of the loop, and at once where nobody waits."""

import asyncio
from collections.abc import Callable

import pytest

from streamd.turns import MUCH, Line, Turns
from tests import parts

HALF_A_MS = 0.00051
"""And a little more: sums of floats are not exact."""


class Clock:
    """Time that passes only where a piece of work says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turns(clock: Clock) -> Turns:
    return Turns(clock)


def working(clock: Clock, done: list[str], name: str, times: int) -> Callable[[], bool]:
    """Return a step that takes half a millisecond, and is to be done some times."""
    left = times

    def step() -> bool:
        nonlocal left
        left -= 1
        clock.now += HALF_A_MS
        done.append(name)
        return left > 0

    return step


async def test_each_has_a_share_and_then_the_next(clock: Clock, turns: Turns) -> None:
    done: list[str] = []
    for name in "abc":
        turns.add(working(clock, done, name, 3))
    assert done == [], "nothing is done from inside of the call"
    await parts.turns()
    assert "".join(done) == "aabbccabc"


async def test_one_round_of_the_loop_does_no_more_than_its_allowance(
    clock: Clock, turns: Turns
) -> None:
    done: list[str] = []
    for name in range(100):
        turns.add(working(clock, done, str(name), 2))
    rounds = 0
    while len(done) < 200:
        before = len(done)
        await asyncio.sleep(0)
        rounds += 1
        assert len(done) - before <= 6
    assert done == sorted(done, key=int)
    assert rounds <= 36


async def test_a_lone_piece_is_done_at_once_until_the_allowance_is_used(
    clock: Clock, turns: Turns
) -> None:
    done: list[str] = []
    for count in range(6):
        work = turns.do(working(clock, done, "x", 1))
        with pytest.raises(StopIteration):
            work.send(None)
        assert len(done) == count + 1
    assert not turns.free()
    await turns.do(working(clock, done, "x", 1))
    assert turns.free()
    assert len(done) == 7


async def test_who_comes_while_others_wait_stands_in_line(clock: Clock, turns: Turns) -> None:
    done: list[str] = []
    turns.add(working(clock, done, "a", 1))
    assert not turns.free()
    await turns.do(working(clock, done, "b", 1))
    assert done == ["a", "b"]


async def test_what_is_begun_here_and_done_elsewhere_counts(turns: Turns) -> None:
    turns.spend(0.002)
    assert turns.free()
    turns.spend(0.002)
    assert not turns.free()
    await turns.do(lambda: None)
    assert turns.free()


async def test_inside_of_a_piece_all_is_part_of_it(clock: Clock, turns: Turns) -> None:
    done: list[str] = []

    def piece() -> None:
        assert turns.free()
        turns.run(working(clock, done, "inner", 1))

    turns.add(piece)
    turns.add(piece)
    await parts.turns()
    assert done == ["inner", "inner"]
    for _ in range(4):
        turns.run(piece)
    assert not turns.free(), "its time counts once"


async def test_each_of_many_is_done_in_shares(clock: Clock, turns: Turns) -> None:
    done: list[str] = []

    def work(number: int) -> int:
        clock.now += HALF_A_MS
        done.append("x")
        return number * 2

    turns.spend(1)
    doubled = asyncio.create_task(turns.each(work, range(6)))
    await asyncio.sleep(0)
    turns.add(working(clock, done, "y", 3))
    assert await doubled == [0, 2, 4, 6, 8, 10]
    assert "".join(done) == "xxyyyxxxx"


async def test_a_defect_keeps_nobody_from_his_turn(
    clock: Clock, turns: Turns, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []

    def fail() -> None:
        raise ZeroDivisionError

    turns.add(fail)
    turns.add(working(clock, done, "a", 1))
    with pytest.raises(ZeroDivisionError):
        await turns.do(fail)
    assert done == ["a"]
    assert [record.message for record in caplog.records] == ["a piece of work failed"]


async def test_who_gives_up_is_passed_over(clock: Clock, turns: Turns) -> None:
    done: list[str] = []
    turns.spend(1)
    given_up = asyncio.create_task(turns.do(working(clock, done, "b", 1)))
    await asyncio.sleep(0)
    turns.add(working(clock, done, "a", 1))
    given_up.cancel()
    await parts.turns()
    assert done == ["a"]


async def test_newcomers_come_after_the_others_and_have_a_part_of_each_round(
    clock: Clock, turns: Turns
) -> None:
    done: list[str] = []
    for _ in range(4):
        turns.add(working(clock, done, "n", 2), Line.NEWCOMERS)
    for _ in range(8):
        turns.add(working(clock, done, "o", 2))
    await asyncio.sleep(0)
    assert "".join(done) == "oooonn"
    await parts.turns()
    assert "".join(done) == "oooonn" * 4, "nobody starves"


async def test_newcomers_have_their_part_however_long_the_others_take(
    clock: Clock, turns: Turns
) -> None:
    done: list[str] = []

    def long() -> bool:
        clock.now += 1
        done.append("o")
        return True

    turns.add(long)
    turns.add(working(clock, done, "n", 2), Line.NEWCOMERS)
    await asyncio.sleep(0)
    assert "".join(done) == "onn"
    turns.add(working(clock, done, "n", 2), Line.NEWCOMERS)
    await asyncio.sleep(0)
    assert "".join(done) == "onnonn"
    await asyncio.sleep(0)
    assert "".join(done) == "onnonno", "what is the newcomers' is the others' while none waits"


async def test_newcomers_alone_have_the_whole_of_a_round(clock: Clock, turns: Turns) -> None:
    done: list[str] = []
    for name in "abcd":
        turns.add(working(clock, done, name, 2), Line.NEWCOMERS)
    await asyncio.sleep(0)
    assert "".join(done) == "aabbcc"


async def test_after_a_piece_that_took_long_the_lines_behind_the_first_rest(
    clock: Clock, turns: Turns
) -> None:
    done: list[str] = []

    def large() -> None:
        clock.now += 0.03
        done.append("l")

    turns.add(large, Line.BULK)
    turns.add(large, Line.BULK)
    for _ in range(10):
        turns.add(working(clock, done, "o", 1))
        await asyncio.sleep(0)
    assert "".join(done) == "ol" + "o" * 8 + "ol"
    turns.add(working(clock, done, "o", 1))
    await asyncio.sleep(0)
    assert turns.free()
    assert not turns.free(Line.BULK), "whoever comes next waits, too"


async def test_who_brings_much_does_not_stand_behind_newcomers(clock: Clock, turns: Turns) -> None:
    done: list[str] = []
    for _ in range(4):
        turns.add(working(clock, done, "n", 2), Line.NEWCOMERS)
    turns.add(working(clock, done, "m", 4), Line.BULK)
    turns.add(working(clock, done, "o", 8))
    await parts.turns()
    assert "".join(done) == "oooonn" + "oooomm" + "nnmmnn" + "nn"


async def test_only_newcomers_wait_for_newcomers(clock: Clock, turns: Turns) -> None:
    assert turns.free(Line.NEWCOMERS)
    turns.add(working(clock, [], "n", 1), Line.NEWCOMERS)
    assert not turns.free(Line.NEWCOMERS)
    assert turns.free()
    await parts.turns()
    assert turns.free(Line.NEWCOMERS)
    turns.add(working(clock, [], "o", 1))
    assert not turns.free(Line.NEWCOMERS)


async def test_a_large_message_is_read_in_the_line_for_it(clock: Clock, turns: Turns) -> None:
    done: list[str] = []

    def read(message: bytes) -> int:
        working(clock, done, "large" if len(message) > MUCH else "small", 1)()
        return len(message)

    for _ in range(8):
        turns.add(working(clock, done, "other", 1))
    waiting = [asyncio.ensure_future(turns.read(read, b" " * size)) for size in (MUCH + 1, MUCH)]
    assert await asyncio.gather(*waiting) == [MUCH + 1, MUCH]
    assert done == ["other"] * 8 + ["small", "large"]
    await asyncio.sleep(0)
    assert await turns.read(read, b" " * (MUCH + 1)) == MUCH + 1, "at once where nobody waits"
