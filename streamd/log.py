"""What the log consists of, and what is said about it."""

from typing import NamedTuple

from streamd.cursor import Chain
from streamd.types import Seq, Term

__all__ = ["Draft", "Entry", "LogState", "Page", "Placed", "Run", "pack", "unpack", "unpack_text"]


class Draft(NamedTuple):
    """An event that is fit to be stored."""

    body: bytes
    """The event as JSON."""
    terms: tuple[Term, ...]
    """Its terms, each once."""
    id: str | None = None
    """The producer's insert id."""
    digest: bytes = b""
    """A digest of the body, where there is an id."""


class Placed(NamedTuple):
    """Where an event went, or was already."""

    seq: Seq
    time: int
    """Milliseconds since 1970, by the store's clock."""
    duplicate: bool


class Entry(NamedTuple):
    """An event in its place in the log."""

    seq: Seq
    time: int
    """Milliseconds since 1970, by the store's clock, never less than an older entry's."""
    terms: tuple[Term, ...]
    body: bytes
    """The event as JSON."""


class LogState(NamedTuple):
    """The log at one moment."""

    chain: Chain
    head: Seq
    """The newest place; 0 while there was no event."""
    floor: Seq
    """The oldest place that is retained; head + 1 if none is."""

    def resumes(self, since: Seq, chain: Chain) -> Seq:
        """Return where a tail goes on that had come to `since` when the log had that chain.

        That is where it was, or before that, where the log was forked; or after that, where
        retention has overtaken it.
        """
        if self.chain != chain:
            shared = self.chain.shared(chain)
            since = min(since, shared) if shared is not None else self.floor - 1
        return max(since, self.floor - 1)


class Page(NamedTuple):
    """A look backwards: matching entries, newest first."""

    state: LogState
    entries: list[Entry]
    before: Seq | None
    """The place to go on from, exclusive; `None` when nothing older is left to look at."""
    exhausted: bool = False
    """Whether the work allowed was used up before the page was full."""


class Run(NamedTuple):
    """A look forwards: every matching entry after `since` up to and with `upto`, oldest first."""

    state: LogState
    since: Seq
    entries: list[Entry]
    upto: Seq


def pack(draft: Draft) -> bytes:
    """Return the part of a stored entry that does not depend on its place.

    `count NUL term NUL … NUL body`: neither a term nor JSON text has a raw NUL.
    A store puts `seq SP time SP` before it.
    """
    head = "\0".join((str(len(draft.terms)), *draft.terms))
    return head.encode() + b"\0" + draft.body


def unpack(member: bytes) -> Entry:
    """Return the entry that was stored as `seq SP time SP` + pack(draft)."""
    head, rest = member.split(b"\0", 1)
    seq, time, count = head.split(b" ")
    *terms, body = rest.split(b"\0", int(count))
    return Entry(int(seq), int(time), tuple([term.decode() for term in terms]), body)


def unpack_text(text: bytes) -> tuple[tuple[Term, ...], bytes]:
    """Return the terms and the body of pack(draft), faster than by their count."""
    head, _, body = text.rpartition(b"\0")
    return tuple(head.decode().split("\0")[1:]), body
