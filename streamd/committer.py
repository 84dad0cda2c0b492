"""The committer: inserts that wait at one moment go to the store as one batch."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from operator import itemgetter
from typing import NamedTuple

from streamd.cursor import Chain
from streamd.errors import CallError, InternalError, StoreUnavailable, UnknownOutcome
from streamd.fairqueue import FairQueue
from streamd.log import Draft
from streamd.meters import Meters
from streamd.stores.base import Store, Verdict
from streamd.stores.failure import Failure
from streamd.stores.outage import Outage

__all__ = ["Committer", "Done"]

logger = logging.getLogger("streamd.committer")

_BATCH_DRAFTS = 1_000
_BATCH_BYTES = 1 << 20
_WAITING_BYTES = 64 << 20
"""What may wait for a slow store; more is refused at once."""
_DRAFT_COST = 400
"""Bytes a draft takes beside its body and terms: objects."""
_TERM_COST = 60
"""Bytes that a term of it takes beside its text."""

Done = Callable[[Chain, Verdict], None]
"""Told the outcome of one call: it must not raise."""

_NO_CHAIN = Chain("")
_CLOSING = "the server is shutting down"


class _Waiting(NamedTuple):
    source: object
    drafts: list[Draft]
    size: int
    until: float
    """When it has waited too long, by the loop's clock."""
    done: Done


class Committer:
    """Put calls into the store, as many at a time as are waiting, those of one source in their order.

    One batch is under way at a time: so load makes the batches by itself. A batch is cut between calls
    only. If there is more than goes into one, which calls are next is fair among the sources: a flood of
    large ones delays itself. But every other batch is begun with the oldest, so that none waits for ever.
    What has waited for `deadline` seconds is refused: the store is too slow for all that comes.
    """

    def __init__(
        self,
        store: Store,
        deadline: float,
        batch_id: Callable[[], str] = lambda: secrets.token_urlsafe(12),
        meters: Meters | None = None,
    ) -> None:
        self._store = store
        self._inserted = (meters or Meters()).inserted
        self._deadline = deadline
        self._batch_id = batch_id
        self._waiting: FairQueue[_Waiting] = FairQueue()
        self._by_age = False
        """Whether the last batch began with the oldest."""
        self._size = self._drafts = 0
        """Of all that waits, the bytes and the number."""
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._outage = Outage(logger, "inserts fail", "inserts go on")

    def start(self) -> None:
        """Begin to serve."""
        self._task = asyncio.create_task(self._serve(), name="committer")

    async def aclose(self) -> None:
        """Stop; calls that still wait are told that nothing was stored. Idempotent."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._fail(self._leave(self._waiting.take_all()), StoreUnavailable(_CLOSING))

    def submit(self, source: object, drafts: list[Draft], done: Done) -> None:
        """Store the drafts of one call of a source, all or none; `done` is told, from the event loop.

        Raise StoreUnavailable if too much is waiting already, or after `aclose`.
        """
        if self._closed:
            raise StoreUnavailable(_CLOSING)
        size = sum([_size(draft) for draft in drafts])
        if self._size + size > _WAITING_BYTES:
            raise StoreUnavailable("too many inserts are waiting for the store")
        self._size += size
        self._drafts += len(drafts)
        until = asyncio.get_running_loop().time() + self._deadline
        self._waiting.push(source, _Waiting(source, drafts, size, until, done), size)
        self._work.set()

    async def _serve(self) -> None:
        while True:
            await self._work.wait()
            while self._waiting:
                self._fail(self._take_late(), StoreUnavailable("the store is too slow"))
                if batch := self._take_batch():
                    await self._commit(batch)
            self._work.clear()

    def _take_late(self) -> list[_Waiting]:
        now = asyncio.get_running_loop().time()
        late: list[_Waiting] = []
        while self._waiting and (oldest := self._waiting.oldest()).until < now:
            late.append(self._waiting.drop(oldest.source))
        return self._leave(late)

    def _take_batch(self) -> list[_Waiting]:
        if self._drafts <= _BATCH_DRAFTS and self._size <= _BATCH_BYTES:
            return self._leave(self._waiting.take_all())
        self._by_age = not self._by_age
        call = self._waiting.oldest() if self._by_age else self._waiting.next()
        taken: list[tuple[int, _Waiting]] = []
        drafts = size = 0
        while not taken or (
            drafts + len(call.drafts) <= _BATCH_DRAFTS and size + call.size <= _BATCH_BYTES
        ):
            taken.append(self._waiting.take(call.source))
            drafts += len(call.drafts)
            size += call.size
            if not self._waiting:
                break
            call = self._waiting.next()
        # Side by side they cost less: those of one connection, and their answers, are in one place.
        taken.sort(key=itemgetter(0))
        return self._leave([call for _, call in taken])

    def _leave(self, calls: list[_Waiting]) -> list[_Waiting]:
        self._size -= sum([call.size for call in calls])
        self._drafts -= sum([len(call.drafts) for call in calls])
        return calls

    async def _commit(self, batch: list[_Waiting]) -> None:
        try:
            appended = await self._store.append([call.drafts for call in batch], self._batch_id())
        except CallError as error:
            self._outage.fail(_reason(error))
            self._fail(batch, error)
        except asyncio.CancelledError:
            self._fail(batch, UnknownOutcome())
            raise
        except Exception:
            logger.exception("a batch of inserts failed")
            self._fail(batch, InternalError())
        else:
            self._outage.succeed()
            self._inserted.add(sum(map(_fresh, appended.verdicts)))
            for call, verdict in zip(batch, appended.verdicts, strict=True):
                self._tell(call, appended.chain, verdict)

    def _fail(self, batch: list[_Waiting], error: CallError) -> None:
        for call in batch:
            self._tell(call, _NO_CHAIN, error)

    @staticmethod
    def _tell(call: _Waiting, chain: Chain, verdict: Verdict) -> None:
        try:
            call.done(chain, verdict)
        except Exception:
            # One peer's answer must not keep the others from theirs.
            logger.exception("the outcome of an insert could not be told")


def _reason(error: CallError) -> str:
    """Return why the store did not take inserts, for who runs the server."""
    if not isinstance(error, UnknownOutcome):
        return error.message
    cause = error.__cause__
    return cause.sentence if isinstance(cause, Failure) else "the store did not answer"


def _fresh(verdict: Verdict) -> int:
    """Return the number of entries that a call has added."""
    return sum([not place.duplicate for place in verdict]) if isinstance(verdict, list) else 0


def _size(draft: Draft) -> int:
    terms = draft.terms
    return len(draft.body) + _DRAFT_COST + _TERM_COST * len(terms) + sum(map(len, terms))
