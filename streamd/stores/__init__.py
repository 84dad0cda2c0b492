"""The stores, by the scheme of their URL; each technology is imported only when it is asked for."""

from importlib import import_module

from streamd.errors import StartupError
from streamd.stores.base import Store, Stream

__all__ = ["SCHEMES", "open_store"]

SCHEMES = {
    "memory": "streamd.stores.memory:MemoryStore",
    "sqlite": "streamd.stores.sql.sqlite:SqliteStore",
    "postgresql": "streamd.stores.sql.postgresql:PostgresqlStore",
    "postgres": "streamd.stores.sql.postgresql:PostgresqlStore",
    "redis": "streamd.stores.redis:RedisStore",
    "rediss": "streamd.stores.redis:RedisStore",
    "unix": "streamd.stores.redis:RedisStore",
}
"""URL scheme → module:Class; the class takes the URL and the Stream."""

_EXTRAS = {"asyncpg": "postgresql", "redis": "redis", "hiredis": "redis"}
"""Missing module → the extra that brings it."""


def open_store(url: str, stream: Stream) -> Store:
    """Return the store that the URL names, not yet open; raise StartupError if there is none such."""
    # What comes behind is the store's to read, and is not shown: it may have a password.
    scheme, colon, _ = url.partition(":")
    scheme = scheme.lower()
    if not colon or scheme not in SCHEMES:
        known = ", ".join(f"{name}:" for name in SCHEMES)
        raise StartupError(f"there is no store {scheme + colon!r}; the stores are {known}")
    module_name, _, class_name = SCHEMES[scheme].partition(":")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as exc:
        extra = _EXTRAS.get((exc.name or "").partition(".")[0])
        if extra is None:
            raise
        raise StartupError(
            f"the store {scheme}: needs the package {exc.name}: pip install 'streamd[{extra}]'"
        ) from exc
    store: Store = getattr(module, class_name)(url, stream)
    return store
