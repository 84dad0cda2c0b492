"""Redis stores, and what is done to their connections."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from streamd.event import Keys
from streamd.limits import Limits
from streamd.log import LogState
from streamd.stores.base import Stream
from streamd.stores.redis import RedisStore
from tests.services import RedisServer
from tests.stores.worlds import KEYS

NewRedis = Callable[..., RedisServer]
Connect = Callable[..., Any]


def make(url: str, name: str, keys: Keys = KEYS, check: float = 0.1, **limits: Any) -> RedisStore:
    return RedisStore(url, Stream(name, keys, Limits(**limits)), check=check)


def bodies(entries: Any) -> list[bytes]:
    return [entry.body for entry in entries]


def assert_names_differ(named: dict[str, bytes], state: LogState, entries: Any) -> None:
    """Fail if a cursor that once named an event now names another; remember the new ones."""
    for entry in entries:
        assert named.setdefault(state.chain.cursor(entry.seq), entry.body) == entry.body


@asynccontextmanager
async def severed(server: RedisServer) -> AsyncIterator[None]:
    """Cut connections of this test's stores again and again, in the middle of scripts."""
    stop = asyncio.Event()

    async def sever() -> None:
        while not stop.is_set():
            for found in server.client.client_list(_type="normal"):
                # Only connections of this test's own: the others belong to the same process.
                if found["cmd"] in ("evalsha", "eval"):
                    server.client.client_kill_filter(_id=found["id"])
            await asyncio.sleep(0.002)

    severing = asyncio.create_task(sever())
    try:
        yield
    finally:
        stop.set()
        await severing
