"""The contract of a store: what keeps the log and its indexes.

Every promise of streamd rests on what is written here, and tests/stores/test_contract.py holds
every store to it.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from streamd.cursor import Chain
from streamd.errors import CallError, InvalidParams, StartupError
from streamd.event import Keys
from streamd.filters import Filter
from streamd.limits import Limits
from streamd.log import Draft, Entry, LogState, Page, Placed, Run
from streamd.types import Seq, Term

__all__ = [
    "Appended",
    "Bounds",
    "Observer",
    "Posting",
    "Store",
    "Stream",
    "Upkeep",
    "Verdict",
    "id_reused",
    "no_stream",
]

Verdict = list[Placed] | CallError
"""What became of one call: a place for each of its drafts, or the error that refused all of them."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Say which log a store keeps: its name, its keys, and the limits that concern the store."""

    name: str
    keys: Keys
    """Its declared keys; none, `Keys()`, for a tool that opens the stream with those that it has."""
    limits: Limits
    forgets: bool = True
    """Whether the store removes in the background what is forgotten; tools leave that to servers."""


class Appended(NamedTuple):
    """The outcome of one append."""

    chain: Chain
    """The chain that names the places."""
    verdicts: list[Verdict]
    """One for each call, in their order."""


def id_reused() -> InvalidParams:
    """Return the verdict on a call whose insert id was used for an event of another digest."""
    return InvalidParams("this insert id was used for another event", reason="id_reused")


def no_stream(name: str, where: str) -> StartupError:
    """Return what whoever opens a stream without naming its keys is told, where there is none such."""
    return StartupError(f"there is no stream {name!r} in {where}, and without keys none is created")


class Bounds(NamedTuple):
    """How much one read may return and cost."""

    limit: int
    """Entries returned."""
    work: int
    """Entries looked at."""
    size: int
    """Bytes of the bodies returned; the first entry is returned whatever its size."""
    skip: int = 0
    """Matching entries passed over before the first is returned."""


class Posting(NamedTuple):
    """A line of the index: the entry at this place has this term."""

    term: Term
    seq: Seq


class Observer:
    """Be told what a tail meets on its way; this one does not mind."""

    def lost(self) -> None:
        """The store can't be reached, or refuses: the tail tries until it is back."""

    def found(self) -> None:
        """It is back."""

    def repaired(self) -> None:
        """There were entries that had not been pushed to the tail: it has read them."""


class Upkeep(ABC):
    """Move a log, check it and mend its index: what tools do with a store, and no server.

    Failures are those of Store. All of it may be done while servers use the stream.
    """

    @property
    @abstractmethod
    def keys(self) -> Keys:
        """The keys that the stream has."""

    @abstractmethod
    async def restore(self, entries: Sequence[Entry]) -> bool:
        """Store entries in their places, with their times; tell whether they are there then.

        They are consecutive, 1 to 1,000, at most some 8 MiB, and their times never decrease. The first
        belongs right behind the head and is no older than what is there; if it does not, nothing is
        stored. Then the answer is true only if the last one given is in its place already, to the
        letter: they were stored by a call whose answer was lost. So whoever gets UnknownOutcome calls
        again. Like an append, they become visible as a whole, and come through every tail.
        """

    @abstractmethod
    async def read(self, seqs: Sequence[Seq]) -> list[Entry]:
        """Return the entries at up to 1,000 places, in ascending order: those that are retained and there."""

    @abstractmethod
    async def missing(self, entries: Sequence[Entry]) -> list[Posting]:
        """Return the postings of up to 1,000 entries that the index lacks."""

    @abstractmethod
    def postings(self) -> AsyncGenerator[list[Posting]]:
        """Yield the whole index, at most some 1,000 postings at a time: each at least once, in any order.

        What is added or removed meanwhile may be among them or not, and so may what lies below the floor.
        """

    @abstractmethod
    async def mend(self, postings: Sequence[Posting]) -> None:
        """Let the index agree with the log about up to 1,000 postings; idempotent.

        Each is in the index then if the entry at its place has the term, else it is not: judged and
        written at one stroke, so that what is appended or forgotten meanwhile is not harmed. Whoever
        gets StoreUnavailable calls again: some of it may have been done.
        """


