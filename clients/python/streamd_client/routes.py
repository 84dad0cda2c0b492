"""Which subscriber gets what comes for a number of this connection."""

from typing import Protocol

from streamd_client.errors import RpcError, StreamdError
from streamd_client.protocol import Closed, Progress, Push
from streamd_client.values import Entry

__all__ = ["Routes", "Subscriber"]


class Subscriber(Protocol):
    """What the link tells a feed. Plain functions, called in the order of the wire."""

    def connected(self) -> None:
        """A connection is open; nothing is subscribed on it yet."""

    def disconnected(self) -> None:
        """The connection is gone, and the subscription with it."""

    def received(self, entry: Entry, size: int) -> None:
        """An entry came, in a frame of so many bytes."""

    def progressed(self, cursor: str, live: bool) -> None:
        """Everything up to the cursor has been sent."""

    def closed_by_server(self, error: RpcError) -> None:
        """The server ended the subscription."""

    def stopped(self, error: StreamdError) -> None:
        """The link has ended for good."""


class Routes:
    """
    The subscribers of one connection, by the numbers of their subscriptions.
    """

    def __init__(self) -> None:
        self._subscribers: dict[int, Subscriber] = {}

    def add(self, number: int, subscriber: Subscriber) -> None:
        """
        Hand what comes for subscription `number` to a subscriber.
        """
        self._subscribers[number] = subscriber

    def remove(self, number: int) -> None:
        """
        Ignore what still comes for a number. Idempotent.
        """
        self._subscribers.pop(number, None)

    def clear(self) -> None:
        """
        Forget all numbers: their connection is gone.
        """
        self._subscribers.clear()

    def receive(self, message: Push | Progress | Closed, size: int) -> None:
        """
        Tell who is concerned by a message, in a frame of so many bytes; ignored where nobody is.
        """
        match message:
            case Push():
                if (subscriber := self._subscribers.get(message.subscription)) is not None:
                    subscriber.received(message.entry, size)
            case Progress(cursor, number, live):
                self._progress(number, cursor, live)
            case Closed(number, error):
                if (subscriber := self._subscribers.pop(number, None)) is not None:
                    subscriber.closed_by_server(error)

    def _progress(self, number: int | None, cursor: str, live: bool) -> None:
        if number is None:
            for each in self._subscribers.values():
                each.progressed(cursor, live=True)
        elif (subscriber := self._subscribers.get(number)) is not None:
            subscriber.progressed(cursor, live)
