"""The methods of the wire: their parameters, what they check, what they answer."""

import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol

from streamd import __version__
from streamd.committer import Committer
from streamd.cursor import Chain, Cursor, parse_cursor
from streamd.errors import (
    CallError,
    InternalError,
    InvalidParams,
    LimitExceeded,
    MethodNotFound,
    PlaceLost,
)
from streamd.event import draft_event, kind_of
from streamd.filters import Filter, parse_filter
from streamd.hub import Hub
from streamd.jsonrpc import Call, to_json
from streamd.log import Draft, Entry, Page
from streamd.stores.base import Bounds, Stream, Verdict
from streamd.subscription import Peer, Subscription
from streamd.types import Json, Seq
from streamd.view import View

__all__ = ["METHODS", "Answer", "Caller", "Methods"]

logger = logging.getLogger("streamd.methods")

_START = "start"
"""As `after`: from the oldest retained entry on."""


class Answer(Protocol):
    """Where the outcome of one call goes: exactly one of these is called, once."""

    def result(
        self,
        result: bytes,
        then: Callable[[], None] | None = None,
        undo: Callable[[], None] | None = None,
    ) -> None:
        """Answer with a result as JSON; `then` is called when it is written, or else `undo`."""

    def error(self, error: CallError) -> None:
        """Answer with an error."""


class Caller(Protocol):
    """Who calls."""

    @property
    def peer(self) -> Peer | None:
        """What events can be pushed to; None over HTTP."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait until this caller may be given one more large answer."""


Params = dict[str, Any]
Work = Coroutine[Any, Any, None]


class _Method(NamedTuple):
    required: tuple[str, ...]
    optional: tuple[str, ...]
    needs_peer: bool = False

    @property
    def params(self) -> tuple[str, ...]:
        return self.required + self.optional


METHODS: dict[str, _Method] = {
    "insert": _Method(("event",), ("id",)),
    "insert_many": _Method(("events",), ("ids",)),
    "items": _Method((), ("filter", "start", "end")),
    "history": _Method((), ("filter", "before", "limit")),
    "subscribe": _Method((), ("filter", "backfill", "after"), needs_peer=True),
    "unsubscribe": _Method(("subscription",), (), needs_peer=True),
    "info": _Method((), ()),
    "ping": _Method((), ()),
}
"""Every method with its parameters, in the order in which they may be given by position."""


def _bind(method: _Method, given: dict[str, Any] | list[Any]) -> Params:
    names = method.params
    if isinstance(given, list):
        if len(given) > len(names):
            raise InvalidParams(f"at most {len(names)} parameters can be given, got {len(given)}")
        given = dict(zip(names, given, strict=False))
    surplus = [name for name in given if name not in names]
    if surplus:
        raise InvalidParams(
            f"there are {len(surplus)} unknown parameters"
            if len(surplus) > 1
            else "there is an unknown parameter",
            unknown=[name[:64] for name in surplus[:16]],
            params=list(names),
        )
    missing = [name for name in method.required if name not in given]
    if missing:
        raise InvalidParams(f"parameter {missing[0]} is missing", missing=missing)
    # An optional parameter that is null is as good as not given.
    return {
        name: value for name, value in given.items() if value is not None or name in method.required
    }


def _integer(params: Params, name: str, default: int, least: int) -> int:
    value = params.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidParams(f"{name} must be an integer, got {kind_of(value)}")
    if value < least:
        raise InvalidParams(f"{name} must be at least {least}, got {value}")
    return value


def _entry_json(entry: Entry, cursor: str) -> bytes:
    return b'{"cursor":"%b","time":%d,"event":%b}' % (cursor.encode(), entry.time, entry.body)


