"""Metrics as Prometheus reads them: what all workers have counted, added up."""

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from streamd import __version__
from streamd.cells import Family
from streamd.ledger import Row

__all__ = ["expose"]

_BUILD = {"version": __version__, "python": platform.python_version()}


def expose(families: Sequence[Family], rows: Sequence[Row], accept: str) -> tuple[bytes, str]:
    """Return the metrics as text, and its media type: of those that an Accept header names, else of version 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(families, rows))
    encode, media_type = _choose(accept)
    return encode(registry), media_type


def _choose(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # It names a version that is none.
        return generate_latest, CONTENT_TYPE_PLAIN_0_0_4


class _Collected(Collector):
    """What is in the rows, each time it is asked."""

    def __init__(self, families: Sequence[Family], rows: Sequence[Row]) -> None:
        self._families = families
        self._rows = rows

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("streamd_build", "What this server is.", value=_BUILD)
        for family in self._families:
            yield _MAKERS[family.kind](family, self._columns(family))

    def _columns(self, family: Family) -> list[Iterable[float]]:
        """Return the numbers of each of a family's cells: gauges only of those who live."""
        rows = [row for row in self._rows if row.alive or not family.is_gauge]
        width = family.width * max(1, len(family.values))
        return [[row.cells[family.at + cell] for row in rows] for cell in range(width)]


def _counter(family: Family, columns: Sequence[Iterable[float]]) -> Metric:
    metric = CounterMetricFamily(_name(family), family.help, labels=_labels(family))
    for value, column in zip(family.values or [None], columns, strict=True):
        metric.add_metric([] if value is None else [value], sum(column))
    return metric


def _total(family: Family, columns: Sequence[Iterable[float]]) -> Metric:
    return GaugeMetricFamily(_name(family), family.help, value=sum(columns[0]))


def _highest(family: Family, columns: Sequence[Iterable[float]]) -> Metric:
    return GaugeMetricFamily(_name(family), family.help, value=max(columns[0], default=0))


def _lowest(family: Family, columns: Sequence[Iterable[float]]) -> Metric:
    metric = GaugeMetricFamily(_name(family), family.help)
    if found := [number for number in columns[0] if number]:
        metric.add_metric([], min(found))
    return metric


def _histogram(family: Family, columns: Sequence[Iterable[float]]) -> Metric:
    metric = HistogramMetricFamily(_name(family), family.help, labels=_labels(family))
    bounds = [*map(floatToGoString, family.bounds), "+Inf"]
    width = family.width
    for number, value in enumerate(family.values or [None]):
        *counts, total = map(sum, columns[number * width : (number + 1) * width])
        buckets = list(zip(bounds, accumulate(counts), strict=True))
        metric.add_metric([] if value is None else [value], buckets, total)
    return metric


_MAKERS: dict[str, Callable[[Family, Sequence[Iterable[float]]], Metric]] = {
    "counter": _counter,
    "total": _total,
    "highest": _highest,
    "lowest": _lowest,
    "histogram": _histogram,
}


def _name(family: Family) -> str:
    return f"streamd_{family.name}"


def _labels(family: Family) -> list[str]:
    return [family.label] if family.label else []
