"""What the scripts answer and publish, read; and what they are asked, written."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from streamd.cursor import Chain
from streamd.filters import Filter
from streamd.log import Draft, Entry, LogState, Placed, pack, unpack
from streamd.stores.base import Verdict, id_reused
from streamd.stores.redis.link import Argument
from streamd.types import Seq, Term

__all__ = [
    "Published",
    "list_calls",
    "list_clauses",
    "read_published",
    "read_state",
    "read_verdicts",
]


def read_state(reply: list[Any], known: Chain | None) -> LogState:
    """Return the state a reply begins with; it has no chain where that is the `known` one."""
    epoch, chain, head, floor = reply[:4]
    if chain is None and known is not None:
        return LogState(known, int(head), int(floor))
    return LogState(Chain.read(epoch.decode(), chain.decode()), int(head), int(floor))


# Appending.


def _digest_id(insert_id: str | None) -> bytes:
    # Of one length, however long the id is: it takes 90 bytes in Redis then, and not up to 220.
    if insert_id is None:
        return b""
    return blake2b(insert_id.encode(), digest_size=12).digest()


def list_calls(
    calls: Sequence[Sequence[Draft]],
) -> tuple[list[Argument], list[Argument], list[Term]]:
    """Return the arguments that tell of a batch: counts, drafts and terms; and the terms."""
    counts: list[Argument] = [len(calls), sum(map(len, calls)), *map(len, calls)]
    arguments: list[Argument] = []
    posted: dict[Term, list[int]] = {}
    number = 0
    for call in calls:
        for draft in call:
            number += 1
            arguments += (pack(draft), _digest_id(draft.id), draft.digest)
            for term in draft.terms:
                posted.setdefault(term, []).append(number)
    for numbers in posted.values():
        arguments.append(len(numbers))
        arguments += numbers
    return counts, arguments, list(posted)


def read_verdicts(record: bytes, calls: Sequence[Sequence[Draft]]) -> list[Verdict]:
    """Return the outcome of each call from `first time word…`.

    Without words every draft is new. With them, there is one for each draft (`n` is new,
    `dSEQ,TIME` a duplicate) or one `x` for a call that was refused.
    """
    first, time, *words = record.decode().split(" ")
    fresh = _number(int(first), int(time))
    if not words:
        return [[next(fresh) for _ in call] for call in calls]
    rest = iter(words)
    return [_read_call(len(call), rest, fresh) for call in calls]


def _number(seq: Seq, time: int) -> Iterator[Placed]:
    while True:
        yield Placed(seq, time, duplicate=False)
        seq += 1


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


def read_published(message: bytes) -> Published:
    """Read `epoch floor length…`, a newline, and the entries, of which there is one at least.

    Raise ValueError for anything else: whoever has the right may publish what he likes.
    """
    head, rest = message.split(b"\n", 1)
    epoch, floor, *lengths = head.split(b" ")
    entries: list[Entry] = []
    at = 0
    for length in map(int, lengths):
        entries.append(unpack(rest[at : at + length]))
        at += length
    if not entries or not epoch:
        raise ValueError("a message without entries")
    return Published(epoch.decode(), int(floor), entries)
