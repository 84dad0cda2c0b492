"""streamd.meters: what is counted, and what it is called."""

import re

from streamd.cells import CELLS, OTHER
from streamd.errors import InvalidParams
from streamd.meters import Meters


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
