"""Upkeep: entries put back in their places, and the index read, compared and mended."""

from collections.abc import AsyncGenerator, Iterable, Sequence

from streamd.event import Keys
from streamd.log import Draft, Entry, pack
from streamd.stores.base import Posting, Upkeep
from streamd.stores.redis.access import Access
from streamd.stores.redis.link import Argument
from streamd.stores.redis.replies import read_entries
from streamd.stores.redis.scripts import (
    MEND,
    MISSING,
    PLACES,
    READ,
    RESTORE,
    TERMS,
)
from streamd.types import Seq, Term

__all__ = ["RedisUpkeep"]

_STEP = 1_000
"""Keys or places that one script looks at: Redis serves nobody else meanwhile."""


class RedisUpkeep(Upkeep):
    """Do upkeep by scripts that are as short as those of serving."""

    def __init__(self, access: Access, *, max_events: int | None) -> None:
        self._access = access
        self._log = (access.names.meta, access.names.log)
        self._max_events = max_events or 0

    @property
    def keys(self) -> Keys:
        return self._access.keys

    async def restore(self, entries: Sequence[Entry]) -> bool:
        oldest, newest = entries[0], entries[-1]
        posted = _group(Posting(term, entry.seq) for entry in entries for term in entry.terms)
        arguments: list[Argument] = [
            self._max_events,
            self._access.names.channel,
            oldest.seq,
            oldest.time,
            newest.time,
            len(entries),
            *(_member(entry) for entry in entries),
        ]
        for seqs in posted.values():
            arguments += (len(seqs), *seqs)
        reply = await self._access.run(
            RESTORE, (*self._log, *self._lists(posted)), arguments, writes=True
        )
        stored, foreign = reply.rest
        self._access.note_foreign(foreign)
        return bool(stored)

    async def read(self, seqs: Sequence[Seq]) -> list[Entry]:
        reply = await self._access.run(READ, self._log, sorted(seqs))
        return read_entries(reply.rest)

    async def missing(self, entries: Sequence[Entry]) -> list[Posting]:
        every = [Posting(term, entry.seq) for entry in entries for term in entry.terms]
        found: list[Posting] = []
        for first in range(0, len(every), _STEP):
            found += await self._missing(every[first : first + _STEP])
        return found

    async def _missing(self, postings: Sequence[Posting]) -> list[Posting]:
        posted = _group(postings)
        arguments: list[Argument] = []
        for seqs in posted.values():
            arguments += (len(seqs), *seqs)
        keys = (self._access.names.meta, *self._lists(posted))
        numbers = iter((await self._access.run(MISSING, keys, arguments)).rest)
        terms = list(posted)
        return [Posting(terms[term - 1], seq) for term, seq in zip(numbers, numbers, strict=True)]

    async def postings(self) -> AsyncGenerator[list[Posting]]:
        names = self._access.names
        cursor, epoch = b"0", None
        while True:
            state, (following, *lists) = await self._access.run(
                TERMS, (names.meta,), (cursor, names.pattern, _STEP)
            )
            if epoch not in (None, state.chain.epoch):
                # Another server, or another life of it: the cursor meant nothing there.
                cursor, epoch = b"0", None
                continue
            cursor, epoch = following, state.chain.epoch
            # What is not text was not named by us, and is read as empty.
            async for some in self._places([name.decode(errors="replace") for name in lists]):
                yield some
            if cursor == b"0":
                return

    async def _places(self, lists: Sequence[str]) -> AsyncGenerator[list[Posting]]:
        names = self._access.names
        at, since = 0, "-inf"
        while at < len(lists):
            asked = lists[at : at + _STEP]
            reply = await self._access.run(PLACES, (names.meta, *asked), (since, _STEP))
            found = [
                Posting(names.term_of(name), int(seq))
                for name, seqs in zip(asked, reply.rest, strict=False)
                for seq in seqs
            ]
            at, since = at + len(reply.rest), "-inf"
            if len(found) == _STEP:
                # Of the last list there may be more.
                at, since = at - 1, f"({found[-1].seq}"
            if found:
                yield found

    async def mend(self, postings: Sequence[Posting]) -> None:
        posted = _group(postings)
        arguments: list[Argument] = []
        for term, seqs in posted.items():
            arguments += (term, len(seqs), *seqs)
        await self._access.run(MEND, (*self._log, *self._lists(posted)), arguments)

    def _lists(self, terms: Iterable[Term]) -> list[str]:
        return [self._access.names.term(term) for term in terms]


def _group(postings: Iterable[Posting]) -> dict[Term, list[Seq]]:
    posted: dict[Term, list[Seq]] = {}
    for term, seq in postings:
        posted.setdefault(term, []).append(seq)
    return posted


def _member(entry: Entry) -> bytes:
    return f"{entry.seq} {entry.time} ".encode() + pack(Draft(entry.body, entry.terms))
