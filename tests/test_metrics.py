"""streamd.metrics: the text that Prometheus reads, by way of its own parser."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse

from streamd import __version__
from streamd.cells import private_cells
from streamd.ledger import Row
from streamd.meters import Meters
from streamd.metrics import expose


def samples(text: bytes) -> dict[str, float]:
    """Return all samples by name and labels."""
    return {
        sample.name + "".join(f"/{value}" for value in sample.labels.values()): sample.value
        for family in parse(text.decode())
        for sample in family.samples
    }


def counted(meters: Meters) -> dict[str, float]:
    """Return all samples of one worker, as they are now."""
    return samples(expose(meters.families, [Row(meters._cells.tolist(), alive=True)], "")[0])


def two_workers() -> tuple[Meters, list[Row]]:
    """Return the rows of two workers: one lives, one has died."""
    rows = []
    for number, alive in ((1, True), (10, False)):
        cells = private_cells()
        meters = Meters(cells, ["ping"])
        meters.inserted.add(number)
        meters.connections.add(number)
        meters.tail_lag_entries.set(number)
        meters.certificate_expiry.set(1_000 - number)
        meters.disconnects[1006].add(number)
        meters.disconnects[3333].add(number)
        meters.calls["ping"].observe(0.003, number)
        meters.calls["ping"].observe(60, number)
        meters.calls["made up\n"].observe(0.3)
        rows.append(Row(cells.tolist(), alive))
    return meters, rows


def test_counters_are_of_all_workers_ever_and_gauges_of_those_who_live() -> None:
    meters, rows = two_workers()
    text, media_type = expose(meters.families, rows, "")
    assert media_type.startswith("text/plain; version=0.0.4")
    found = samples(text)
    assert found["streamd_inserted_entries_total"] == 11
    assert found["streamd_disconnects_total/1006"] == 11
    assert found["streamd_disconnects_total/other"] == 11
    assert found["streamd_connections"] == 1
    assert found["streamd_tail_lag_entries"] == 1
    assert found["streamd_certificate_expiry_timestamp_seconds"] == 999
    assert found["streamd_workers"] == 1
    assert __version__ in text.decode()
    both = [row._replace(alive=True) for row in rows]
    found = samples(expose(meters.families, both, "")[0])
    assert found["streamd_connections"] == 11
    assert found["streamd_tail_lag_entries"] == 10, "each worker has a tail; the worst is told"
    assert found["streamd_certificate_expiry_timestamp_seconds"] == 990, "the first that ends"
    assert found["streamd_workers"] == 2


def test_a_histogram_is_cumulative() -> None:
    meters, rows = two_workers()
    lines = expose(meters.families, rows, "")[0].decode().splitlines()
    name = "streamd_call_duration_seconds"
    ping = [line for line in lines if line.startswith(name) and 'method="ping"' in line]
    counts = [float(line.split()[1]) for line in ping if "_bucket" in line]
    assert counts == [0, 0, 0, *[11] * 11, 22]
    assert f'{name}_count{{method="ping"}} 22.0' in ping
    (total,) = [float(line.split()[1]) for line in ping if "_sum" in line]
    assert total == pytest.approx(11 * 60.003)


def test_no_worker_has_counted_anything() -> None:
    found = samples(expose(Meters().families, [], "")[0])
    assert found["streamd_workers"] == found["streamd_tail_lag_seconds"] == 0
    assert "streamd_certificate_expiry_timestamp_seconds" not in found


def test_the_lowest_is_of_those_who_have_one() -> None:
    meters, rows = two_workers()
    rows = [row._replace(alive=True) for row in rows]
    rows[1].cells[next(f.at for f in meters.families if f.kind == "lowest")] = 0  # type: ignore[index]
    found = samples(expose(meters.families, rows, "")[0])
    assert found["streamd_certificate_expiry_timestamp_seconds"] == 999


def test_openmetrics_is_given_to_those_who_want_it() -> None:
    meters, rows = two_workers()
    text, media_type = expose(meters.families, rows, "application/openmetrics-text; version=1.0.0")
    assert media_type.startswith("application/openmetrics-text; version=1.0.0")
    assert "streamd_connections" in {family.name for family in parse_open(text.decode())}


@pytest.mark.parametrize(
    "accept",
    ["text/html", "\xff", "text/plain; version=abc", "text/plain; version="],
)
def test_whatever_is_accepted_it_gets_something(accept: str) -> None:
    text, media_type = expose(Meters().families, [], accept)
    assert text.startswith(b"# HELP streamd_build_info")
    assert "charset=utf-8" in media_type
