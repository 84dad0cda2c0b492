"""`streamd import`: lines of JSON into an empty stream, with the times that they tell."""

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from streamd.commands.lines import Lines, bytes_left, read_chunks
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
from streamd.errors import StreamdError, UpkeepError
from streamd.event import Keys
from streamd.moving import Import

__all__ = ["import_"]

_STDIN = 0

File = Annotated[
    str,
    typer.Argument(metavar="FILE", help="What `streamd export` wrote; - is the standard input."),
]
KeyNames = Annotated[
    str | None,
    typer.Option(
        "--keys",
        metavar="NAME,NAME=PATH...",
        help="The keys of the stream, which may be others than those of the stream that was exported. "
        "A stream that is there already needs none.",
    ),
]


def import_(
    file: File = "-",
    store: StoreUrl = None,
    stream: StreamName = None,
    keys: KeyNames = None,
    config: ConfigFile = None,
) -> None:
    """Write what `streamd export` wrote straight into an empty stream of a store, which may be of another kind.

    Each line needs a time, in milliseconds since 1970 and not before that of the line above, and an
    event. Times are kept, and numbers given anew: cursors do not carry over, nor do insert ids.

    Interrupted, by whatever, it goes on where it stopped: with the same command and input. A line that
    is wrong ends it, with all before it stored; when that is mended, it goes on as well.
    """
    settings = read_settings(store=store, stream=stream, keys=keys, config=config)
    given = settings.to_stream().keys if "keys" in settings.model_fields_set else Keys()
    if file == "-" and sys.stdin is not None and sys.stdin.isatty():
        raise typer.BadParameter("name a file, or give lines of JSON on the standard input")
    with _opened(file) as fd:
        run_here(_import(settings, given, fd))


@contextmanager
def _opened(file: str) -> Iterator[int]:
    if file == "-":
        yield _STDIN
        return
    try:
        fd = os.open(file, os.O_RDONLY)
    except OSError as error:
        raise typer.BadParameter(f"{file} can't be read: {error.strerror}") from None
    try:
        yield fd
    finally:
        os.close(fd)


async def _import(settings: Settings, keys: Keys, fd: int) -> None:
    async with open_stream(settings, keys) as store:
        with Progress(in_bytes=True) as progress:
            moving = Import(store, settings.limits, new_patience(progress))
            started = time.monotonic()
            try:
                await _load(moving, settings.limits.message_bytes, fd, progress)
            except (StreamdError, OSError, asyncio.CancelledError) as error:
                progress.close()
                # Of the last batch nobody may have heard whether it was stored.
                least = "" if isinstance(error, UpkeepError) else "at least "
                there = f"{least}{moving.known + moving.stored:,} entries"
                say(
                    f"streamd: {there} are in the stream and stay; the same command goes on behind them"
                )
                raise
    rate = moving.stored / max(time.monotonic() - started, 0.001)
    known = f", {moving.known:,} were there already" if moving.known else ""
    say(f"streamd: {moving.stored:,} entries imported ({rate:,.0f}/s){known}")
    say(
        "streamd: cursors do not carry over: who comes with one of the old store is told, and begins anew; "
        "nor do insert ids: what was inserted there and is repeated here is a new event"
    )


async def _load(moving: Import, longest: int, fd: int, progress: Progress) -> None:
    lines = Lines(longest)
    done, total = 0, bytes_left(fd)
    await moving.begin()
    async for chunk in read_chunks(fd):
        await moving.load(lines.cut(chunk))
        done += len(chunk)
        progress.show(done, total, moving.stored, "entries")
    await moving.load(lines.finish())
    await moving.finish()
    progress.show(done, total, moving.stored, "entries")
