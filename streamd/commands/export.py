"""`streamd export`: what a store has, as lines of JSON."""

import sys
import time

import typer

from streamd.commands.arguments import FilterWords, read_filter
from streamd.commands.output import Stdout, while_read
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
from streamd.filters import parse_filter
from streamd.moving import export_line
from streamd.walk import Walk

__all__ = ["export"]


def export(
    words: FilterWords = None,
    store: StoreUrl = None,
    stream: StreamName = None,
    config: ConfigFile = None,
) -> None:
    """Write the entries that match a filter to the standard output, the oldest first, for `streamd import`.

    Each is a line of JSON: {"cursor": ..., "time": ..., "event": ...}, the event as it is stored. It ends
    with the newest entry that is there when it begins. The store is read itself: no server is needed,
    and one may be running.
    """
    wanted = read_filter(words)
    if sys.stdout is not None and sys.stdout.isatty():
        raise typer.BadParameter(
            "an export is for a file or another program: write > FILE behind it"
        )
    run_here(_export(read_settings(store=store, stream=stream, config=config), wanted))


async def _export(settings: Settings, wanted: dict[str, list[str]]) -> None:
    async with open_stream(settings, Keys()) as store:
        chosen = parse_filter(wanted, store.upkeep().keys, settings.limits)
        with Progress() as progress:
            walk = Walk(store, chosen, new_patience(progress))
            started = time.monotonic()
            entries = await _write(walk, progress)
    rate = entries / max(time.monotonic() - started, 0.001)
    if sys.stderr.isatty() or walk.overtaken:
        say(f"streamd: {entries:,} entries exported ({rate:,.0f}/s)")
    if walk.overtaken:
        say(
            f"streamd: {walk.overtaken:,} places were forgotten by retention before their turn came"
        )


async def _write(walk: Walk, progress: Progress) -> int:
    """Write what there is; return how many entries that were."""
    entries = 0
    stdout = Stdout()
    async with while_read(stdout):
        async for run in walk.runs():
            lines = [export_line(run.state.chain, entry) for entry in run.entries]
            await stdout.write(b"".join(lines))
            entries += len(lines)
            progress.show(walk.done, walk.total, entries, "entries")
    return entries
