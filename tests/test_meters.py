"""streamd.meters: numbers in cells, and what they are called."""

import re

import pytest

from streamd.errors import InvalidParams
from streamd.meters import CELLS, OTHER, Meters, private_cells


def test_no_two_meters_share_a_cell() -> None:
    families = Meters(methods=["ping", "insert"]).families
    cells = [
        family.at + cell
        for family in families
        for cell in range(family.width * max(1, len(family.values)))
    ]
    assert cells == list(range(len(cells)))
    assert len(cells) < CELLS - 1  # The last is the ledger's.


def test_names_are_as_prometheus_wants_them() -> None:
    families = Meters().families
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", family.name)
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket"))
        assert family.help.endswith(".")
        assert not re.search(r"_(ms|kb|mb|minutes)(_|$)", family.name), "units are base units"


def test_counting() -> None:
    cells = private_cells()
    meters = Meters(cells, ["ping"])
    meters.inserted.add()
    meters.inserted.add(2)
    meters.connections.add(5)
    meters.connections.add(-1)
    meters.postings.set(7)
    at = {family.name: family.at for family in meters.families}
    assert [cells[at[name]] for name in ("inserted_entries", "connections", "postings")] == [
        3,
        4,
        7,
    ]


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(-1, 0), (0, 0), (0.0005, 0), (0.00051, 1), (10, 13), (10.1, 14)]
)
def test_a_histogram_counts_where_the_time_belongs(seconds: float, bucket: int) -> None:
    cells = private_cells()
    meters = Meters(cells)
    meters.delivery.observe(seconds, times=3)
    (family,) = [each for each in meters.families if each.name == "insert_to_socket_seconds"]
    counts = cells[family.at : family.at + family.width].tolist()
    assert counts.pop() == pytest.approx(3 * seconds)
    assert counts.pop(bucket) == 3
    assert not any(counts)


def test_labels_are_those_that_are_known_and_one_for_all_others() -> None:
    meters = Meters(methods=["ping"])
    for name in ("made up", "made up as well"):
        meters.calls[name].observe(0.1)
        assert meters.calls[name] is meters.calls["unknown"]
    assert meters.calls["ping"] is not meters.calls["unknown"]
    assert len(meters.calls) == 1
    values = {family.name: family.values for family in meters.families}
    assert values["call_duration_seconds"] == ("ping", OTHER)
    assert str(InvalidParams.code) in values["call_errors"]
    assert meters.call_errors[InvalidParams.code] is not meters.call_errors[1]


def test_the_next_worker_goes_on_with_the_counters_and_not_with_the_gauges() -> None:
    cells = private_cells()
    first = Meters(cells)
    first.inserted.add(3)
    first.connections.add(5)
    first.store["append"].observe(0.1)
    second = Meters(cells)
    second.inserted.add()
    at = {family.name: family.at for family in second.families}
    assert cells[at["inserted_entries"]] == 4
    assert cells[at["connections"]] == 0
    assert cells[at["workers"]] == 1
    assert sum(cells[at["store_duration_seconds"] :][:15].tolist()) == 1
