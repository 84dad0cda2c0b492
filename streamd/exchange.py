"""The answers to one message: gathered, and sent when the last is there."""

from collections.abc import Callable

from streamd import jsonrpc
from streamd.errors import CallError, LimitExceeded

__all__ = ["Exchange", "Reply"]


class Exchange:
    """Gather the answers to the calls of one message, and send them when the last is there."""

    __slots__ = ("_answers", "_batch", "_left", "_limit", "_send", "_settled", "_size", "_then")

    def __init__(
        self,
        incoming: jsonrpc.Incoming,
        limit: int,
        send: Callable[[bytes], None],
        settled: Callable[[], None],
    ) -> None:
        self._batch = incoming.batch
        self._answers = incoming.faults
        self._left = len(incoming.calls)
        self._limit = limit
        self._size = 0
        self._send = send
        self._settled = settled
        self._then: list[Callable[[], None]] = []
        if not self._left:
            self._flush()

    def settle(
        self,
        ident: bytes | None,
        answer: Callable[[bytes], bytes],
        then: Callable[[], None] | None = None,
        undo: Callable[[], None] | None = None,
    ) -> None:
        """Take the outcome of one call; an answer that is too large becomes an error."""
        if ident is not None:
            text = answer(ident)
            if self._size + len(text) > self._limit:
                text = self._too_large(ident, len(text))
                then, undo = undo, None
            self._size += len(text)
            self._answers.append(text)
        if then is not None:
            self._then.append(then)
        self._left -= 1
        if not self._left:
            self._flush()
        self._settled()

    def _too_large(self, ident: bytes, size: int) -> bytes:
        return jsonrpc.error_answer(
            ident, LimitExceeded("answer_bytes", self._limit, self._size + size)
        )

    def _flush(self) -> None:
        if self._answers:
            self._send(jsonrpc.join_answers(self._answers) if self._batch else self._answers[0])
        for then in self._then:
            then()


class Reply:
    """Be the way back for one call of an exchange (see calls.Answer)."""

    __slots__ = ("_exchange", "_ident")

    def __init__(self, exchange: Exchange, ident: bytes | None) -> None:
        self._exchange = exchange
        self._ident = ident

    def result(
        self,
        result: bytes,
        then: Callable[[], None] | None = None,
        undo: Callable[[], None] | None = None,
    ) -> None:
        """Answer with a result as JSON."""
        self._exchange.settle(
            self._ident, lambda ident: jsonrpc.result_answer(ident, result), then, undo
        )

    def error(self, error: CallError) -> None:
        """Answer with an error."""
        self._exchange.settle(self._ident, lambda ident: jsonrpc.error_answer(ident, error))
