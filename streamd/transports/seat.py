"""A connection's seat among all: taken before anything is read of it, and given back at its end."""

from streamd.transports.door import Refusal
from streamd.transports.gate import Gate

__all__ = ["NoSeat", "Seat"]

_TURNED_AWAY = 100
"""Connections at a time that are told why they are not let in; further ones are cut."""


class Seat:
    """The seat of one connection, or why it has none.

    A WebSocket takes it over with the connection, and gives it back by itself.
    """

    __slots__ = ("_address", "_gate", "_turned_away", "refusal", "taken")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._address: str | None = None
        self._turned_away = False
        self.taken = False
        """Whether it was asked for."""
        self.refusal: Refusal | None = None
        """Why the peer is not let in."""

    @property
    def too_late(self) -> bool:
        """Whether nobody is let in any more."""
        return self._gate.draining

    def take(self, address: str) -> bool:
        """Take it for a peer of this address; tell whether that gets an answer, if only why it has none."""
        self.taken = True
        census, journal = self._gate.census, self._gate.journal
        if self.too_late:
            journal.refused("draining", address)
            return False  # It was accepted just before the server stopped to.
        self.refusal = census.enter(address)
        if self.refusal is None:
            self._address = address
        elif census.turned_away < _TURNED_AWAY:
            census.turned_away += 1
            self._turned_away = True
        else:
            journal.refused(self.refusal.reason, address)
            return False
        return True

    def leave(self) -> None:
        """Give it back; idempotent."""
        if self._address is not None:
            self._gate.census.leave(self._address)
            self._address = None
        if self._turned_away:
            self._gate.census.turned_away -= 1
            self._turned_away = False


class NoSeat(Seat):
    """That of an operator, who comes in however many are there, and is not counted."""

    __slots__ = ()

    @property
    def too_late(self) -> bool:
        """Whether nobody is let in any more: operators are, to the end."""
        return False

    def take(self, address: str) -> bool:
        """Let the peer in."""
        self.taken = True
        return True
