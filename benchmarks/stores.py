"""Stores under measurement: servers of our own, and streams full of what some users do."""

import random
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.processes import free_port
from streamd.event import Keys, draft_event
from streamd.filters import Filter, parse_filter
from streamd.limits import Limits
from streamd.log import Draft
from streamd.stores import open_store
from streamd.stores.base import Bounds, Store, Stream
from tests.services import PostgresServer, RedisServer, make_postgres

__all__ = [
    "KEYS",
    "LIMITS",
    "NEWEST",
    "Users",
    "fill",
    "postgresql",
    "read_filter",
    "redis_server",
    "stream",
]

KEYS = Keys.parse("user,kind,repo")
LIMITS = Limits(store_deadline=60)
NEWEST = Bounds(limit=20, work=LIMITS.query_work, size=LIMITS.answer_bytes)
_KINDS = ("watch", "fork", "push", "star", "issue")
_REPOS = 50_000
_TEXT = "x" * 120
_BATCH = 1_000


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Run a Redis on the loopback, that keeps nothing on disk."""
    server = RedisServer(port=str(free_port())).start()
    try:
        yield server
    finally:
        server.close()


@contextmanager
def postgresql() -> Iterator[str | None]:
    """Run a PostgreSQL with its own durability; None where its programs are not."""
    installed = list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if shutil.which("initdb") is None and not installed:
        yield None
        return
    made = make_postgres()
    server = PostgresServer(made, fsync="on", shared_buffers="256MB")
    try:
        yield server.start().url()
    finally:
        server.close()
        shutil.rmtree(made)


@asynccontextmanager
async def stream(url: str, name: str) -> AsyncIterator[Store]:
    """Open a store on a stream of that name."""
    async with open_store(url, Stream(name, KEYS, LIMITS)) as store:
        yield store


class Users:
    """A number of users who do things at random, and one who has some of them as friends.

    The friends do what everybody does, but for issues: those only the others open.
    """

    def __init__(self, count: int, friends: int) -> None:
        self._random = random.Random(count)
        self.count = count
        self.friends = self._random.sample(range(count), friends)
        self._friends = frozenset(self.friends)

    def event(self) -> dict[str, Any]:
        """Return what happens next."""
        user = int(self._random.random() * self.count)
        kinds = len(_KINDS) - (user in self._friends)
        return {
            "user": user,
            "kind": _KINDS[int(self._random.random() * kinds)],
            "repo": int(self._random.random() * _REPOS),
            "text": _TEXT,
        }

    def draft(self) -> Draft:
        """Return the same, fit to be stored."""
        return draft_event(self.event(), None, KEYS, LIMITS)


def read_filter(value: dict[str, Any]) -> Filter:
    """Return a filter, made of new texts."""
    return parse_filter(value, KEYS, LIMITS)


async def fill(store: Store, events: int, users: Users) -> None:
    """Append until a stream has so many events."""
    left = events - (await store.state()).head
    while left > 0:
        drafts = [users.draft() for _ in range(min(left, _BATCH))]
        await store.append([drafts], secrets.token_hex(8))
        left -= len(drafts)
