"""The settings as keyword arguments, for type checkers and editors; what they mean, Settings says."""

from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

from streamd.stores.base import Store, Stream

__all__ = ["Options", "Seconds", "Size", "StoreMaker", "Texts"]

StoreMaker = Callable[[Stream], Store]
"""Makes a store that is not open yet: a subclass of Store, or a function."""

Texts = str | list[str] | tuple[str, ...]
"""One text with commas, or several."""

Size = int | str
"""Bytes, or a number with a unit such as 64KiB or 1MiB."""

Seconds = float | str
"""Seconds, or a number with a unit such as 90s, 15m, 12h or 30d."""


class Options(TypedDict, total=False):
    """Say what a server is told; what is not said, the environment, the file or the default says."""

    host: str
    port: int
    keys: Texts
    store: str | StoreMaker
    stream: str
    workers: int
    allow_host: Texts
    allow_origin: Texts
    tls_cert: str | Path
    tls_key: str | Path
    trusted_proxy: Texts
    allow_anonymous: Texts
    token_secret: str
    token_secret_file: str | Path
    token_key_file: str | Path
    token_jwks_url: str
    token_algorithms: Texts
    token_audience: str
    token_issuer: str
    token_leeway: Seconds
    admin_port: int | None
    admin_host: str
    log_level: str
    log_format: str
    compression: bool
    dashboard: bool
    config: str | Path | None

    message_bytes: Size
    event_bytes: Size
    nesting: int
    event_terms: int
    value_bytes: Size
    insert_id_bytes: Size
    grants: int
    insert_many: int
    batch: int
    filter_values: int
    connection_filter_values: int
    subscriptions: int
    backfill: int
    limit: int
    slice: int
    end: int
    answer_bytes: Size
    query_work: int
    calls_in_flight: int
    connections: int
    address_connections: int | None
    subject_connections: int | None
    connects_per_second: float | None
    calls_per_second: float | None
    events_per_second: float | None
    burst: Seconds
    refusals: int
    window: int
    window_bytes: Size
    outbox_bytes: Size
    max_events: int | None
    max_age: Seconds | None
    drain: Seconds
    write_deadline: Seconds
    ping: Seconds
    pong: Seconds
    token_bytes: Size
    authenticate_deadline: Seconds
    header_bytes: Size
    header_deadline: Seconds
    store_deadline: Seconds
    insert_id_lifetime: Seconds
