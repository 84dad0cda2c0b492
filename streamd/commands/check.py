"""`streamd check`: is the log sound, and does the index say what the log says?"""

import sys
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any

import orjson
import typer

from streamd.checking import Check, Finding, Kind
from streamd.commands.output import Stdout
from streamd.commands.progress import Progress
from streamd.commands.shell import say
from streamd.commands.stores import (
    ConfigFile,
    StoreUrl,
    StreamName,
    new_patience,
    open_stream,
    read_settings,
    run_here,
)
from streamd.config import Settings
from streamd.event import Keys
from streamd.stores.base import Store

__all__ = ["check"]

_SHOWN = 20
"""Findings of one kind that are told of one by one."""
_ROUNDS = 3
"""Checks of an index that is being repaired: after the last, it does not stay as it should."""

Repair = Annotated[
    bool, typer.Option("--repair", help="Make the index agree with the log where it does not.")
]


def check(
    repair: Repair = False,
    store: StoreUrl = None,
    stream: StreamName = None,
    config: ConfigFile = None,
) -> None:
    """Compare the log with its events and the index with the log, and tell what is wrong.

    On a terminal each finding is a line for people; in a pipe or file it is a line of JSON, and so are
    the numbers at the end. Nothing of what is in an event is shown. Servers may run meanwhile.

    With --repair what the index lacks is added, what it has too much removed, and all is checked
    again. What is wrong with the log itself stays, and is told.
    """
    run_here(_check(read_settings(store=store, stream=stream, config=config), repair=repair))


async def _check(settings: Settings, *, repair: bool) -> None:
    findings = _Findings()
    async with open_stream(settings, Keys()) as store:
        with Progress() as progress:
            first = last = await _look(store, progress, findings.note, repair=repair)
            for _ in range(_ROUNDS - 1):
                if repair and _index_faults(last.counts):
                    last = await _look(store, progress, _Findings().note, repair=True)
    await findings.tell(_numbers(first, last))
    say(f"streamd: {_verdict(first, last, repair=repair)}")
    if last.counts:
        raise typer.Exit(1)


async def _look(
    store: Store, progress: Progress, found: Callable[[Finding], None], *, repair: bool
) -> Check:
    check = Check(store, found, new_patience(progress), repair=repair)
    async for _ in check.log():
        walk = check.walk
        progress.show(walk.done, walk.total, check.entries, f"entries{_so_far(check)}")
    async for _ in check.index():
        progress.show(check.postings, check.terms, check.postings, f"postings{_so_far(check)}")
    return check


def _so_far(check: Check) -> str:
    found = check.counts.total()
    return f", {found:,} findings" if found else ""


class _Findings:
    """The first findings of each kind, and how many there are."""

    def __init__(self) -> None:
        self._counts: Counter[Kind] = Counter()
        self._shown: list[Finding] = []

    def note(self, finding: Finding) -> None:
        """Take note of one."""
        self._counts[finding.kind] += 1
        if self._counts[finding.kind] <= _SHOWN:
            self._shown.append(finding)

    async def tell(self, numbers: dict[str, Any]) -> None:
        """Write them to the standard output, with the numbers at the end where programs read."""
        if sys.stdout.isatty():
            lines = [str(finding) for finding in self._shown]
            more = self._counts.total() - len(self._shown)
            lines += [f"… and {more:,} more"] if more else []
            text = "".join(f"{line}\n" for line in lines).encode()
        else:
            values = [_to_json(finding) for finding in self._shown]
            text = b"".join(orjson.dumps(value) + b"\n" for value in [*values, numbers])
        await Stdout().write(text)


def _to_json(finding: Finding) -> dict[str, Any]:
    return finding._asdict() | {"message": str(finding)}


def _numbers(first: Check, last: Check) -> dict[str, Any]:
    """Return what was looked at, what was wrong, and what is so still."""
    return {
        "entries": first.entries,
        "postings": first.postings,
        "found": {kind.value: count for kind, count in first.counts.items()},
        "left": {kind.value: count for kind, count in last.counts.items()},
    }


def _verdict(first: Check, last: Check, *, repair: bool) -> str:
    """Return in a sentence how the stream is."""
    parts = [f"{first.entries:,} entries and {first.postings:,} postings were looked at"]
    if not first.counts:
        return f"{parts[0]}: all is right"
    missing, surplus = first.counts[Kind.MISSING], first.counts[Kind.SURPLUS]
    if missing or surplus:
        parts.append(f"the index lacked {missing:,} and had {surplus:,} too many")
        if not _index_faults(last.counts):
            parts.append("it is repaired")
        elif repair:
            parts.append("it was repaired, and is wrong again: something else writes to it")
        else:
            parts.append("--repair makes it agree with the log")
    if faults := first.counts.total() - _index_faults(first.counts):
        parts.append(f"the log has {faults:,} faults, which nothing can repair")
    return "; ".join(parts)


def _index_faults(counts: Counter[Kind]) -> int:
    return counts[Kind.MISSING] + counts[Kind.SURPLUS]
