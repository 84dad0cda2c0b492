"""The methods that wait for what happens: `subscribe` and `unsubscribe`."""

from streamd.calls import Answer, Caller, Params, Work, integer
from streamd.cursor import Cursor, parse_cursor
from streamd.errors import PlaceLost
from streamd.filters import Filter, parse_filter
from streamd.hub import Hub
from streamd.jsonrpc import to_json
from streamd.log import Page
from streamd.meters import Meters
from streamd.queries import check_size, cursor_json, entry_json
from streamd.stores.base import Bounds, Stream
from streamd.subscription import Subscription
from streamd.turns import Turns
from streamd.types import Seq
from streamd.view import View

__all__ = ["Feeds"]

_START = "start"
"""As `after`: from the oldest retained entry on."""


class Feeds:
    """Open subscriptions at a place in the log and hand them to the hub."""

    def __init__(
        self, stream: Stream, view: View, hub: Hub, turns: Turns, meters: Meters | None = None
    ) -> None:
        self._resumes = (meters or Meters()).resumes
        self._turns = turns
        self._keys = stream.keys
        self._limits = stream.limits
        self._view = view
        self._hub = hub

    def subscribe(self, caller: Caller, params: Params, answer: Answer) -> Work:
        assert caller.peer is not None, "METHODS says that it needs a peer"
        wanted = parse_filter(params.get("filter", {}), self._keys, self._limits)
        backfill = integer(params, "backfill", 20, 0)
        self._limits.check("backfill", backfill)
        after = params.get("after")
        if after is not None and after != _START:
            after = parse_cursor(after, "after")
        sub = self._hub.subscribe(caller.peer, caller.access.narrow(wanted), asked=wanted)
        return self._answer_subscribe(caller, sub, backfill, after, answer)

    async def _answer_subscribe(
        self,
        caller: Caller,
        sub: Subscription,
        backfill: int,
        after: Cursor | str | None,
        answer: Answer,
    ) -> None:
        try:
            reason: str | None = None
            if after is not None:
                try:
                    place = await self._resume_from(after)
                except PlaceLost as lost:
                    reason = lost.reason
                    self._resumes[reason].add()
                else:
                    self._resumes["resumed"].add()
                    self._answer_resumed(sub, place, answer)
                    return
            async with caller.turn():
                if backfill:
                    answer.check()
                shown = False
                while not shown:
                    wanted = sub.wanted
                    page = await self._snapshot(wanted, backfill)
                    if backfill:
                        check_size(page, backfill, self._limits)
                    shown = await self._turns.do(
                        self._answer_snapshot, sub, wanted, page, reason, answer
                    )
        except BaseException:
            self._hub.abandon(sub)
            raise

    async def _resume_from(self, after: Cursor | str) -> Seq:
        if isinstance(after, Cursor):
            return await self._view.resolve(after)
        await self._view.fresh()
        return self._view.floor - 1

    def _answer_resumed(self, sub: Subscription, place: Seq, answer: Answer) -> None:
        live = self._place(sub, place)
        self._settle(
            sub,
            b'{"subscription":%d,"entries":[],"before":null,"cursor":"%b","resumed":true,"live":%b}'
            % (sub.number, self._view.cursor(place).encode(), live),
            answer,
        )

    async def _snapshot(self, wanted: Filter, backfill: int) -> Page:
        if backfill:
            bounds = Bounds(backfill, self._limits.query_work, self._limits.answer_bytes)
            return await self._view.newest(wanted, bounds)
        state = self._view.state
        return Page(state, [], state.head + 1 if state.head >= state.floor else None)

    def _answer_snapshot(
        self,
        sub: Subscription,
        wanted: Filter,
        page: Page,
        reason: str | None,
        answer: Answer,
    ) -> bool:
        """Answer with a page; not if the log was forked since it was read, or something else may be read."""
        if page.state.chain != self._view.chain or sub.wanted is not wanted:
            return False
        live = self._place(sub, page.state.head)
        entries = [
            entry_json(entry, self._view.cursor(entry.seq)) for entry in reversed(page.entries)
        ]
        resumed = b"null" if reason is None else b'false,"reason":%b' % to_json(reason)
        self._settle(
            sub,
            b'{"subscription":%d,"entries":[%b],"before":%b,"cursor":"%b","resumed":%b,"live":%b}'
            % (
                sub.number,
                b",".join(entries),
                cursor_json(page.state.chain, page.before),
                self._view.cursor(sub.cursor).encode(),
                resumed,
                live,
            ),
            answer,
        )
        return True

    def _place(self, sub: Subscription, place: Seq) -> bytes:
        """Put the cursor of a subscription; return as JSON whether it is live from the start."""
        sub.cursor = place
        sub.promised = place != self._view.position
        return b"false" if sub.promised else b"true"

    def _settle(self, sub: Subscription, result: bytes, answer: Answer) -> None:
        if sub.lost is not None and not isinstance(sub.lost, PlaceLost):
            raise sub.lost
        answer.result(
            result, then=lambda: self._hub.activate(sub), undo=lambda: self._hub.abandon(sub)
        )

    def unsubscribe(self, caller: Caller, params: Params, answer: Answer) -> None:
        assert caller.peer is not None, "METHODS says that it needs a peer"
        self._hub.unsubscribe(caller.peer, integer(params, "subscription", 0, 0))
        answer.result(b"true")
