"""streamd.cells: counters, gauges and histograms in the cells of a row."""

import pytest

from streamd.cells import OTHER, Cells, Layout, private_cells


class Some(Layout):
    """One meter of each kind."""

    def __init__(self, cells: Cells) -> None:
        super().__init__(cells)
        self.made = self._counter("made", "Things made.")
        self.here = self._gauge("here", "Things that are here.")
        self.time = self._histogram("time_seconds", "Time that a thing took.")
        self.failed = self._counters("failed", "Things that failed.", "code", (1, 2))
        self.times = self._histograms("times_seconds", "Time by kind.", "kind", ("a", "b"))
        self.ends = self._gauge("ends", "When the first ends.", "lowest")


def of(meters: Layout, name: str) -> list[float]:
    """Return the cells of a name."""
    (family,) = [each for each in meters.families if each.name == name]
    width = family.width * max(1, len(family.values))
    return meters._cells[family.at : family.at + width].tolist()


def test_counting() -> None:
    meters = Some(private_cells())
    meters.made.add()
    meters.made.add(2)
    meters.here.add(5)
    meters.here.add(-1)
    meters.ends.set(7)
    assert (of(meters, "made"), of(meters, "here"), of(meters, "ends")) == ([3], [4], [7])
    assert [family.name for family in meters.families if family.is_gauge] == ["here", "ends"]


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(-1, 0), (0, 0), (0.0005, 0), (0.00051, 1), (10, 13), (10.1, 14)]
)
def test_a_histogram_counts_where_the_time_belongs(seconds: float, bucket: int) -> None:
    meters = Some(private_cells())
    meters.time.observe(seconds, times=3)
    counts = of(meters, "time_seconds")
    assert counts.pop() == pytest.approx(3 * seconds)
    assert counts.pop(bucket) == 3
    assert not any(counts)


def test_labels_are_those_that_are_known_and_one_for_all_others() -> None:
    meters = Some(private_cells())
    for code in (1, 3, 4):
        meters.failed[code].add()
    assert of(meters, "failed") == [1, 0, 2]
    assert len(meters.failed) == 2, "nobody's codes are kept"
    meters.times["b"].observe(0.1)
    meters.times["made up"].observe(0.1, 2)
    cells = of(meters, "times_seconds")
    width = len(cells) // 3
    counts = [sum(cells[at : at + width - 1]) for at in (0, width, 2 * width)]
    assert counts == [0, 1, 2]
    values = {family.name: family.values for family in meters.families}
    assert (values["failed"], values["times_seconds"]) == (("1", "2", OTHER), ("a", "b", OTHER))


def test_who_takes_the_row_next_goes_on_with_the_counters_and_not_with_the_gauges() -> None:
    cells = private_cells()
    first = Some(cells)
    first.made.add(3)
    first.here.add(5)
    first.ends.set(7)
    first.times["a"].observe(0.1)
    second = Some(cells)
    second.made.add()
    assert (of(second, "made"), of(second, "here"), of(second, "ends")) == ([4], [0], [0])
    assert sum(of(second, "times_seconds")[:15]) == 1
