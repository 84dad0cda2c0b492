"""Subscriptions and their peers: each a filter, a number and a place in the log."""

from enum import Enum, auto

from streamd.errors import CallError
from streamd.filters import Filter
from streamd.outbox import Outbox
from streamd.types import Seq

__all__ = ["Peer", "State", "Subscription", "count_values"]


class State(Enum):
    """Where a subscription stands; hub.py alone changes it.

    PENDING ──→ BEHIND ⇄ LIVE
       └───────────┴──────┴──→ ENDED
    """

    PENDING = auto()
    """Its answer is not written yet: nothing may be sent."""
    BEHIND = auto()
    """It is read forward from its cursor."""
    LIVE = auto()
    """It gets what the tail brings."""
    ENDED = auto()
    """Nothing is sent any more."""


class Subscription:
    """A filter, its number on one connection, and how far that connection has got."""

    __slots__ = (
        "asked",
        "cursor",
        "entries",
        "lost",
        "number",
        "peer",
        "promised",
        "size",
        "state",
        "wanted",
    )

    def __init__(
        self, peer: "Peer", number: int, wanted: Filter, asked: Filter | None = None
    ) -> None:
        self.peer = peer
        self.number = number
        self.wanted = wanted
        """What it gets: what was asked for, as far as its peer may read that."""
        self.asked = asked
        """What was asked for, where `wanted` is not all of it."""
        self.state = State.PENDING
        self.cursor: Seq = -1
        """Everything up to here was sent; while LIVE: when it became so, and everything since."""
        self.entries = 0
        """Entries written to it as events."""
        self.size = 0
        """The bytes of their frames."""
        self.promised = False
        """Whether the peer was told to wait for a `progress` with `live: true`."""
        self.lost: CallError | None = None
        """Why it ended while it was PENDING: to be told after its answer, or in its place."""

    @property
    def num_values(self) -> int:
        """The filter values that count for it."""
        return count_values(self.wanted, self.asked)

    @property
    def placed(self) -> bool:
        """Whether it has a place in the log yet: its answer names it."""
        return self.cursor >= 0


def count_values(wanted: Filter, asked: Filter | None) -> int:
    """Return how many values a subscription counts with: what it gets or what was asked for, whichever is more."""
    return max(wanted.num_values, 0 if asked is None else asked.num_values)


class Peer:
    """One connection as the hub sees it."""

    __slots__ = (
        "_entries",
        "_size",
        "last_number",
        "num_behind",
        "num_values",
        "outbox",
        "subscriptions",
        "told",
        "told_at",
    )

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self._entries = self._size = 0
        self.subscriptions: dict[int, Subscription] = {}
        self.last_number = 0
        self.num_values = 0
        """Filter values of all subscriptions."""
        self.num_behind = 0
        """Subscriptions that are BEHIND."""
        self.told: Seq = 0
        """The place that the last `progress` told of."""
        self.told_at = 0.0
        """When it did, by the loop's clock."""

    @property
    def entries(self) -> int:
        """Entries written to it as events, for all the subscriptions that it ever had."""
        return self._entries + sum([sub.entries for sub in self.subscriptions.values()])

    @property
    def size(self) -> int:
        """The bytes of all messages written to it."""
        return (
            self.outbox.sent + self._size + sum([sub.size for sub in self.subscriptions.values()])
        )

    def forget(self, sub: Subscription) -> bool:
        """Let a subscription go that has ended; tell whether it was still there."""
        if self.subscriptions.pop(sub.number, None) is None:
            return False
        self.num_values -= sub.num_values
        self._entries += sub.entries
        self._size += sub.size
        return True
