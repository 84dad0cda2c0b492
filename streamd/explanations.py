"""The methods that tell why: `explain`, for one entry or event, and `subscriptions`, for one connection."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from streamd.access import Access
from streamd.calls import Answer, Caller, Params, Work
from streamd.cursor import Cursor, parse_cursor
from streamd.errors import InvalidParams, PlaceLost
from streamd.event import Keys, draft_event
from streamd.filters import EVERYTHING, Filter, Terms, parse_filter
from streamd.hub import Hub
from streamd.jsonrpc import to_json
from streamd.limits import Limits
from streamd.log import Entry
from streamd.queries import entry_json
from streamd.stores.base import Bounds, Stream
from streamd.subscription import Subscription
from streamd.types import Json, Seq, Term
from streamd.view import View

__all__ = ["Explanations"]

_FEW = 5
"""Values of a key that are shown; of more only the number."""

_ONE = Bounds(limit=1, work=1, size=1)

_NOT_FOUND = b'{"found":false,"matches":false,"keys":[],"grants":null}'
"""There is no such entry, or it is none of the caller's business: he can't tell which."""


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of an event: a filter, key by key and as its caller gets it."""

    keys: dict[str, Terms]
    wanted: Filter
    access: Access

    def answer(self, terms: tuple[Term, ...]) -> dict[str, Any]:
        """Return what becomes of an event with these terms."""
        return {
            "found": True,
            "matches": self.wanted.matches(terms),
            "keys": [
                {**_verdict(name, wanted, terms), "values": _values_of(name, terms)}
                for name, wanted in self.keys.items()
            ],
            "grants": _grants(self.access, terms),
        }


def _verdict(name: str, wanted: Terms, terms: Iterable[Term]) -> dict[str, Any]:
    return {
        "key": name,
        "wanted": len(wanted),
        "matched": not frozenset(wanted).isdisjoint(terms),
    }


def _grants(access: Access, terms: Iterable[Term]) -> list[list[dict[str, Any]]] | None:
    if access.readable == EVERYTHING:
        return None
    return [
        [_verdict(_key_of(wanted[0]), wanted, terms) for wanted in clause]
        for clause in access.readable.clauses
    ]


def _key_of(term: Term) -> str:
    return term.partition(":")[0]


def _values_of(name: str, terms: Iterable[Term]) -> list[str]:
    return [term.partition(":")[2] for term in terms if _key_of(term) == name]


class Explanations:
    """Tell why an entry matches or not, and how far the subscriptions of a connection are."""

    def __init__(self, stream: Stream, view: View, hub: Hub) -> None:
        self._keys: Keys = stream.keys
        self._limits: Limits = stream.limits
        self._view = view
        self._hub = hub

    def explain(self, caller: Caller, params: Params, answer: Answer) -> Work | None:
        if ("cursor" in params) is ("event" in params):
            raise InvalidParams("explain takes a cursor or an event, one of them")
        question = self._question(params.get("filter", {}), caller.access)
        if "cursor" in params:
            cursor = parse_cursor(params["cursor"], "cursor")
            return self._explain(caller, question, cursor, answer)
        draft = draft_event(params["event"], None, self._keys, self._limits)
        answer.result(to_json(question.answer(draft.terms)))
        return None

    def _question(self, given: Json, access: Access) -> _Question:
        wanted = access.narrow(parse_filter(given, self._keys, self._limits))
        single = {name: {name: given[name]} for name in self._keys.names if name in given}
        filters = {
            name: parse_filter(each, self._keys, self._limits) for name, each in single.items()
        }
        # Of an empty list nothing is left in a filter: no clause.
        keys = {name: each.clauses[0][0] if each.clauses else () for name, each in filters.items()}
        return _Question(keys, wanted, access)

    async def _explain(
        self, caller: Caller, question: _Question, cursor: Cursor, answer: Answer
    ) -> None:
        # The event may be large, and many may be asked for at once.
        async with caller.turn():
            answer.check()
            entry = await self._find(cursor)
            if entry is None or not question.access.readable.matches(entry.terms):
                answer.result(_NOT_FOUND)
                return
            shown = orjson.Fragment(entry_json(entry, self._view.cursor(entry.seq)))
            answer.result(to_json({**question.answer(entry.terms), "entry": shown}))

    async def _find(self, cursor: Cursor) -> Entry | None:
        """Return the entry at a place; None where none is, or none yet. Raise PlaceLost."""
        view = self._view
        while True:
            await view.fresh()
            chain = view.chain
            if not chain.holds(cursor):
                raise PlaceLost("epoch")
            if not 0 < cursor.seq <= view.position:
                return None
            if cursor.seq < view.floor:
                raise PlaceLost("expired")
            if cursor.seq >= view.window.low:
                return view.window.get(cursor.seq)
            run = await view.after(cursor.seq - 1, EVERYTHING, _ONE)
            if run.state.chain == chain and run.state.floor <= cursor.seq:
                return next((entry for entry in run.entries if entry.seq == cursor.seq), None)
            # The log was forked or has forgotten meanwhile: then so is said.

    async def subscriptions(self, caller: Caller, params: Params, answer: Answer) -> None:
        assert caller.peer is not None, "METHODS says that it needs a peer"
        async with caller.turn():
            answer.check()
            places = await self._hub.places(caller.peer)
            shown = [
                self._subscription(sub, places.get(number))
                for number, sub in caller.peer.subscriptions.items()
            ]
            answer.result(to_json(shown))

    def _subscription(self, sub: Subscription, place: Seq | None) -> dict[str, Any]:
        return {
            "subscription": sub.number,
            "filter": _summary(sub.wanted if sub.asked is None else sub.asked),
            "state": sub.state.name.lower(),
            "cursor": None if place is None else self._view.cursor(place),
            "lag": None if place is None else max(self._view.position - place, 0),
            "entries": sub.entries,
            "bytes": sub.size,
        }


def _summary(asked: Filter) -> dict[str, Any] | None:
    """Return how many values of each key a filter has, and which, if they are few; None if nothing matches it."""
    if not asked.clauses:
        return None
    return {
        _key_of(terms[0]): {
            "count": len(terms),
            **(
                {"values": [term.partition(":")[2] for term in terms]} if len(terms) <= _FEW else {}
            ),
        }
        for terms in asked.clauses[0]
    }
