"""The public names as their users write them: checked for types, never run."""

from collections.abc import Callable

from streamd_client import Entry, Feed, Inserted, PlaceLost, connect

from streamd.event import Keys
from streamd.limits import Limits
from streamd.stores import open_store
from streamd.stores.base import Store, Stream


async def insert_and_ask(url: str) -> list[dict[str, object]]:
    """Use the calls of the client."""
    async with connect(url, timeout=5) as client:
        inserted: Inserted = await client.insert({"user": 291}, id="a")
        many: list[Inserted] = await client.insert_many([{"user": 1}, {"user": 2}])
        page = await client.history(filter={"user": [23, 291]}, before=inserted.cursor, limit=5)
        entries: list[Entry] = page.entries
        assert len(many) + len(entries) >= 0
        return await client.items(kind="friend", user=[23, 291], start=1, end=3)


async def follow(url: str, show: Callable[[Entry], None], cursor: str | None) -> str | None:
    """Use a feed of the client."""
    async with connect(url) as client:
        feed: Feed
        async with client.subscribe(user=[23, 291], backfill=20, after=cursor) as feed:
            try:
                async for entry in feed:
                    show(entry)
            except PlaceLost as lost:
                reason: str | None = lost.reason
                return reason
            return feed.cursor


async def embed() -> int:
    """Use a store without its server."""
    stream = Stream("streamd", Keys.parse("user,kind,repo"), Limits(max_events=10))
    store: Store
    async with open_store("memory:", stream) as store:
        return (await store.state()).head
