"""`streamd items`: what happened, newest first."""

from typing import Annotated

import typer
from streamd_client import Client

from streamd.commands.arguments import (
    CaFile,
    Entries,
    FilterWords,
    TokenFile,
    TokenText,
    Url,
    read_filter,
    read_token,
)
from streamd.commands.output import Printer, Stdout, open_printer, while_read
from streamd.commands.shell import DEFAULT_URL, Server, open_client, run
from streamd.commands.text import ago

__all__ = ["items"]

_PAGE = 1_000

Start = Annotated[
    int, typer.Option(min=0, metavar="N", help="Begin with this one; the newest is 0.")
]
End = Annotated[
    int, typer.Option(min=0, metavar="N", help="Stop before this one, however far back.")
]


def items(
    words: FilterWords = None,
    start: Start = 0,
    end: End = 20,
    entries: Entries = False,
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    """Show the newest events that match a filter, the newest first.

    On a terminal each is a line for people, cut to its width; in a pipe or file each is a line of
    JSON, the bare event, as it was inserted.
    """
    if end < start:
        raise typer.BadParameter("--end lies before --start")
    server = Server(url, read_token(token, token_file), ca_file)
    run(_items(server, read_filter(words), start, end, entries=entries))


async def _items(
    server: Server, wanted: dict[str, list[str]], start: int, end: int, *, entries: bool
) -> None:
    async with open_client(server) as (client, info), while_read(Stdout()):
        printer = open_printer(info.keys, ago, entries=entries)
        page = min(_PAGE, info.limits.get("limit", _PAGE))
        await _show(client, printer, wanted, range(start, end), page)


async def _show(
    client: Client, printer: Printer, wanted: dict[str, list[str]], places: range, page: int
) -> None:
    # By `history`, whose pages do not shift while events arrive, and which knows the times.
    seen, before = 0, None
    while seen < places.stop:
        limit = min(page, places.stop - seen)
        answer = await client.history(filter=wanted, before=before, limit=limit)
        for entry in answer.entries[max(0, places.start - seen) :]:
            await printer.show(entry)
        seen += len(answer.entries)
        before = answer.before
        if before is None:
            return
