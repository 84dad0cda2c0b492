"""The methods of the wire: who answers them."""

import logging
import time
from collections.abc import Callable
from functools import cached_property
from typing import cast

from streamd import __version__
from streamd.access import NOBODY
from streamd.calls import Answer, Caller, Conversation, Params, Work
from streamd.committer import Committer
from streamd.errors import (
    CallError,
    InternalError,
    InvalidParams,
    MethodNotFound,
    Unauthorized,
)
from streamd.event import kind_of
from streamd.explanations import Explanations
from streamd.feeds import Feeds
from streamd.hub import Hub
from streamd.inserts import Inserts
from streamd.jsonrpc import Call, Incoming, error_answer, parse, to_json
from streamd.measured import MeasuredAnswer
from streamd.meters import Meters
from streamd.openrpc import make_openrpc
from streamd.queries import Queries
from streamd.signatures import METHODS
from streamd.stores.base import Stream
from streamd.turns import Turns
from streamd.view import View

__all__ = ["Methods"]

logger = logging.getLogger("streamd.methods")


class Methods:
    """Answer calls from the view, the hub and the committer of one worker."""

    def __init__(
        self,
        stream: Stream,
        view: View,
        hub: Hub,
        committer: Committer,
        turns: Turns,
        meters: Meters | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._meters = meters or Meters()
        self._now = now
        inserts, queries = Inserts(stream, committer), Queries(stream, view, turns)
        explanations = Explanations(stream, view, hub)
        feeds = Feeds(stream, view, hub, turns, self._meters)
        self._stream = stream
        self._view = view
        self._handlers: dict[str, Callable[[Caller, Params, Answer], Work | None]] = {
            "insert": inserts.insert,
            "insert_many": inserts.insert_many,
            "items": queries.items,
            "history": queries.history,
            "subscribe": feeds.subscribe,
            "unsubscribe": feeds.unsubscribe,
            "authenticate": self._authenticate,
            "info": self._info,
            "ping": self._ping,
            "explain": explanations.explain,
            "subscriptions": explanations.subscriptions,
            "rpc.discover": self._discover,
        }

    def parse(self, message: bytes) -> Incoming:
        """Read a message (see jsonrpc.parse); what is wrong with it is counted."""
        incoming = parse(message, self._stream.limits)
        for code in incoming.codes():
            self._meters.call_errors[code].add()
        return incoming

    def refuse(self, error: CallError) -> bytes:
        """Return the answer to a message that is not even looked at."""
        self._meters.call_errors[error.code].add()
        return error_answer(b"null", error)

    def start(self, call: Call, caller: Caller, answer: Answer) -> Work | None:
        """Begin a call: it is checked now, and answered now or by the coroutine that is returned.

        Neither raises; an insert is answered later, by the committer.
        """
        answer = MeasuredAnswer(answer, call.method, self._meters, self._now)
        try:
            if caller.rates is not None:
                caller.rates.take_call()
            method = METHODS.get(call.method)
            if method is None or (method.needs_peer and caller.peer is None):
                raise MethodNotFound("there is no such method here", methods=self._names(caller))
            if caller.access is NOBODY and call.method != "authenticate":
                raise Unauthorized("nothing can be called here before authenticate, with a token")
            work = self._handlers[call.method](caller, method.bind(call.params), answer)
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

    @staticmethod
    def _authenticate(caller: Caller, params: Params, answer: Answer) -> Work:
        token = params["token"]
        if not isinstance(token, str):
            raise InvalidParams(f"token must be a string, got {kind_of(token)}")
        # METHODS says that it needs a peer.
        return cast("Conversation", caller).authenticate(token, answer)

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

    def _discover(self, caller: Caller, params: Params, answer: Answer) -> None:
        answer.result(self._openrpc)

    @cached_property
    def _openrpc(self) -> bytes:
        return to_json(make_openrpc(__version__))
