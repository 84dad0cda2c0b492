"""streamd.fairqueue: in which order what waits is done."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from streamd.fairqueue import FairQueue

Work = tuple[str, int, int]
"""Whose it is, its number among those of the source, and its size."""


def take_next(queue: FairQueue[Work]) -> Work:
    work = queue.next()
    assert queue.take(work[0])[1] == work
    return work


def filled(*works: Work) -> FairQueue[Work]:
    queue: FairQueue[Work] = FairQueue()
    for work in works:
        queue.push(work[0], work, work[2])
    return queue


def in_order(queue: FairQueue[Work]) -> list[Work]:
    return [take_next(queue) for _ in range(len(queue))]


def test_what_is_small_goes_before_what_is_large_and_equals_as_they_came() -> None:
    works = [("a", 0, 700), ("b", 0, 700), ("c", 0, 5), ("d", 0, 5)]
    assert in_order(filled(*works)) == [works[2], works[3], works[0], works[1]]


def test_sources_with_much_take_turns() -> None:
    works = [(source, number, 10) for source in "abc" for number in range(3)]
    assert in_order(filled(*works)) == sorted(works, key=lambda work: work[1])


def test_who_comes_later_with_little_waits_for_none_that_is_large_however_many_there_are() -> None:
    queue = filled(*[(f"flood {n}", 0, 1_000) for n in range(100)])
    for turn in range(300):
        # Each of the flood comes again at once, as one does that waits for its answer.
        source, number, _ = take_next(queue)
        queue.push(source, (source, number + 1, 1_000), 1_000)
        if turn % 7 == 3:
            queue.push("small", ("small", turn, 1), 1)
            assert take_next(queue) == ("small", turn, 1)


def test_who_has_asked_for_much_lately_has_no_debt_and_who_was_silent_no_credit() -> None:
    queue = filled(*[("a", number, 10) for number in range(50)])
    in_order(queue)
    for number in range(4):
        queue.push("a", ("a", number, 10), 10)
        queue.push("silent", ("silent", number, 10), 10)
    assert [work[0] for work in in_order(queue)] == ["a", "silent"] * 4


def test_the_oldest_can_be_taken_before_its_turn() -> None:
    queue = filled(("a", 0, 100), ("b", 0, 1), ("a", 1, 100), ("b", 1, 1))
    assert queue.oldest() == ("a", 0, 100)
    assert queue.take("a")[1] == ("a", 0, 100)
    assert queue.oldest() == ("b", 0, 1)
    assert in_order(queue) == [("b", 0, 1), ("b", 1, 1), ("a", 1, 100)]


def test_what_is_dropped_costs_nothing_and_leaves_nothing() -> None:
    queue = filled(("a", 0, 100), ("a", 1, 100), ("b", 0, 150))
    assert queue.drop("a") == ("a", 0, 100)
    # What was behind it has its place.
    assert in_order(queue) == [("a", 1, 100), ("b", 0, 150)]
    for number in range(10_000):
        queue.push(number, ("late", number, 1_000), 1_000)
        queue.push("x", ("x", number, 1), 1)
        take_next(queue)
        queue.drop(number)
    assert len(queue) == 0
    assert len(queue._stamps) < 200
    assert not queue._lines
    assert not queue._current


def test_everything_is_taken_as_it_came_and_nothing_is_left_of_it() -> None:
    works = [("a", 0, 700), ("b", 0, 1), ("a", 1, 1), ("c", 0, 5), ("b", 1, 1)]
    queue = filled(*works)
    queue.drop("c")
    assert queue.take_all() == [work for work in works if work[0] != "c"]
    assert len(queue) == 0
    assert queue.take_all() == []
    queue.push("a", works[0], 700)
    queue.push("b", works[1], 1)
    assert in_order(queue) == [works[1], works[0]]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["push", "push", "push", "next", "oldest", "drop"]),
            st.sampled_from("abcdef"),
            st.integers(1, 1_000),
        )
    )
)
def test_each_goes_once_and_those_of_a_source_in_their_order(
    steps: list[tuple[str, str, int]],
) -> None:
    queue: FairQueue[Work] = FairQueue()
    waiting: list[Work] = []
    pushed: Counter[str] = Counter()
    for step, source, cost in steps:
        assert len(queue) == len(waiting)
        if step == "push":
            work = (source, pushed[source], cost)
            pushed[source] += 1
            queue.push(source, work, cost)
            waiting.append(work)
        elif waiting:
            assert queue.oldest() == waiting[0]
            chosen = queue.next() if step == "next" else queue.oldest()
            assert chosen == next(work for work in waiting if work[0] == chosen[0])
            if step == "drop":
                assert queue.drop(chosen[0]) == chosen
            else:
                number, taken = queue.take(chosen[0])
                assert taken == chosen
                assert all(number < later for later in queue._ages) == (chosen == waiting[0])
            waiting.remove(chosen)
    assert sorted(in_order(queue)) == sorted(waiting)
