"""The parts of the README that the code knows better. `python -m tests.documents` writes them into it."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson

from streamd.cells import Family
from streamd.config import LIMITS, Settings
from streamd.limits import Limits
from streamd.meters import Meters
from streamd.signatures import METHODS

__all__ = [
    "README",
    "ROOT",
    "figures_table",
    "generated",
    "limits_table",
    "metrics_table",
    "settings_table",
    "shown",
    "table",
]

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
EXAMPLE = ROOT / "clients" / "js" / "example" / "friend-feed.html"
RESULTS = ROOT / "benchmarks" / "results.json"


def shown(default: Any) -> str:
    """Return a default as the documents show it."""
    if default is None or default == []:
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


def settings_table() -> str:
    """Return the settings that are no limits."""
    rows = [
        (f"`{name}`", _code(shown(field.default)), field.description or "")
        for name, field in Settings.model_fields.items()
        if name not in LIMITS
    ]
    return _table(("setting", "default", "meaning"), rows)


def _code(text: str) -> str:
    return text if text == "none" else f"`{text}`"


def limits_table() -> str:
    """Return the limits."""
    rows = [
        (f"`{limit.name}`", shown(limit.default), limit.metadata["help"])
        for limit in fields(Limits)
    ]
    return _table(("limit", "default", "of what"), rows)


def metrics_table() -> str:
    """Return the metrics, with what Prometheus adds to their names."""
    build = ("`streamd_build_info`", "gauge", "What this server is: `version`, `python`.")
    rows = [
        (f"`streamd_{family.name}{_SUFFIXES.get(family.kind, '')}`", _kind(family), family.help)
        for family in Meters(methods=METHODS).families
    ]
    return _table(("metric", "kind", "what"), [build, *rows])


_SUFFIXES = {"counter": "_total"}
_WORST = "gauge, the worst worker's"
_KINDS = {"total": "gauge", "highest": _WORST, "lowest": _WORST}


def _kind(family: Family) -> str:
    kind = _KINDS.get(family.kind, family.kind)
    return f"{kind} by `{family.label}`" if family.label else kind


def figures_table(results: dict[str, Any]) -> str:
    """Return the main figures of a run of the benchmarks: those with a goal say whether they reached it."""
    rows = [
        (
            each["what"],
            f"{_digits(each['median'])} {each['unit']}".rstrip(),
            f"{_digits(each['least'])}–{_digits(each['most'])}",
            _goal(each),
        )
        for each in results["figures"]
        if each["headline"] or each["holds"] is not None
    ]
    return _table(("figure", "median", "least–most", "goal"), rows)


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def _goal(figure: dict[str, Any]) -> str:
    if figure["holds"] is None:
        return ""
    least = figure["at_least"]
    goal = f"≥ {least:g}" if least is not None else f"≤ {figure['at_most']:g}"
    return f"{goal}: {'reached' if figure['holds'] else '**missed**'}"


def _results() -> str:
    results = orjson.loads(RESULTS.read_bytes())
    machine = dict(results["machine"])
    told = [f"{name} {said}" for name, said in machine.items() if name not in ("date", "cpu")]
    skipped = [f"- {each['name']}: {each['why']}\n" for each in results["skipped"]]
    heading = f"{machine['date']}, {machine['cpu']}; {', '.join(told)}.\n\n"
    return "".join(
        [heading, figures_table(results), *(["\nSkipped:\n\n", *skipped] if skipped else [])]
    )


def generated(text: str) -> str:
    """Return the README with its tables, and the example, as the code has them."""
    parts = {
        "settings": settings_table(),
        "limits": limits_table(),
        "metrics": metrics_table(),
        "figures": _results(),
        "example": f"```html\n{EXAMPLE.read_text(encoding='utf-8')}```\n",
    }
    for name, content in parts.items():
        between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
        assert between.search(text), f"there is no place for the {name}"
        text = between.sub(lambda match, content=content: match[1] + content + match[2], text)
    return text


def table(text: str, section: str) -> list[list[str]]:
    """Return the rows of the first table in a section, without its heading; a minus as a hyphen."""
    (part,) = re.findall(rf"^##+ {section}\n(.*?)(?=^##|\Z)", text, re.M | re.S)
    rows = re.findall(r"^\|(.*)\|$", part, re.M)
    return [[cell.strip().replace("−", "-") for cell in row.split("|")] for row in rows[2:]]


def _table(heading: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(line)} |\n" for line in (heading, *rows)]
    return "".join([lines[0], "|---" * len(heading) + "|\n", *lines[1:]])


if __name__ == "__main__":
    README.write_text(generated(README.read_text(encoding="utf-8")), encoding="utf-8")
