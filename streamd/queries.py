"""The methods that ask what happened: `items` and `history`."""

from streamd.calls import Answer, Caller, Params, Work, integer
from streamd.cursor import Chain, Cursor, parse_cursor
from streamd.errors import InvalidParams, LimitExceeded
from streamd.filters import Filter, parse_filter
from streamd.limits import Limits
from streamd.log import Entry, Page
from streamd.stores.base import Bounds, Stream
from streamd.turns import Turns
from streamd.types import Seq
from streamd.view import View

__all__ = ["Queries", "check_size", "cursor_json", "entry_json"]


def entry_json(entry: Entry, cursor: str) -> bytes:
    """Return an entry as answers show it; its stored bytes are spliced."""
    return b'{"cursor":"%b","time":%d,"event":%b}' % (cursor.encode(), entry.time, entry.body)


def cursor_json(chain: Chain, seq: Seq | None) -> bytes:
    """Return the cursor of a place as JSON, null for none."""
    return b"null" if seq is None else b'"%b"' % chain.cursor(seq).encode()


def check_size(page: Page, limit: int, limits: Limits) -> None:
    """Raise LimitExceeded if the page ended early because of its size: these answers have no next page."""
    if len(page.entries) < limit and page.before is not None and not page.exhausted:
        raise LimitExceeded("answer_bytes", limits.answer_bytes, limits.answer_bytes + 1)


class Queries:
    """Answer from the view, as of a moment after the call began."""

    def __init__(self, stream: Stream, view: View, turns: Turns) -> None:
        self._turns = turns
        self._keys = stream.keys
        self._limits = stream.limits
        self._view = view

    def _bounds(self, limit: int, skip: int = 0) -> Bounds:
        return Bounds(limit, self._limits.query_work, self._limits.answer_bytes, skip)

    def _wanted(self, caller: Caller, params: Params) -> Filter:
        wanted = parse_filter(params.get("filter", {}), self._keys, self._limits)
        return caller.access.narrow(wanted)

    def items(self, caller: Caller, params: Params, answer: Answer) -> Work:
        wanted = self._wanted(caller, params)
        start = integer(params, "start", 0, 0)
        end = integer(params, "end", 20, 0)
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
            answer.check()
            page = await self._view.newest(wanted, self._bounds(end - start, start))
            if page.exhausted:
                work = self._limits.query_work
                raise LimitExceeded("query_work", work, work + 1)
            check_size(page, end - start, self._limits)
            await self._turns.do(self._show_items, page, answer)

    @staticmethod
    def _show_items(page: Page, answer: Answer) -> None:
        answer.result(b"[%b]" % b",".join([entry.body for entry in page.entries]))

    def history(self, caller: Caller, params: Params, answer: Answer) -> Work:
        wanted = self._wanted(caller, params)
        limit = integer(params, "limit", 20, 1)
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
            answer.check()
            seq = None if before is None else before.seq
            page = await self._view.newest(wanted, self._bounds(limit), seq)
            upto = page.state.head if seq is None else max(min(page.state.head, seq - 1), 0)
            await self._turns.do(self._show_history, page, upto, answer)

    def _show_history(self, page: Page, upto: Seq, answer: Answer) -> None:
        # The chain of the moment it was read names the entries, whatever came since.
        chain = page.state.chain
        entries, last = self._fit(page)
        answer.result(
            b'{"entries":[%b],"before":%b,"cursor":%b}'
            % (b",".join(entries), cursor_json(chain, last), cursor_json(chain, upto))
        )

    def _is_before(self, before: Cursor) -> bool:
        """Tell whether what lies before this place is known: by its own name, or by that of the place before.

        A subscribe without backfill names the place after the head, in the epoch of the head: by
        the time an event is there, it may be another's.
        """
        held = self._view.chain.holds
        last = Cursor(before.epoch, before.seq - 1)
        return last.seq <= self._view.position and (held(before) or held(last))

    def _fit(self, page: Page) -> tuple[list[bytes], Seq | None]:
        """Return as many entries as an answer may have, and where the next page begins."""
        room = self._limits.answer_bytes - 200
        entries: list[bytes] = []
        last = page.state.head + 1
        for entry in page.entries:
            text = entry_json(entry, page.state.chain.cursor(entry.seq))
            room -= len(text) + 1
            if room < 0 and entries:
                return entries, last
            entries.append(text)
            last = entry.seq
        return entries, page.before
