"""Streams in stores, for the tests of commands that need no server."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import orjson

from streamd.event import Keys, draft_event
from streamd.limits import Limits
from streamd.log import Entry
from streamd.stores import open_store
from streamd.stores.base import Store, Stream
from tests.commands.cli import Command, Result
from tests.stores.worlds import put, read_all

__all__ = ["KEYS", "NOWHERE", "StreamAt", "lines_of", "said"]

KEYS = Keys.parse("user,kind,tag=tags")
NOWHERE = "ws://127.0.0.1:1/"
"""Where no server is: these commands need none."""


@dataclass(frozen=True)
class StreamAt:
    """A stream, by the URL of its store and its name."""

    url: str
    name: str

    @property
    def options(self) -> tuple[str, ...]:
        """What tells a command which it is."""
        return ("--store", self.url, "--stream", self.name)

    @asynccontextmanager
    async def opened(self, keys: Keys = KEYS, **limits: Any) -> AsyncIterator[Store]:
        """Open it in this process."""
        async with open_store(self.url, Stream(self.name, keys, Limits(**limits))) as store:
            yield store

    async def fill(self, events: Iterable[dict[str, Any]], keys: Keys = KEYS) -> None:
        """Append events."""
        async with self.opened(keys) as store:
            await put(store, [draft_event(event, None, keys, Limits()) for event in events])

    async def entries(self, keys: Keys = KEYS) -> list[Entry]:
        """Return all that it has."""
        async with self.opened(keys) as store:
            return await read_all(store)

    async def start(self, command: str, *words: str, **pipes: Any) -> Command:
        """Start a command on it."""
        return await Command.start(command, *words, *self.options, url=NOWHERE, **pipes)

    async def run(self, command: str, *words: str, stdin: bytes = b"") -> Result:
        """Run a command on it to its end."""
        result = await (await self.start(command, *words)).end(stdin=stdin)
        return replace(result, err=said(result.err))


def said(err: str) -> str:
    """Return what a command said, but for what is true of the tests' PostgreSQL."""
    return "".join(line for line in err.splitlines(keepends=True) if "fsync is off" not in line)


def lines_of(*events: dict[str, Any], time: int = 1_442_016_000_000) -> bytes:
    """Return an import's input: events some ms apart."""
    return b"".join(
        orjson.dumps({"time": time + 7 * number, "event": event}) + b"\n"
        for number, event in enumerate(events)
    )
