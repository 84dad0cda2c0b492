"""What the commands have in common that go to a store themselves: where it is, and patience with it."""

import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any

import typer

from streamd.commands.progress import Progress
from streamd.commands.shell import run
from streamd.config import Settings, load_settings
from streamd.errors import CallError, UnknownOutcome
from streamd.event import Keys
from streamd.stores import open_store
from streamd.stores.base import Store, Stream
from streamd.walk import Patience

__all__ = [
    "ConfigFile",
    "StoreUrl",
    "StreamName",
    "new_patience",
    "open_stream",
    "read_settings",
    "run_here",
]

_PATIENCE = 30.0
"""Seconds that a store may be away in the middle of the work."""

StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="URL of the store, as `streamd serve` takes it, and with the same default.",
    ),
]
StreamName = Annotated[
    str | None,
    typer.Option("--stream", metavar="NAME", help="Name of the stream within the store."),
]
ConfigFile = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="TOML file with the settings of the server."),
]


def read_settings(**flags: str | None) -> Settings:
    """Return the settings of the server whose stream it is; raise StartupError or BadParameter."""
    settings = load_settings(**{name: value for name, value in flags.items() if value is not None})
    if str(settings.store).lower().startswith("memory:"):
        raise typer.BadParameter(
            "what is in memory: only its server sees; name another store with --store"
        )
    return settings


def run_here(work: Coroutine[Any, Any, None]) -> None:
    """Do the work of a command that has a store in this process: what that has to say is told as well."""
    logging.basicConfig(format="streamd: %(message)s", level=logging.WARNING)
    run(work)


@asynccontextmanager
async def open_stream(settings: Settings, keys: Keys) -> AsyncIterator[Store]:
    """Open the stream with these keys, or with those that it has; forgetting is left to servers."""
    limits = replace(settings.limits, max_events=None, max_age=None)
    stream = Stream(settings.stream, keys, limits, forgets=False)
    async with open_store(str(settings.store), stream) as store:
        yield store


def new_patience(progress: Progress) -> Patience:
    """Return patience that tells people when it begins."""

    def told(error: CallError) -> None:
        unknown = isinstance(error, UnknownOutcome)
        reason = "the store does not answer" if unknown else error.message
        progress.tell(f"streamd: {reason}; trying again for {_PATIENCE:g} s")

    return Patience(_PATIENCE, told)
