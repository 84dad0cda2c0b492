"""What the scripts answer and publish, read; and what they are asked, written."""

import struct
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import count, islice, repeat
from typing import Any, NamedTuple

from streamd.cursor import Chain
from streamd.errors import StoreUnavailable
from streamd.filters import Filter
from streamd.log import Draft, Entry, LogState, Placed, pack, unpack, unpack_text
from streamd.stores.base import Verdict, id_reused
from streamd.stores.failure import Failure
from streamd.stores.redis.link import FOREIGN, Argument
from streamd.types import Seq, Term

__all__ = [
    "Published",
    "list_calls",
    "list_clauses",
    "read_entries",
    "read_published",
    "read_state",
    "read_verdicts",
]


def read_state(reply: list[Any], known: Chain | None) -> LogState:
    """Return the state a reply begins with; it has no chain where that is the `known` one. Raise Failure."""
    epoch, chain, head, floor = reply[:4]
    if chain is None and known is not None:
        return LogState(known, int(head), int(floor))
    try:
        return LogState(Chain.read(epoch.decode(), chain.decode()), int(head), int(floor))
    except ValueError as exc:
        raise Failure("DAMAGED", FOREIGN, repeat=False, executed=True) from exc


def read_entries(members: Sequence[bytes]) -> list[Entry]:
    """Return entries of the log; raise StoreUnavailable if one is none."""
    try:
        return [unpack(member) for member in members]
    except ValueError:
        # Its words would show what is there.
        raise StoreUnavailable(f"the store is not available: {FOREIGN}") from None


# Appending.


_DIGEST = 12
_NUMBER = 4
"""Bytes of a number in an argument, the greatest first."""
_NO_MARK = bytes(2 * _DIGEST)


def _mark(draft: Draft) -> bytes:
    """Return digests of the insert id and of the body, 24 bytes in all."""
    if draft.id is None:
        return _NO_MARK
    # Of one length, however long the id is: it takes 90 bytes in Redis then, and not up to 220.
    return blake2b(draft.id.encode(), digest_size=_DIGEST).digest() + draft.digest


def list_calls(calls: Sequence[Sequence[Draft]]) -> tuple[list[Argument], list[Term]]:
    """Return the arguments that tell of a batch (see append.lua), and its terms."""
    drafts = [draft for call in calls for draft in call]
    texts = [pack(draft) for draft in drafts]
    marks = [_mark(draft) for draft in drafts] if any(draft.id for draft in drafts) else ()
    # Bytes, not lists: most terms have one draft, and the garbage collector need not know of them.
    posted: dict[Term, bytes] = {}
    for number, draft in enumerate(drafts, 1):
        place = number.to_bytes(_NUMBER)
        for term in draft.terms:
            posted[term] = posted.get(term, b"") + place
    arguments: list[Argument] = [
        _numbers([len(call) for call in calls]),
        _numbers([len(text) for text in texts]),
        b"".join(marks),
        b"".join(texts),
        _numbers([len(places) // _NUMBER for places in posted.values()]),
        b"".join(posted.values()),
    ]
    return arguments, list(posted)


def _numbers(numbers: Sequence[int]) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def read_verdicts(record: bytes, calls: Sequence[Sequence[Draft]]) -> list[Verdict]:
    """Return the outcome of each call from `first time word…`.

    Without words every draft is new. With them, there is one for each draft (`n` is new,
    `dSEQ,TIME` a duplicate) or one `x` for a call that was refused.
    """
    first, time, *words = record.decode().split(" ")
    fresh = map(Placed, count(int(first)), repeat(int(time)), repeat(False))
    if not words:
        return [list(islice(fresh, len(call))) for call in calls]
    rest = iter(words)
    return [_read_call(len(call), rest, fresh) for call in calls]


def _read_call(drafts: int, words: Iterator[str], fresh: Iterator[Placed]) -> Verdict:
    placed: list[Placed] = []
    for _ in range(drafts):
        word = next(words)
        if word == "x":
            return id_reused()
        if word == "n":
            placed.append(next(fresh))
        else:
            seq, time = word[1:].split(",")
            placed.append(Placed(int(seq), int(time), duplicate=True))
    return placed


# Reading.


def list_clauses(wanted: Filter) -> tuple[list[Argument], list[Term]]:
    """Return the arguments that tell a filter's form, and its terms in that order."""
    clauses = [clause for clause in wanted.clauses if all(clause)]
    form: list[Argument] = [len(clauses)]
    terms: list[Term] = []
    for clause in clauses:
        form.append(len(clause))
        form += map(len, clause)
        for values in clause:
            terms += values
    return form, terms


class Published(NamedTuple):
    """What a worker appended, as all of them get it at once."""

    epoch: str
    floor: Seq
    entries: list[Entry]
    """None where some were restored: the log has them."""


def read_published(message: bytes) -> Published:
    """Read `epoch floor first time count`, a newline, the sizes of the entries' texts, and these.

    Raise ValueError for anything else: whoever has the right may publish what he likes.
    """
    head, rest = message.split(b"\n", 1)
    epoch, *numbers = head.split(b" ")
    floor, first, time, entries = map(int, numbers)
    at = 4 * entries
    if not epoch or entries < 0 or len(rest) < at:
        raise ValueError("a message that is cut off")
    sizes = struct.unpack_from(f">{entries}I", rest)
    # A head of other numbers, as an older version wrote it, may look like one of ours.
    if at + sum(sizes) != len(rest):
        raise ValueError("a message of another length than it says")
    found: list[Entry] = []
    for seq, size in enumerate(sizes, first):
        found.append(Entry(seq, time, *unpack_text(rest[at : at + size])))
        at += size
    return Published(epoch.decode(), floor, found)
