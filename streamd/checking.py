"""Checking a stream: whether its log is sound, and whether the index says what the log says."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import partial
from typing import NamedTuple

import orjson

from streamd.errors import InvalidParams
from streamd.filters import EVERYTHING
from streamd.limits import Limits
from streamd.log import Entry, LogState, Run
from streamd.stores.base import Posting, Store
from streamd.types import JsonObject, Seq, Term
from streamd.walk import Patience, Walk, check_same

__all__ = ["Check", "Finding", "Kind"]

_MOST = 1_000
"""Places or postings that the store is asked about at once."""
_BYTES = 8 << 20
"""What is read at once for what the index says of it, if all entries were as large as the largest."""

_LENIENT = replace(Limits(), event_terms=1 << 30, value_bytes=1 << 30)
"""What was let in under other limits is not wrong."""


class Kind(StrEnum):
    """What can be wrong: with the log, which nothing can repair, or with the index, which the log can."""

    EMPTY = "empty"
    TIME = "time"
    EVENT = "event"
    TERMS = "terms"
    MISSING = "missing"
    SURPLUS = "surplus"


_SENTENCES = {
    Kind.EMPTY: "the log has no entry at place {place}",
    Kind.TIME: "the log has an entry at place {place} that is older than the one before it",
    Kind.EVENT: "the log has no JSON object as the event at place {place}",
    Kind.TERMS: "the log has other values of {key} at place {place} than the event there",
    Kind.MISSING: "the index lacks a value of {key} at place {place}",
    Kind.SURPLUS: "the index has a value of {key} at place {place} that is not there in the log",
}


class Finding(NamedTuple):
    """One thing that is wrong. It says where, and nothing of what is in an event."""

    kind: Kind
    place: Seq
    key: str | None = None
    """The name of the key, where it is about one that is declared."""

    def __str__(self) -> str:
        key = "a key that is not declared" if self.key is None else f"key {self.key!r}"
        return _SENTENCES[self.kind].format(place=self.place, key=key)


class Check:
    """Compare the log with its events and with the index, in two passes: first `log`, then `index`.

    What is appended or forgotten meanwhile is no finding.

    Args:
        store: An open store.
        found: Is given each finding.
        patience: For a store that is away.
        repair: Whether the index is to be mended where it is wrong.
    """

    def __init__(
        self, store: Store, found: Callable[[Finding], None], patience: Patience, *, repair: bool
    ) -> None:
        self._store = store
        self._upkeep = store.upkeep()
        self._found = found
        self._patience = patience
        self._repair = repair
        self._time = 0
        self._largest = 1
        self.walk = Walk(store, EVERYTHING, patience)
        """The way of the first pass."""
        self.counts: Counter[Kind] = Counter()
        """How much was found of each kind."""
        self.entries = 0
        """Entries looked at."""
        self.terms = 0
        """What they have of terms: as many postings are to be expected."""
        self.postings = 0
        """Postings looked at."""

    # From the log to the index.

    async def log(self) -> AsyncGenerator[None]:
        """Look at all entries, and into the index for each; yield now and then."""
        async for run in self.walk.runs():
            for finding in self._look_at(run):
                self._note(finding)
            lacking = await self._patience(partial(self._upkeep.missing, run.entries))
            await self._settle(Kind.MISSING, lacking, run.state)
            yield

    def _look_at(self, run: Run) -> Iterator[Finding]:
        there = {entry.seq: entry for entry in run.entries}
        for seq in range(run.since + 1, run.upto + 1):
            entry = there.get(seq)
            if entry is None:
                yield Finding(Kind.EMPTY, seq)
                continue
            self.entries += 1
            self.terms += len(entry.terms)
            self._largest = max(self._largest, len(entry.body))
            if entry.time < self._time:
                yield Finding(Kind.TIME, seq)
            self._time = entry.time
            yield from self._look_into(entry)

    def _look_into(self, entry: Entry) -> Iterator[Finding]:
        try:
            event = orjson.loads(entry.body)
        except orjson.JSONDecodeError:
            event = None
        if not isinstance(event, dict):
            yield Finding(Kind.EVENT, entry.seq)
            return
        wrong = self._wrong_keys(event, entry)
        for key in (*self._upkeep.keys.names, None):
            if key in wrong:
                yield Finding(Kind.TERMS, entry.seq, key)

    def _wrong_keys(self, event: JsonObject, entry: Entry) -> set[str | None]:
        """Return the keys of which an entry has other terms than its event."""
        try:
            terms = self._upkeep.keys.terms(event, _LENIENT)
        except InvalidParams as error:
            return {error.data["key"] if error.data else None}
        return {self._key_of(term) for term in set(terms).symmetric_difference(entry.terms)}

    # From the index to the log.

    async def index(self) -> AsyncGenerator[None]:
        """Look at all postings, and into the log for each; yield now and then."""
        state = await self._patience(self._store.state)
        async for postings in self._upkeep.postings():
            self.postings += len(postings)
            retained = [posting for posting in postings if posting.seq >= state.floor]
            surplus = await self._without_entry(retained)
            state = await self._settle(Kind.SURPLUS, surplus, state)
            yield

    async def _without_entry(self, postings: Sequence[Posting]) -> list[Posting]:
        """Return those of which no entry knows."""
        seqs = sorted({posting.seq for posting in postings})
        terms: dict[Seq, tuple[Term, ...]] = {}
        step = max(1, min(_MOST, _BYTES // self._largest))
        for first in range(0, len(seqs), step):
            some = seqs[first : first + step]
            entries = await self._patience(partial(self._upkeep.read, some))
            terms |= {entry.seq: entry.terms for entry in entries}
        return [posting for posting in postings if posting.term not in terms.get(posting.seq, ())]

    # What was found.

    async def _settle(self, kind: Kind, postings: Sequence[Posting], before: LogState) -> LogState:
        """Note and mend what is wrong with the index, but for what retention has just taken."""
        if not postings:
            return before
        state = await self._patience(self._store.state)
        check_same(before.chain, state.chain, before.head)
        wrong = [posting for posting in postings if posting.seq >= state.floor]
        for posting in wrong:
            self._note(Finding(kind, posting.seq, self._key_of(posting.term)))
        if self._repair:
            for first in range(0, len(wrong), _MOST):
                some = wrong[first : first + _MOST]
                await self._patience(partial(self._upkeep.mend, some))
        return state

    def _note(self, finding: Finding) -> None:
        self.counts[finding.kind] += 1
        self._found(finding)

    def _key_of(self, term: Term) -> str | None:
        name = term.partition(":")[0]
        return name if name in self._upkeep.keys.names else None
