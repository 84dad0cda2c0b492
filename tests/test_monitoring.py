"""deploy/: the Grafana dashboard and the alert rules speak of metrics that there are."""

import re
from typing import Any

import orjson
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families as parse

from streamd.ledger import Row
from streamd.meters import Meters
from streamd.metrics import expose
from streamd.signatures import METHODS
from tests.documents import ROOT

DASHBOARD = orjson.loads((ROOT / "deploy" / "grafana-dashboard.json").read_bytes())
RULES = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
SCRAPED = {"job", "instance"}
"""Labels that Prometheus adds."""


def exposed() -> dict[str, dict[str, set[str]]]:
    """Return every name of a sample with its labels and their values."""
    meters = Meters(methods=METHODS)
    meters.certificate_expiry.set(1)
    text, _ = expose(meters.families, [Row(meters._cells.tolist(), alive=True)], "")
    names: dict[str, dict[str, set[str]]] = {}
    for family in parse(text.decode()):
        for sample in family.samples:
            labels = names.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return names


NAMES = exposed()
DASHBOARD_EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
VARIABLES = [v["definition"] for v in DASHBOARD["templating"]["list"] if "definition" in v]
EXPRESSIONS = [*DASHBOARD_EXPRESSIONS, *VARIABLES, *(alert["expr"] for alert in ALERTS)]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_label_and_value_is_there(expression: str) -> None:
    used = re.findall(r"\b(streamd_\w+)(?:\{([^}]*)\})?", expression)
    assert used
    for name, matchers in used:
        assert name in NAMES
        for label, _, value in re.findall(r'(\w+)(=~|!=|=)"([^"]*)"', matchers):
            assert label in NAMES[name].keys() | SCRAPED
            if label not in SCRAPED:
                assert set(value.split("|")) <= NAMES[name][label]
    named = {name for name, _ in used}
    for labels in re.findall(r"\bby \(([^)]*)\)", expression):
        wanted = {label.strip() for label in labels.split(",")} - SCRAPED
        assert wanted <= set().union(*(NAMES[name].keys() for name in named))
    assert expression.count("(") == expression.count(")")
    assert not re.search(
        r"\brate\(streamd_\w+(?<!_total)(?<!_bucket)(?<!_count)(?<!_sum)[{\[]", expression
    )


def test_the_dashboard_shows_every_metric() -> None:
    shown = set(re.findall(r"streamd_\w+", " ".join(DASHBOARD_EXPRESSIONS)))
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    assert shown == {re.sub(r"_(bucket|count|sum)$", "", name) for name in NAMES}


def test_every_panel_is_named_explained_and_in_a_place_of_its_own() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken
        taken |= cells
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith(".")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_says_what_is_the_matter_and_what_to_do(alert: dict[str, Any]) -> None:
    assert set(alert) <= {"alert", "expr", "for", "labels", "annotations"}
    assert alert["alert"].startswith("Streamd")
    assert alert["labels"] in ({"severity": "page"}, {"severity": "ticket"})
    assert set(alert["annotations"]) == {"summary", "runbook"}
    assert alert["annotations"]["runbook"].endswith(".")
    assert "\n" not in alert["annotations"]["runbook"]


def test_alerts_have_names_of_their_own_and_refer_to_those_that_are_there() -> None:
    names = [alert["alert"] for alert in ALERTS]
    assert len(set(names)) == len(names)
    texts = " ".join(alert["annotations"]["runbook"] for alert in ALERTS)
    assert set(re.findall(r"\bStreamd\w+", texts)) <= set(names)
