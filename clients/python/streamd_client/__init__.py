"""
The asyncio client of streamd, the real-time feed server.

    async with connect("ws://127.0.0.1:8080/") as client:
        await client.insert({"kind": "watch", "user": 291, "repo": 2842})
        async with client.subscribe(user=[23, 291]) as feed:
            async for entry in feed:
                print(entry.event)

The wire is described in `clients/PROTOCOL.md`, the errors in `streamd_client.errors`.
"""

from streamd_client.backoff import full_jitter
from streamd_client.client import Client, connect
from streamd_client.errors import (
    CallTimeout,
    ClientClosed,
    ClientStopped,
    ConnectionLost,
    ConnectionRejected,
    Forbidden,
    HandshakeRefused,
    InternalError,
    InvalidParams,
    InvalidRequest,
    LimitExceeded,
    MethodNotFound,
    ParseError,
    PlaceLost,
    ProtocolError,
    RateLimited,
    RequestRefused,
    RpcError,
    StoreUnavailable,
    StreamdError,
    Unauthorized,
    UnknownOutcome,
    UnknownSubscription,
    Unreachable,
)
from streamd_client.feed import Feed
from streamd_client.subscription import FeedState
from streamd_client.values import (
    Entry,
    Event,
    Explanation,
    Filter,
    History,
    Info,
    Inserted,
    KeyVerdict,
    Standing,
)

__all__ = [
    "CallTimeout",
    "Client",
    "ClientClosed",
    "ClientStopped",
    "ConnectionLost",
    "ConnectionRejected",
    "Entry",
    "Event",
    "Explanation",
    "Feed",
    "FeedState",
    "Filter",
    "Forbidden",
    "HandshakeRefused",
    "History",
    "Info",
    "Inserted",
    "InternalError",
    "InvalidParams",
    "InvalidRequest",
    "KeyVerdict",
    "LimitExceeded",
    "MethodNotFound",
    "ParseError",
    "PlaceLost",
    "ProtocolError",
    "RateLimited",
    "RequestRefused",
    "RpcError",
    "Standing",
    "StoreUnavailable",
    "StreamdError",
    "Unauthorized",
    "UnknownOutcome",
    "UnknownSubscription",
    "Unreachable",
    "connect",
    "full_jitter",
]

__version__ = "0.1.0"
