"""The methods of the wire: their names and parameters, and who answers them."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from streamd import __version__
from streamd.calls import Answer, Caller, Params, Work
from streamd.committer import Committer
from streamd.errors import CallError, InternalError, InvalidParams, MethodNotFound
from streamd.feeds import Feeds
from streamd.hub import Hub
from streamd.inserts import Inserts
from streamd.jsonrpc import Call, to_json
from streamd.queries import Queries
from streamd.stores.base import Stream
from streamd.turns import Turns
from streamd.view import View

__all__ = ["METHODS", "Methods"]

logger = logging.getLogger("streamd.methods")


@dataclass(frozen=True)
class _Method:
    required: tuple[str, ...]
    optional: tuple[str, ...]
    needs_peer: bool = False

    @cached_property
    def params(self) -> tuple[str, ...]:
        return self.required + self.optional

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(self.params)


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
    if not method.names.issuperset(given):
        surplus = [name for name in given if name not in names]
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
    if None not in given.values():
        return given
    # An optional parameter that is null is as good as not given.
    return {
        name: value for name, value in given.items() if value is not None or name in method.required
    }


class Methods:
    """Answer calls from the view, the hub and the committer of one worker."""

    def __init__(
        self, stream: Stream, view: View, hub: Hub, committer: Committer, turns: Turns
    ) -> None:
        inserts, queries = Inserts(stream, committer), Queries(stream, view, turns)
        feeds = Feeds(stream, view, hub, turns)
        self._stream = stream
        self._view = view
        self._handlers: dict[str, Callable[[Caller, Params, Answer], Work | None]] = {
            "insert": inserts.insert,
            "insert_many": inserts.insert_many,
            "items": queries.items,
            "history": queries.history,
            "subscribe": feeds.subscribe,
            "unsubscribe": feeds.unsubscribe,
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

    def _info(self, caller: Caller, params: Params, answer: Answer) -> None:
        answer.result(
            to_json(
                {
                    "server": "streamd",
                    "version": __version__,
                    "epoch": self._view.chain.epoch,
                    "cursor": self._view.cursor(self._view.position),
                    "keys": list(self._stream.keys.names),
                    "paths": self._stream.keys.paths,
                    "limits": self._stream.limits.to_json(),
                }
            )
        )

    def _ping(self, caller: Caller, params: Params, answer: Answer) -> None:
        answer.result(b'"pong"')
