"""Run measurements, print their figures as a table, and write them as JSON."""

import argparse
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from benchmarks.figures import Failed, Figure, Measurement, Outcome, Scale, Skipped, machine

MEASUREMENTS = {
    "feed": "feed",
    "lists": "lists",
    "workers": "lists",
    "peers": "peers",
    "idle": "connections",
    "handshakes": "connections",
    "storm": "storm",
    "latency": "latency",
    "slow": "latency",
    "matcher": "matcher",
    "reading": "reading",
    "inserting": "inserting",
    "sql": "sql",
}
"""The function of this name is in that module, which is imported when it is its turn: it may need what is not there."""

_WIDTH = 140
"""Of the table where there is no terminal."""


def _measure(name: str, scale: Scale) -> Iterator[Outcome]:
    """Yield what a measurement says; what goes wrong with it is told, and keeps no other from running."""
    try:
        module = importlib.import_module(f"benchmarks.{MEASUREMENTS[name]}")
        measurement: Measurement = getattr(module, name)
        yield from measurement(scale)
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - whatever it is, it is told
        yield Failed(name, f"{type(exc).__name__}: {exc}")


def _table() -> Table:
    table = Table("what", "unit", "goal", "")
    for column in ("median", "least", "most"):
        table.add_column(column, justify="right")
    return table


def _add(table: Table, outcome: Outcome) -> None:
    if isinstance(outcome, Figure):
        mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: ""}[outcome.holds]
        values = (outcome.median, min(outcome.rounds), max(outcome.rounds))
        shown = (_shown(value) for value in values)
        table.add_row(escape(outcome.what), outcome.unit, outcome.goal, mark, *shown)
    else:
        kind = "skipped" if isinstance(outcome, Skipped) else "[red]failed[/]"
        table.add_row(f"{escape(outcome.name)}: [i]{kind}[/], {escape(outcome.why)}")


def _shown(value: float) -> str:
    """Return three digits that count, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def _to_json(outcomes: list[Outcome]) -> dict[str, Any]:
    kinds = {"figures": Figure, "skipped": Skipped, "failed": Failed}
    return {
        "machine": machine(),
        **{
            name: [outcome.to_json() for outcome in outcomes if isinstance(outcome, kind)]
            for name, kind in kinds.items()
        },
    }


def _run(names: list[str], scale: Scale, console: Console) -> list[Outcome]:
    """Run measurements; show each figure as it comes."""
    outcomes: list[Outcome] = []
    table = _table()
    notes = Console(stderr=True)
    with Live(table, console=console, auto_refresh=False, vertical_overflow="visible") as live:
        for number, name in enumerate(names, 1):
            table.caption = f"measuring {name}, {number} of {len(names)}"
            live.refresh()
            if not console.is_terminal:
                notes.print(table.caption)
            for outcome in _measure(name, scale):
                outcomes.append(outcome)
                _add(table, outcome)
                live.refresh()
        table.caption = _summary(outcomes)
    return outcomes


def _summary(outcomes: list[Outcome]) -> str:
    held = [outcome.holds for outcome in outcomes if isinstance(outcome, Figure)]
    failed = sum(isinstance(outcome, Failed) for outcome in outcomes)
    told = f"{held.count(True)} goals reached, {held.count(False)} missed"
    return f"{told}, {failed} measurements failed" if failed else told


def main(arguments: list[str] | None = None) -> int:
    """Run those that are asked for, or all; return the exit code: 1 if one failed, whatever the goals."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASUREMENTS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument(
        "--quick", action="store_true", help="little of everything: only to see that it works"
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - MEASUREMENTS.keys():
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    console.print(*(f"{name}: {said}" for name, said in machine().items()), sep="\n", markup=False)
    outcomes = _run(options.names or list(MEASUREMENTS), Scale(quick=options.quick), console)
    if options.json:
        options.json.write_bytes(orjson.dumps(_to_json(outcomes), option=orjson.OPT_INDENT_2))
    return int(any(isinstance(outcome, Failed) for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
