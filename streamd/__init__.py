"""A WebSocket real-time feed server: one filter for query and push.

The names in `__all__` are public. A store of one's own also needs those of streamd.stores.base,
streamd.log and streamd.errors. Everything else may change.

A server:

    serve(store="sqlite:///feed.db", keys=["user", "kind"], port=8080)    until Ctrl-C
    async with run_server(store="memory:", keys="user") as server:        in this event loop

A store without a server; Store says what it promises:

    stream = Stream("streamd", Keys.parse("user,kind"), Limits())
    async with open_store("sqlite:///feed.db", stream) as store:
        await store.append([[draft_event({"user": 291}, None, stream.keys, stream.limits)]], "batch 1")
        wanted = parse_filter({"user": [23, 291]}, stream.keys, stream.limits)
        page = await store.newest(wanted, Bounds(limit=20, work=200_000, size=4 << 20))
"""

from importlib import import_module

TYPE_CHECKING = False  # typing's own would cost whoever imports this the import of typing
if TYPE_CHECKING:
    from streamd.address import Address
    from streamd.errors import StartupError, StreamdError
    from streamd.event import Keys, draft_event
    from streamd.filters import parse_filter
    from streamd.limits import Limits
    from streamd.server import RunningServer, run_server, serve
    from streamd.stores import open_store
    from streamd.stores.base import Bounds, Store, Stream
    from streamd.stores.memory import MemoryStore

__all__ = [
    "Address",
    "Bounds",
    "Keys",
    "Limits",
    "MemoryStore",
    "RunningServer",
    "StartupError",
    "Store",
    "Stream",
    "StreamdError",
    "draft_event",
    "open_store",
    "parse_filter",
    "run_server",
    "serve",
]

__version__ = "0.1.0"

_HOMES = {
    "streamd.address": ("Address",),
    "streamd.errors": ("StartupError", "StreamdError"),
    "streamd.event": ("Keys", "draft_event"),
    "streamd.filters": ("parse_filter",),
    "streamd.limits": ("Limits",),
    "streamd.server": ("RunningServer", "run_server", "serve"),
    "streamd.stores": ("open_store",),
    "streamd.stores.base": ("Bounds", "Store", "Stream"),
    "streamd.stores.memory": ("MemoryStore",),
}

if not TYPE_CHECKING:

    def __getattr__(name):
        """Import a public name when it is asked for: who inserts an event need not wait for the server."""
        for home, names in _HOMES.items():
            if name in names:
                return getattr(import_module(home), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return [*globals(), *__all__]