class Methods:
    """Answer calls from the view, the hub and the committer of one worker."""

    def __init__(self, stream: Stream, view: View, hub: Hub, committer: Committer) -> None:
        self._keys = stream.keys
        self._limits = stream.limits
        self._view = view
        self._hub = hub
        self._committer = committer
        self._handlers: dict[str, Callable[[Caller, Params, Answer], Work | None]] = {
            "insert": self._insert,
            "insert_many": self._insert_many,
            "items": self._items,
            "history": self._history,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "info": self._info,
            "ping": self._ping,
        }

    def start(self, call: Call, caller: Caller, answer: Answer) -> Work | None:
        """Begin a call: it is checked now, and answered now or by the coroutine that is returned.

        Neither raises; an insert is answered later, by the committer.
        """
        try:
            method = METHODS.get(call.method)
            if method is None or (method.needs_peer and caller.peer is None):
                raise MethodNotFound("there is no such method here", methods=self._names(caller))
            work = self._handlers[call.method](caller, _bind(method, call.params), answer)
        except CallError as error:
            answer.error(error)
        except Exception:
            logger.exception("a call of %s failed", call.method)
            answer.error(InternalError())
        else:
            return None if work is None else self._finish(work, call.method, answer)
        return None

    @staticmethod
    def _names(caller: Caller) -> list[str]:
        return [name for name, method in METHODS.items() if not method.needs_peer or caller.peer]

    @staticmethod
    async def _finish(work: Work, method: str, answer: Answer) -> None:
        try:
            await work
        except CallError as error:
            answer.error(error)
        except Exception:
            logger.exception("a call of %s failed", method)
            answer.error(InternalError())

    # Inserting.

    def _insert(self, caller: Caller, params: Params, answer: Answer) -> None:
        draft = draft_event(params["event"], params.get("id"), self._keys, self._limits)

        def done(chain: Chain, verdict: Verdict) -> None:
            if isinstance(verdict, CallError):
                answer.error(verdict)
            else:
                answer.result(_placed_json(chain, verdict)[1:-1])

        self._committer.submit([draft], done)

    def _insert_many(self, caller: Caller, params: Params, answer: Answer) -> None:
        drafts = self._drafts(params["events"], params.get("ids"))
        if not drafts:
            answer.result(b'{"entries":[]}')
            return

        def done(chain: Chain, verdict: Verdict) -> None:
            if isinstance(verdict, CallError):
                answer.error(verdict)
            else:
                answer.result(b'{"entries":%b}' % _placed_json(chain, verdict))

        self._committer.submit(drafts, done)

    def _drafts(self, events: Json, ids: Json) -> list[Draft]:
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
        return [
            draft_event(event, ident, self._keys, self._limits)
            for event, ident in zip(events, ids, strict=True)
        ]

    # Querying.

    def _filter(self, params: Params) -> Filter:
        return parse_filter(params.get("filter", {}), self._keys, self._limits)

    def _bounds(self, limit: int, skip: int = 0) -> Bounds:
        return Bounds(limit, self._limits.query_work, self._limits.answer_bytes, skip)

    def _items(self, caller: Caller, params: Params, answer: Answer) -> Work:
        wanted = self._filter(params)
        start = _integer(params, "start", 0, 0)
        end = _integer(params, "end", 20, 0)
        if end < start:
            raise InvalidParams("end must not be less than start")
        self._limits.check("end", end)
        self._limits.check("slice", end - start)
        return self._answer_items(caller, wanted, start, end, answer)

    async def _answer_items(
        self, caller: Caller, wanted: Filter, start: int, end: int, answer: Answer
    ) -> None:
        if start == end:
            answer.result(b"[]")
            return
        await self._view.fresh()
        async with caller.turn():
            page = await self._view.newest(wanted, self._bounds(end - start, start))
            self._check_complete(page, end - start)
            answer.result(b"[%b]" % b",".join([entry.body for entry in page.entries]))

    def _check_complete(self, page: Page, limit: int) -> None:
        if page.exhausted:
            raise LimitExceeded("query_work", self._limits.query_work, self._limits.query_work + 1)
        if len(page.entries) < limit and page.before is not None:
            self._exceed_answer()

    def _exceed_answer(self) -> None:
        raise LimitExceeded(
            "answer_bytes", self._limits.answer_bytes, self._limits.answer_bytes + 1
        )

    def _history(self, caller: Caller, params: Params, answer: Answer) -> Work:
        wanted = self._filter(params)
        limit = _integer(params, "limit", 20, 1)
        self._limits.check("limit", limit)
        before = parse_cursor(params["before"], "before") if "before" in params else None
        return self._answer_history(caller, wanted, limit, before, answer)

    async def _answer_history(
        self, caller: Caller, wanted: Filter, limit: int, before: Cursor | None, answer: Answer
    ) -> None:
        await self._view.fresh()
        if before is not None and not self._is_before(before):
            raise InvalidParams("before belongs to a part of the log that was lost", reason="epoch")
        async with caller.turn():
            seq = None if before is None else before.seq
            page = await self._view.newest(wanted, self._bounds(limit), seq)
            entries, last = self._fit(page)
            upto = page.state.head if seq is None else min(page.state.head, seq - 1)
            answer.result(
                b'{"entries":[%b],"before":%b,"cursor":"%b"}'
                % (b",".join(entries), self._cursor_json(last), self._view.cursor(upto).encode())
            )

    def _is_before(self, before: Cursor) -> bool:
        # The place after the head is one too: a subscribe without backfill names it.
        return 1 <= before.seq <= self._view.position + 1 and self._view.chain.holds(before)

    def _fit(self, page: Page) -> tuple[list[bytes], Seq | None]:
        """Return as many entries as an answer may have, and where the next page begins."""
        room = self._limits.answer_bytes - 200
        entries: list[bytes] = []
        last = page.state.head + 1
        for entry in page.entries:
            text = _entry_json(entry, self._view.cursor(entry.seq))
            room -= len(text) + 1
            if room < 0 and entries:
                return entries, last
            entries.append(text)
            last = entry.seq
        return entries, page.before

    def _cursor_json(self, seq: Seq | None) -> bytes:
        return b"null" if seq is None else b'"%b"' % self._view.cursor(seq).encode()

    # Subscribing.

    def _subscribe(self, caller: Caller, params: Params, answer: Answer) -> Work:
        assert caller.peer is not None, "METHODS says that it needs a peer"
        wanted = self._filter(params)
        backfill = _integer(params, "backfill", 20, 0)
        self._limits.check("backfill", backfill)
        after = params.get("after")
        if after is not None and after != _START:
            after = parse_cursor(after, "after")
        sub = self._hub.subscribe(caller.peer, wanted)
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
                else:
                    self._answer_resumed(sub, place, answer)
                    return
            async with caller.turn():
                page = await self._snapshot(sub.wanted, backfill)
                while page.state.chain != self._view.chain:  # Forked while it was read.
                    page = await self._snapshot(sub.wanted, backfill)
                self._answer_snapshot(sub, page, reason, answer)
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
            return await self._view.newest(wanted, self._bounds(backfill))
        page = await self._view.newest(Filter(()), self._bounds(1))
        head = page.state.head
        return page._replace(before=head + 1 if head >= page.state.floor else None)

    def _answer_snapshot(
        self, sub: Subscription, page: Page, reason: str | None, answer: Answer
    ) -> None:
        live = self._place(sub, page.state.head)
        entries = [
            _entry_json(entry, self._view.cursor(entry.seq)) for entry in reversed(page.entries)
        ]
        resumed = b"null" if reason is None else b'false,"reason":%b' % to_json(reason)
        self._settle(
            sub,
            b'{"subscription":%d,"entries":[%b],"before":%b,"cursor":"%b","resumed":%b,"live":%b}'
            % (
                sub.number,
                b",".join(entries),
                self._cursor_json(page.before),
                self._view.cursor(sub.cursor).encode(),
                resumed,
                live,
            ),
            answer,
        )

    def _place(self, sub: Subscription, place: Seq) -> bytes:
        """Put the cursor of a subscription; return as JSON whether it is live from the start."""
        sub.cursor = place
        sub.promised = place != self._view.position
        return b"false" if sub.promised else b"true"

    def _settle(self, sub: Subscription, result: bytes, answer: Answer) -> None:
        answer.result(
            result, then=lambda: self._hub.activate(sub), undo=lambda: self._hub.abandon(sub)
        )

    def _unsubscribe(self, caller: Caller, params: Params, answer: Answer) -> None:
        assert caller.peer is not None, "METHODS says that it needs a peer"
        self._hub.unsubscribe(caller.peer, _integer(params, "subscription", 0, 0))
        answer.result(b"true")

    # The rest.

    def _info(self, caller: Caller, params: Params, answer: Answer) -> None:
        answer.result(
            to_json(
                {
                    "server": "streamd",
                    "version": __version__,
                    "epoch": self._view.chain.epoch,
                    "cursor": self._view.cursor(self._view.position),
                    "keys": list(self._keys.names),
                    "limits": self._limits.to_json(),
                }
            )
        )

    def _ping(self, caller: Caller, params: Params, answer: Answer) -> None:
        answer.result(b'"pong"')


def _placed_json(chain: Chain, placed: list[Any]) -> bytes:
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
