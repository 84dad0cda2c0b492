"""Run measurements and print them as a table."""

import argparse
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.fanout import fanout
from benchmarks.inner import Row, matcher, window
from benchmarks.sql import sql

MEASUREMENTS = {"matcher": matcher, "window": window, "sql": sql, "fanout": fanout}


def main() -> None:
    """Run those that are asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", choices=[*MEASUREMENTS, []], help="which ones; all if none"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    rows: list[Row] = []
    for name in options.names or MEASUREMENTS:
        rows += MEASUREMENTS[name]()
    table = Table("what", "median", "least", "most", "unit")
    for row in rows:
        figures = [f"{row[key]:.3g}" if key in row else "" for key in ("value", "least", "most")]
        table.add_row(str(row["name"]), *figures, str(row["unit"]))
    Console().print(table)
    if options.json:
        options.json.write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2))


main()
