"""The limits: one name for the setting, for `info().limits` and for the error that tells of it."""

from dataclasses import asdict, dataclass, field
from typing import Any

from streamd.errors import LimitExceeded

__all__ = ["Limits"]

KIB = 1024
MIB = 1024 * KIB


def _limit(default: Any, text: str, most: int | None = None) -> Any:
    return field(default=default, metadata={"help": text, "most": most})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Hold what one peer, call or event may cost; `None` is no limit."""

    message_bytes: int = _limit(MIB, "one message or HTTP body, in bytes")
    event_bytes: int = _limit(64 * KIB, "one event as JSON, in bytes")
    # What is deeper can't be written by orjson, though it can be read.
    nesting: int = _limit(64, "levels of an event; the event itself is level 1", most=254)
    keys: int = _limit(16, "declared keys")
    event_terms: int = _limit(64, "terms of one event, all keys together")
    value_bytes: int = _limit(512, "one value of a key as text, in bytes")
    insert_id_bytes: int = _limit(128, "an insert id, in bytes")
    grants: int = _limit(64, "grants of a token to read, and as many to write")
    insert_many: int = _limit(1_000, "events of one insert_many")
    batch: int = _limit(100, "calls of one batch")
    filter_values: int = _limit(10_000, "values of one filter, all keys together")
    connection_filter_values: int = _limit(20_000, "values of all subscriptions of one connection")
    subscriptions: int = _limit(100, "subscriptions of one connection")
    backfill: int = _limit(1_000, "entries of a subscribe's answer")
    limit: int = _limit(1_000, "entries of one page of history")
    slice: int = _limit(1_000, "events of one items call: end - start")
    end: int = _limit(10_000, "how far back items reaches")
    answer_bytes: int = _limit(4 * MIB, "one answer, in bytes; a batch counts as a whole")
    query_work: int = _limit(200_000, "entries that one query looks at")
    calls_in_flight: int = _limit(128, "unanswered calls of one connection; then reading stops")
    connections: int = _limit(50_000, "connections, as far as so many files may be open")
    address_connections: int | None = _limit(None, "connections of one address")
    subject_connections: int | None = _limit(None, "WebSockets of one token's subject")
    connects_per_second: float | None = _limit(
        None, "connections that one address opens in a second"
    )
    calls_per_second: float | None = _limit(
        None, "calls of one connection in a second (POST: of one address)"
    )
    events_per_second: float | None = _limit(
        None, "events inserted by one connection in a second (POST: of one address)"
    )
    burst: float = _limit(10.0, "seconds whose calls, events or connections may come at once")
    refusals: int = _limit(1_000, "calls refused for their rate within a burst; then a peer is cut")
    window: int = _limit(100_000, "newest entries that a worker keeps in memory")
    window_bytes: int = _limit(256 * MIB, "size of the entries in memory, in bytes")
    outbox_bytes: int = _limit(256 * KIB, "unsent bytes of one connection; then it is read forward")
    max_events: int | None = _limit(None, "entries retained; none: all (memory store: 1,000,000)")
    max_age: float | None = _limit(None, "seconds that an entry is retained; none: for ever")
    drain: float = _limit(15.0, "seconds that a shutdown may take")
    write_deadline: float = _limit(
        60.0, "seconds without one byte taken, or with half a message, then a peer is cut"
    )
    ping: float = _limit(25.0, "seconds between pings")
    pong: float = _limit(8.0, "seconds that a peer has to answer one")
    token_bytes: int = _limit(8 * KIB, "a token, in bytes")
    authenticate_deadline: float = _limit(10.0, "seconds until a token must come, if one is needed")
    header_bytes: int = _limit(16 * KIB, "the header of one HTTP request, in bytes")
    header_deadline: float = _limit(
        10.0, "seconds until a header must be complete, and before it the handshake of TLS"
    )
    store_deadline: float = _limit(5.0, "seconds that a call waits for the store")
    insert_id_lifetime: float = _limit(600.0, "seconds that an insert id is remembered")

    def check(self, limit: str, got: int) -> None:
        """Raise LimitExceeded if `got` is over the limit of that name."""
        maximum = getattr(self, limit)
        if maximum is not None and got > maximum:
            raise LimitExceeded(limit, maximum, got)

    def to_json(self) -> dict[str, int | float | None]:
        """Return every limit by its name, as `info` shows them."""
        return asdict(self)
