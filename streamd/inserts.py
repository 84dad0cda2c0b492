"""The methods that insert: `insert` and `insert_many`."""

from streamd.calls import Answer, Caller, Params
from streamd.committer import Committer
from streamd.cursor import Chain
from streamd.errors import CallError, InvalidParams
from streamd.event import draft_event, kind_of
from streamd.log import Draft, Placed
from streamd.stores.base import Stream, Verdict
from streamd.types import Json

__all__ = ["Inserts"]


class Inserts:
    """Check events and hand them to the committer, which answers."""

    def __init__(self, stream: Stream, committer: Committer) -> None:
        self._keys = stream.keys
        self._limits = stream.limits
        self._committer = committer

    def insert(self, caller: Caller, params: Params, answer: Answer) -> None:
        if caller.rates is not None:
            caller.rates.take_events(1)
        draft = self._draft(caller, params["event"], params.get("id"))

        def done(chain: Chain, verdict: Verdict) -> None:
            if isinstance(verdict, CallError):
                answer.error(verdict)
            else:
                answer.done(_placed_json(chain, verdict)[1:-1])

        self._committer.submit(caller, [draft], done)

    def insert_many(self, caller: Caller, params: Params, answer: Answer) -> None:
        drafts = self._drafts(caller, params["events"], params.get("ids"))
        if not drafts:
            answer.result(b'{"entries":[]}')
            return

        def done(chain: Chain, verdict: Verdict) -> None:
            if isinstance(verdict, CallError):
                answer.error(verdict)
            else:
                answer.done(b'{"entries":%b}' % _placed_json(chain, verdict))

        self._committer.submit(caller, drafts, done)

    def _draft(self, caller: Caller, event: Json, insert_id: Json) -> Draft:
        return caller.access.admit(draft_event(event, insert_id, self._keys, self._limits))

    def _drafts(self, caller: Caller, events: Json, ids: Json) -> list[Draft]:
        if not isinstance(events, list):
            raise InvalidParams(f"events must be a list, got {kind_of(events)}")
        self._limits.check("insert_many", len(events))
        if ids is None:
            ids = [None] * len(events)
        if not isinstance(ids, list):
            raise InvalidParams(f"ids must be a list, got {kind_of(ids)}")
        if len(ids) != len(events):
            raise InvalidParams(
                f"there must be as many ids as events, got {len(ids)} for {len(events)}"
            )
        if caller.rates is not None:
            caller.rates.take_events(len(events))
        return [self._draft(caller, event, ident) for event, ident in zip(events, ids, strict=True)]


def _placed_json(chain: Chain, placed: list[Placed]) -> bytes:
    return b"[%b]" % b",".join(
        [
            b'{"cursor":"%b","time":%d,"duplicate":%b}'
            % (
                chain.cursor(place.seq).encode(),
                place.time,
                b"true" if place.duplicate else b"false",
            )
            for place in placed
        ]
    )
