"""Cursors, and the chain of epochs that gives every place in the log one name.

An epoch covers the numbers handed out in it. When numbers could be handed out a second time
(a store restarted from an older copy, a replica promoted), a new epoch begins behind the newest
entry that is left, its fork; the chain remembers which epoch each older place belongs to. So an
entry's cursor never changes, and two entries never share one.
"""

import binascii
import zlib
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import NamedTuple

from streamd.errors import InvalidParams
from streamd.types import Seq

__all__ = ["EPOCH_BYTES", "Chain", "Cursor", "parse_cursor"]

EPOCH_BYTES = 6
"""Random bytes of an epoch; its text is their 8 characters of base64url."""

_EPOCH_CHARS = 8
_CURSOR_CHARS = 20
_SEQ_BYTES = 7
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_FROM_URL_SAFE = bytes.maketrans(b"-_+/", b"+/??")


class Cursor(NamedTuple):
    """A place as a cursor's text names it; whether the log still knows it, its Chain tells."""

    epoch: str
    seq: Seq


def _format_cursor(epoch: str, seq: Seq) -> str:
    raw = seq.to_bytes(_SEQ_BYTES, "big")
    check = zlib.crc32(raw, zlib.crc32(epoch.encode())) & 0xFFFF
    text = binascii.b2a_base64(raw + check.to_bytes(2, "big"), newline=False)
    return epoch + text.translate(_TO_URL_SAFE).decode()


def parse_cursor(text: object, name: str) -> Cursor:
    """Return the place that `text` names, or raise InvalidParams with the parameter's `name`."""
    if not isinstance(text, str):
        raise InvalidParams(f"{name} must be a cursor, which is a string")
    if len(text) == _CURSOR_CHARS and text.isascii():
        epoch = text[:_EPOCH_CHARS]
        try:
            raw = binascii.a2b_base64(
                text[_EPOCH_CHARS:].encode().translate(_FROM_URL_SAFE), strict_mode=True
            )
        except binascii.Error:
            raw = b""
        seq = int.from_bytes(raw[:_SEQ_BYTES], "big")
        if _format_cursor(epoch, seq) == text:
            return Cursor(epoch, seq)
    raise InvalidParams(f"{name} is not a cursor of this server", reason="cursor")


@dataclass(frozen=True, slots=True)
class Chain:
    """Name the places of a log: its current epoch, and the closed ones with their last seq.

    `closed` runs from the oldest epoch on; one that handed out no number is not in it, unless it is
    the first: that names place 0.
    """

    epoch: str
    closed: tuple[tuple[str, Seq], ...] = ()
    _forks: tuple[Seq, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_forks", tuple(last for _, last in self.closed))

    @classmethod
    def read(cls, epoch: str, closed: str) -> "Chain":
        """Return the chain of which stores keep the closed epochs as `epoch:last epoch:last …`."""
        pairs = (part.split(":") for part in closed.split())
        return cls(epoch, tuple((name, int(last)) for name, last in pairs))

    def write_closed(self) -> str:
        """Return the closed epochs as `read` reads them."""
        return " ".join(f"{epoch}:{last}" for epoch, last in self.closed)

    def cursor(self, seq: Seq) -> str:
        """Return the cursor of place `seq`: always the same text for one place."""
        if not self._forks or seq > self._forks[-1]:
            return _format_cursor(self.epoch, seq)
        return _format_cursor(self.closed[bisect_left(self._forks, seq)][0], seq)

    def holds(self, cursor: Cursor) -> bool:
        """Tell whether the cursor's place lies in this log, as far as epochs can tell."""
        first = 0
        for epoch, last in self.closed:
            if epoch == cursor.epoch:
                return first <= cursor.seq <= last
            first = last + 1
        return cursor.epoch == self.epoch and cursor.seq >= first

    def fork(self, epoch: str, head: Seq, floor: Seq) -> "Chain":
        """Return the chain that goes on in a new epoch behind `head`, without what `floor` has made moot."""
        # Cursors up to floor - 2 have expired, whatever their epoch.
        closed = [(old, last) for old, last in self.closed if last >= floor - 1]
        last = self._forks[-1] if self._forks else 0
        if head > last or (not closed and floor == 1):
            closed.append((self.epoch, head))
        return Chain(epoch, tuple(closed))

    def shared(self, other: "Chain") -> Seq | None:
        """Return the newest place up to which both chains tell of the same log.

        It is `None` where they share nothing; where both are in the same epoch it is that
        of the place which was reached last, unknown here, so a caller takes the minimum with
        its own place.
        """
        lasts = dict(other.closed)
        if self.epoch == other.epoch:
            return _UNBOUNDED
        if self.epoch in lasts:
            return lasts[self.epoch]
        for epoch, last in reversed(self.closed):
            if epoch == other.epoch:
                return last
            if epoch in lasts:
                return min(last, lasts[epoch])
        return None


_UNBOUNDED = 1 << 62
