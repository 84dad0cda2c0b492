"""`streamd explain`: why an entry comes, or does not."""

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.text import Text
from streamd_client import Explanation, KeyVerdict

from streamd.commands.arguments import (
    CaFile,
    FilterWords,
    TokenFile,
    TokenText,
    Url,
    read_filter,
    read_token,
)
from streamd.commands.output import Stdout
from streamd.commands.shell import DEFAULT_URL, Server, open_client, run
from streamd.commands.text import ago, entry_line, printable

__all__ = ["explain"]

Place = Annotated[
    str | None,
    typer.Option("--cursor", metavar="CURSOR", help="The place of the entry that is asked about."),
]
Given = Annotated[
    str | None,
    typer.Option(
        "--event", metavar="JSON", help="An event that is asked about instead; it is not stored."
    ),
]


def explain(
    words: FilterWords = None,
    cursor: Place = None,
    event: Given = None,
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    """Tell key by key why an entry, or an event, does or does not match a filter.

    `streamd items --entries` and `streamd tail --entries` tell the cursors of entries. On a terminal it is told
    in lines for people; in a pipe or file it is a line of JSON.
    """
    if (cursor is None) is (event is None):
        raise typer.BadParameter("give --cursor or --event, one of them")
    server = Server(url, read_token(token, token_file), ca_file)
    run(_explain(server, read_filter(words), cursor, _read_event(event)))


def _read_event(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        event = orjson.loads(text)
    except orjson.JSONDecodeError:
        event = None
    if not isinstance(event, dict):
        raise typer.BadParameter("--event must be a JSON object")
    return event


async def _explain(
    server: Server, wanted: dict[str, list[str]], cursor: str | None, event: dict[str, Any] | None
) -> None:
    async with open_client(server) as (client, info):
        told = await client.explain(filter=wanted, cursor=cursor, event=event)
    if not sys.stdout.isatty():
        await Stdout().write(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
        return
    console = Console(highlight=False, markup=False, emoji=False)
    for line in _lines(told, info.keys):
        console.print(line, no_wrap=True, overflow="ellipsis")


def _lines(told: Explanation, keys: list[str]) -> Iterator[Text]:
    if not told.found:
        yield Text("no such entry, or none that may be read")
        return
    yield Text("it matches" if told.matches else "it does not match", "bold")
    for key in told.keys:
        yield _line(key.key, key.matched, _said(key))
    if told.grants is not None:
        granted = any(all(key.matched for key in grant) for grant in told.grants)
        yield _line("token", granted, f"{_number(len(told.grants), 'grant')} to read")
    if told.entry is not None:
        yield entry_line(told.entry, keys, ago(told.entry.time))


def _line(name: str, good: bool, said: str) -> Text:
    return Text.assemble(("  yes  " if good else "  no   ", "bold"), (name, "cyan"), f": {said}")


def _said(key: KeyVerdict) -> str:
    """Return in words what is wanted of a key and what there is."""
    has = (
        f"the event has {printable(', '.join(key.values))}" if key.values else "the event has none"
    )
    return f"{_number(key.wanted, 'value')} wanted, {has}"


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