class Store(ABC):
    """Keep one log.

    *Order.* Places are numbered 1, 2, 3 … without holes, in the order in which batches are stored
    and, within a batch, in the order given. `time` never decreases.
    *Atomicity.* A batch becomes visible as a whole, log and indexes together, or not at all.
    *Visibility.* What an append has returned is in every `state`, `newest`, `after` that is called
    afterwards, by whichever process, and comes through every tail.
    *Failure.* Methods raise StoreUnavailable when the store can't be reached or refuses within
    `limits.store_deadline` seconds; nothing has changed then. Only `append`, and upkeep's `restore`,
    may raise UnknownOutcome.
    Drivers' own errors never leave a store. Cancelling a call leaves the store usable.
    *Retention.* The store itself forgets what is older than `limits.max_events` and
    `limits.max_age`: it raises the floor, from then on no read returns what lies below, and
    removes log and index together, in bounded steps; unless the stream says that it does not.
    *Epochs.* The chain grows when places that were handed out may come to mean other events; until
    then every process sees the same chain.

    A store is used from one event loop. `open` comes first, once; `aclose` last, and is idempotent.
    """

    observer: Observer = Observer()
    """Told by those tails whose store can be lost; whoever wants to know sets it before the tail begins."""

    @abstractmethod
    async def open(self) -> LogState:
        """Connect, create or check the stream, start what runs in the background.

        A stream that is given without keys is opened with those that it has, and never created:
        where there is none, StartupError (`no_stream`), and nothing is left behind, be it an empty
        file or table.
        Raise StartupError with a sentence for people if the store can't be used: unreachable, of a
        version or configuration that breaks a promise, or a stream with other keys than ours.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """End what runs in the background and disconnect; idempotent."""

    @abstractmethod
    async def state(self) -> LogState:
        """Return chain, head and floor, as they are at some moment after this call began."""

    @abstractmethod
    async def append(self, calls: Sequence[Sequence[Draft]], batch: str) -> Appended:
        """Store the drafts of some calls, in order; each call is stored whole or refused whole.

        A draft's `id` that was stored within `limits.insert_id_lifetime`, or stands earlier in this
        batch, adds nothing: its Placed is the first one's with `duplicate=True`. With another
        digest the call is refused: InvalidParams with `reason: "id_reused"`. A refused call leaves
        no id behind, and its neighbours are stored.

        `batch` is a text unique to this batch. Whoever gets no answer may call again with the same
        batch and calls: what was stored is then not stored again, and the same Appended comes back.
        A store repeats by itself, in this way, until `limits.store_deadline`; then raises
        UnknownOutcome if the batch may be in the log, StoreUnavailable if it can't be.
        """

    @abstractmethod
    async def newest(self, wanted: Filter, bounds: Bounds, before: Seq | None = None) -> Page:
        """Return the newest matching entries, newest first, those before `before` (exclusive) if given.

        `bounds.skip` matches are passed over first. The page ends when `limit` or `size` is
        reached, when `work` is used up (`exhausted`), or at the floor (`before` is None).
        Cost grows with the entries returned and the number of the filter's values, not with the
        length of the log.
        """

    @abstractmethod
    async def after(self, since: Seq, wanted: Filter, bounds: Bounds) -> Run:
        """Return the matching entries after `since`, oldest first, and how far they are complete.

        `upto` is the place up to which nothing is missing: the last one returned or looked at, or
        the head. State, entries and upto are of one moment. If `since` lies below `floor - 1`, or
        beyond the head, the run is empty with `since == upto`: the state tells why.
        """

    @abstractmethod
    def tail(self, since: Seq, chain: Chain) -> AsyncGenerator[Run]:
        """Yield every new entry after `since`, in order and without end: each run begins where the last ended.

        A run has at most some 1,000 entries or 1 MiB, and `run.since` is the last run's `upto`. It
        has at least one entry, or is a sign of life (`since == upto`): one is due after two seconds
        in which nothing was new, from a tail that knows there is nothing. Two exceptions: if the log's chain changes, `run.since` is the
        newest place which both chains share, at most the last `upto` (or `floor - 1` where they
        share none, as after a FLUSHALL); what had been yielded beyond it is void. And if retention
        overtakes the tail, `run.since` is `floor - 1`. In both cases the run may be without entries.

        Connection losses are the store's affair: it reconnects for ever, and loses nothing.
        """

    @abstractmethod
    def upkeep(self) -> Upkeep:
        """Return the tools' view of this store, for use while the store is open."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()
