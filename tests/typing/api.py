"""The public names as their users write them: checked for types, never run."""

from collections.abc import Callable

from streamd_client import (
    CallTimeout,
    Entry,
    Feed,
    History,
    Info,
    Inserted,
    PlaceLost,
    RequestRefused,
    Unreachable,
    connect,
)
from streamd_client.sync import Client

from streamd import (
    Address,
    Bounds,
    Keys,
    Limits,
    MemoryStore,
    RunningServer,
    StartupError,
    Store,
    Stream,
    StreamdError,
    draft_event,
    open_store,
    parse_filter,
    run_server,
    serve,
)


async def insert_and_ask(url: str) -> list[dict[str, object]]:
    """Use the calls of the client."""
    async with connect(url, timeout=5) as client:
        inserted: Inserted = await client.insert({"user": 291}, id="a")
        many: list[Inserted] = await client.insert_many([{"user": 1}, {"user": 2}])
        page = await client.history(filter={"user": [23, 291]}, before=inserted.cursor, limit=5)
        entries: list[Entry] = page.entries
        assert len(many) + len(entries) >= 0
        return await client.items(kind="friend", user=[23, 291], start=1, end=3)


def from_a_view(url: str, friends: set[int]) -> list[dict[str, object]]:
    """Use the client without asyncio."""
    with Client(url, timeout=5, ca_file="ca.pem", backoff=lambda attempt: 0.5) as client:
        try:
            inserted: Inserted = client.insert({"user": 291}, id="a", timeout=1.5)
            many: list[Inserted] = client.insert_many([{"user": 1}, {"user": 2}], ["b", None])
        except CallTimeout as late:
            stored: bool | None = False if isinstance(late.__cause__, Unreachable) else None
            assert not stored
            raise
        except RequestRefused as refused:
            status: int = refused.status
            raise SystemExit(status) from refused
        page: History = client.history(user=friends, before=inserted.cursor, limit=5)
        info: Info = client.info()
        paths: dict[str, str] = info.paths
        seconds: float = client.ping()
        assert len(many) + len(page.entries) + len(info.keys) + len(paths) + seconds >= 0
        return client.items(filter={"class": 3}, kind="friend", user=[23, "x"], start=1, end=3)


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


def serve_until_told(url: str) -> str | None:
    """Run a server in the foreground."""
    try:
        serve(store=url, keys=["user", "kind"], port=8080, max_age="30d", window_bytes="1MiB")
        serve(on_started=show_address, keys="user,kind", max_events=None, config=None)
    except StartupError as error:
        root: StreamdError = error
        return str(root)
    serve(prot=8080)  # type: ignore[call-arg]  # no setting
    serve(port="8080")  # type: ignore[arg-type]  # a number
    serve(store=5)  # type: ignore[arg-type]  # neither a URL nor a maker
    return None


def show_address(address: Address) -> None:
    """Take what a server tells at its start."""
    urls: tuple[str, str] = (address.url, address.ws_url)
    assert all(urls)


class OwnStore(MemoryStore):
    """Subclass a store."""


def make_store(stream: Stream) -> Store:
    """Make a store of one's own."""
    return OwnStore("memory:", stream)


async def embed() -> int:
    """Run a server in an event loop."""
    server: RunningServer
    async with run_server(store=make_store, keys=("user", "kind"), drain=1) as server:
        show_address(server)
        return server.port


async def keep() -> list[bytes]:
    """Use a store without its server."""
    stream = Stream("streamd", Keys.parse("user,kind,repo"), Limits(max_events=10))
    store: Store
    async with open_store("memory:", stream) as store:
        await store.append([[draft_event({"user": 1}, "id", stream.keys, stream.limits)]], "batch")
        wanted = parse_filter({"user": [1, 2]}, stream.keys, stream.limits)
        page = await store.newest(wanted, Bounds(limit=20, work=1_000, size=1 << 20))
        return [entry.body for entry in page.entries]
