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
        answer: bytes | None,
        then: Callable[[], None] | None = None,
        undo: Callable[[], None] | None = None,
    ) -> None:
        """Take the answer to one call, if it wants one; one that is too large becomes an error."""
        if ident is not None and answer is not None:
            if self._size + len(answer) > self._limit:
                answer = self._too_large(ident, len(answer))
                then = undo
            self._size += len(answer)
            self._answers.append(answer)
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
        ident = self._ident
        answer = None if ident is None else jsonrpc.result_answer(ident, result)
        self._exchange.settle(ident, answer, then, undo)

    def error(self, error: CallError) -> None:
        """Answer with an error."""
        ident = self._ident
        self._exchange.settle(ident, None if ident is None else jsonrpc.error_answer(ident, error))
