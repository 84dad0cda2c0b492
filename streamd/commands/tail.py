"""`streamd tail`: what happens, as it happens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer
from streamd_client import Feed, FeedState, PlaceLost

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
from streamd.commands.shell import DEFAULT_URL, Server, open_client, run, say
from streamd.commands.text import clock

__all__ = ["tail"]

_LOOK = 0.25
"""Seconds between looks at the feed's state."""
_PATIENCE = 4
"""Looks that may find no server before it is told: most reconnects are done by then."""

Backfill = Annotated[
    int,
    typer.Option("--backfill", "-n", min=0, metavar="N", help="Show so many older events first."),
]
After = Annotated[
    str | None,
    typer.Option(
        metavar="CURSOR",
        help="Show all that came after this place instead; `start` for all that is retained.",
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Fail where events may be missing, instead of going on.")
]


def tail(
    words: FilterWords = None,
    backfill: Backfill = 20,
    after: After = None,
    strict: Strict = False,
    entries: Entries = False,
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    """Follow the events that match a filter, the oldest first, until interrupted.

    On a terminal each is a line for people, cut to its width; in a pipe or file each is a line of
    JSON, the bare event, as it was inserted. Lost connections are made again and nothing is missed. Where that
    cannot be kept, because the events are no longer retained or the log was replaced, it is told
    on the standard error, and it goes on with the newest events (--backfill of them).

    At the end the place to go on from is told on the standard error, as --after CURSOR.
    """
    wanted = read_filter(words)
    server = Server(url, read_token(token, token_file), ca_file)
    run(_tail(server, wanted, backfill, after, strict=strict, entries=entries))


async def _tail(
    server: Server,
    wanted: dict[str, list[str]],
    backfill: int,
    after: str | None,
    *,
    strict: bool,
    entries: bool,
) -> None:
    async with open_client(server) as (client, info):
        printer = open_printer(info.keys, clock, entries=entries)
        async with client.subscribe(filter=wanted, backfill=backfill, after=after) as feed:
            try:
                async with while_read(Stdout()), _telling_of_losses(feed):
                    await _follow(feed, printer, strict=strict)
            except BrokenPipeError:
                raise
            except BaseException:
                if feed.cursor is not None:
                    say(f"streamd: to go on from here: --after {feed.cursor}")
                raise


@asynccontextmanager
async def _telling_of_losses(feed: Feed) -> AsyncIterator[None]:
    """Say when the server is away and when it is back: without a word it would look like a quiet feed."""
    task = asyncio.create_task(_tell_of_losses(feed), name="tail: losses")
    try:
        yield
    finally:
        task.cancel()


async def _tell_of_losses(feed: Feed) -> None:
    looks = 0
    while True:
        await asyncio.sleep(_LOOK)
        if feed.state is FeedState.SUBSCRIBING:
            looks += 1
            if looks == _PATIENCE:
                say("streamd: the server does not answer; trying again until it does")
        else:
            if looks >= _PATIENCE:
                say("streamd: connected again")
            looks = 0


async def _follow(feed: Feed, printer: Printer, *, strict: bool) -> None:
    while True:
        try:
            async for entry in feed:
                await printer.show(entry)
        except PlaceLost as gap:
            if strict:
                raise
            say(f"streamd: events may be missing here: {gap.message}")
