"""The answers to one message: gathered, and sent when the last is there."""

from collections.abc import Callable

from streamd import jsonrpc
from streamd.errors import CallError, LimitExceeded

__all__ = ["Exchange", "Reply"]


class Exchange:
    """Gather the answers to the calls of one message, and send them when the last is there."""

    __slots__ = (
        "_answers", "_batch", "_got", "_left", "_limit", "_send", "_settled", "_size", "_then",
    )  # fmt: skip

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
        self._got = 0
        """The size that was too large, once one was."""
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
        *,
        done: bool = False,
    ) -> None:
        """Take the answer to one call, if it wants one; one that is too large becomes an error.

        Not so the answer of one that has done something: its caller would take it for not done.

        Raise what followed the sending of the answers, as an ExceptionGroup: all of it was called.
        """
        if not self._left:
            return  # It is a defect in what followed the answer: of that, the peer is told nothing.
        if ident is not None and answer is not None:
            if not done and self._size + len(answer) > self._limit:
                self._got = self._size + len(answer)
                answer = jsonrpc.error_answer(ident, self._too_large())
                then = undo
            self._size += len(answer)
            self._answers.append(answer)
        if then is not None:
            self._then.append(then)
        self._left -= 1
        try:
            if not self._left:
                self._flush()
        finally:
            self._settled()

    def check(self) -> None:
        """Raise LimitExceeded if an answer was too large already: nothing more is to be read for this message."""
        if self._got:
            raise self._too_large()

    def _too_large(self) -> LimitExceeded:
        return LimitExceeded("answer_bytes", self._limit, self._got)

    def _flush(self) -> None:
        if self._answers:
            self._send(jsonrpc.join_answers(self._answers) if self._batch else self._answers[0])
        failures = []
        for then in self._then:
            try:
                then()
            except Exception as exc:  # noqa: BLE001 - the others follow all the same
                failures.append(exc)
        if failures:
            raise ExceptionGroup("what follows an answer failed", failures)


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

    def done(self, result: bytes) -> None:
        """Answer with what was done, as JSON."""
        ident = self._ident
        answer = None if ident is None else jsonrpc.result_answer(ident, result)
        self._exchange.settle(ident, answer, done=True)

    def check(self) -> None:
        """Raise LimitExceeded if there is no room for what would have to be read."""
        self._exchange.check()

    def error(self, error: CallError) -> None:
        """Answer with an error."""
        ident = self._ident
        self._exchange.settle(ident, None if ident is None else jsonrpc.error_answer(ident, error))
