"""`streamd insert`: one event from the command line, or any number of them as NDJSON."""

import asyncio
import secrets
import sys
import time
from typing import Annotated

import orjson
import typer
from streamd_client import CallTimeout, Info, StreamdError, UnknownOutcome

from streamd.commands.arguments import CaFile, TokenFile, TokenText, Url, read_token
from streamd.commands.lines import Lines, bytes_left, read_chunks
from streamd.commands.loading import Loader, Tally, check_event
from streamd.commands.output import Stdout
from streamd.commands.progress import Progress
from streamd.commands.shell import DEFAULT_URL, Server, open_client, run, say

__all__ = ["insert", "summary"]

_STDIN = 0

EventText = Annotated[
    str | None,
    typer.Argument(
        metavar="EVENT",
        help="The event as a JSON object; - or nothing for NDJSON from the standard input.",
    ),
]
Id = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Names this insert: repeated with the same name (within 10 minutes, unless the server "
        "has another insert_id_lifetime), it adds nothing twice.",
    ),
]


def insert(
    event: EventText = None,
    id: Id = None,
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    """Insert an event, or each line of the standard input (NDJSON).

    One event is answered with a line of JSON: its cursor, its time, and whether its --id was known.

    Of many, each line is an event of its own, in their order. Lines that are no event, or that the
    server refuses, are told by their number on the standard error; the others are inserted, and
    the exit code is 1. A progress bar is shown when the standard error is a terminal.
    """
    name = secrets.token_hex(8) if id is None else id
    if event is None and sys.stdin is not None and sys.stdin.isatty():
        raise typer.BadParameter("give an event, or NDJSON on the standard input")
    server = Server(url, read_token(token, token_file), ca_file)
    if event is None or event == "-":
        run(_insert_lines(server, name))
    else:
        run(_insert_one(server, _encoded(event), name))


def _encoded(event: str) -> bytes:
    try:
        text = event.encode()
        check_event(text)
    except ValueError as error:  # a UnicodeEncodeError is one, too
        reason = "not UTF-8" if isinstance(error, UnicodeError) else error
        raise typer.BadParameter(f"the event is {reason}") from None
    return text


async def _insert_one(server: Server, text: bytes, name: str) -> None:
    async with open_client(server) as (client, info):
        try:
            answer = await client.insert(check_event(text), name)
        except (CallTimeout, UnknownOutcome):
            say(
                "streamd: to make sure that it is inserted, once: "
                f"the same with --id {name}{_remembered(info)}"
            )
            raise
        await Stdout().write(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE))


def _remembered(info: Info) -> str:
    seconds = info.limits.get("insert_id_lifetime", 600.0)
    return f" (the server remembers each event's for {seconds:g} s)"


async def _insert_lines(server: Server, name: str) -> None:
    async with open_client(server) as (client, info):
        with Progress(in_bytes=True) as progress:

            def refused(number: int, reason: str) -> None:
                progress.tell(f"line {number}: {reason}")

            loader = Loader(client, info.limits, name, refused)
            started = time.monotonic()
            try:
                await _load(loader, progress)
            except (StreamdError, asyncio.CancelledError):
                progress.close()
                say(
                    "streamd: to go on, without repeats: "
                    f"the same input with --id {name}{_remembered(info)}"
                )
                raise
            finally:
                progress.close()
                if sys.stderr.isatty() or loader.tally.refused or loader.tally.known:
                    say(f"streamd: {summary(loader.tally, time.monotonic() - started)}")
    if loader.tally.refused:
        raise typer.Exit(1)


async def _load(loader: Loader, progress: Progress) -> None:
    lines = Lines(loader.longest)
    done, total = 0, bytes_left(_STDIN)
    async for chunk in read_chunks(_STDIN):
        await loader.load(lines.cut(chunk))
        done += len(chunk)
        progress.show(done, total, loader.tally.inserted, "events")
    await loader.load(lines.finish())
    progress.show(done, total, loader.tally.inserted, "events")


def summary(tally: Tally, seconds: float) -> str:
    """Return in a sentence what has become of the lines."""
    rate = tally.inserted / max(seconds, 0.001)
    parts = [f"{tally.inserted:,} inserted in {seconds:.1f} s ({rate:,.0f}/s)"]
    if tally.known:
        parts.append(f"{tally.known:,} known already")
    if tally.refused:
        parts.append(f"{tally.refused:,} refused")
    return ", ".join(parts)
