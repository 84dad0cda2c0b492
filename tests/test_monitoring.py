"""deploy/: the Grafana dashboard and the alert rules speak of metrics that there are, and the rules fire."""

import re
import subprocess
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
from tests.services import need

DASHBOARD = orjson.loads((ROOT / "deploy" / "grafana-dashboard.json").read_bytes())
RULES = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text(encoding="utf-8"))
FIRING = ROOT / "tests" / "alerts.yml"
"""What `promtool` is to see of the rules: series that make each fire, and others that just do not."""
TESTS = yaml.safe_load(FIRING.read_text(encoding="utf-8"))["tests"]
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


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_the_labels_that_a_summary_shows_are_left_in_the_expression(alert: dict[str, Any]) -> None:
    shown = set(re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]))
    for labels in re.findall(r"\bby \(([^)]*)\)", alert["expr"]):
        assert shown <= {label.strip() for label in labels.split(",")}
    named = re.findall(r"\bstreamd_\w+", alert["expr"])
    assert all(shown <= NAMES[name].keys() | SCRAPED for name in named)


# At work.


def test_the_rules_fire_where_they_should_and_nowhere_else() -> None:
    promtool = need("promtool")
    for words in (("check", "rules", ROOT / "deploy" / "alerts.yml"), ("test", "rules", FIRING)):
        done = subprocess.run(
            [promtool, *words], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", [alert["alert"] for alert in ALERTS])
def test_every_rule_is_seen_to_fire_and_to_be_quiet(alert: str) -> None:
    asked = [
        ask for test in TESTS for ask in test["promql_expr_test"] if f'"{alert}"' in ask["expr"]
    ]
    assert {bool(ask.get("exp_samples")) for ask in asked} == {True, False}


def test_rules_are_seen_with_series_that_there_are() -> None:
    for series in (each["series"] for test in TESTS for each in test["input_series"]):
        name, labels = re.fullmatch(r"(\w+)\{(.*)\}", series).groups()  # type: ignore[union-attr]
        given = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        assert given.keys() >= SCRAPED
        if name == "up":  # Prometheus' own.
            continue
        known = NAMES[name]
        assert given.keys() - SCRAPED == known.keys()
        assert all(given[label] in known[label] for label in known)
