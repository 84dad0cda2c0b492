"""streamd.exchange: answers are gathered, bounded, and sent together."""

from typing import Any

import orjson
import pytest

from streamd import jsonrpc
from streamd.errors import LimitExceeded
from streamd.exchange import Exchange, Reply
from streamd.limits import Limits
from tests.parts import call, note


class Sent:
    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.settled = 0

    def send(self, message: bytes) -> None:
        self.messages.append(orjson.loads(message))

    def settle(self) -> None:
        self.settled += 1

    def exchange(self, message: Any, limit: int = 10_000) -> tuple[Exchange, list[jsonrpc.Call]]:
        incoming = jsonrpc.parse(orjson.dumps(message), Limits())
        return Exchange(incoming, limit, self.send, self.settle), incoming.calls


def test_a_batch_is_answered_when_its_last_call_is() -> None:
    sent = Sent()
    exchange, calls = sent.exchange([call(1), call(2), note("ping"), 7])
    Reply(exchange, calls[1].id).result(b"2")
    Reply(exchange, calls[2].id).result(b"3")
    assert sent.messages == []
    Reply(exchange, calls[0].id).result(b"1")
    (answers,) = sent.messages
    assert [answer.get("result") for answer in answers] == [None, 2, 1]
    assert sent.settled == 3


def test_a_batch_of_notifications_is_not_answered() -> None:
    sent = Sent()
    exchange, _ = sent.exchange([note("ping"), note("ping")])
    Reply(exchange, None).result(b"1")
    Reply(exchange, None).result(b"1")
    assert sent.messages == []
    assert sent.settled == 2


def test_a_batch_counts_as_a_whole_and_says_so() -> None:
    sent = Sent()
    undone: list[int] = []
    exchange, calls = sent.exchange([call(1), call(2), call(3)], limit=1_000)
    big = b'"%b"' % (b"x" * 600)
    Reply(exchange, calls[0].id).result(big)
    Reply(exchange, calls[1].id).result(big, then=lambda: undone.append(-2), undo=lambda: undone.append(2))  # fmt: skip
    Reply(exchange, calls[2].id).result(b"3")
    (answers,) = sent.messages
    assert answers[0]["result"] == "x" * 600
    size = len(jsonrpc.result_answer(b"1", big))
    assert answers[1]["error"]["code"] == -32004
    assert answers[1]["error"]["data"] == {"limit": "answer_bytes", "max": 1_000, "got": 2 * size}
    assert answers[2]["result"] == 3
    assert undone == [2]


def test_what_follows_an_answer_follows_it() -> None:
    order: list[str] = []
    incoming = jsonrpc.parse(orjson.dumps([call(1), call(2)]), Limits())
    exchange = Exchange(incoming, 1_000, lambda message: order.append("sent"), lambda: None)
    Reply(exchange, b"1").result(b"1", then=lambda: order.append("then 1"))
    assert order == []
    Reply(exchange, b"2").result(b"2", then=lambda: order.append("then 2"))
    assert order == ["sent", "then 1", "then 2"]


def test_what_follows_one_answer_and_fails_does_not_keep_the_others_from_theirs() -> None:
    sent = Sent()
    followed: list[int] = []

    def fail() -> None:
        raise ZeroDivisionError

    exchange, calls = sent.exchange([call(1), call(2), call(3)])
    Reply(exchange, calls[0].id).result(b"1", then=lambda: followed.append(1))
    Reply(exchange, calls[1].id).result(b"2", then=fail)
    with pytest.raises(ExceptionGroup):
        Reply(exchange, calls[2].id).result(b"3", then=lambda: followed.append(3))
    assert followed == [1, 3]
    # Who hears of the failure may answer with an error: the call has had its answer.
    Reply(exchange, calls[2].id).result(b"4")
    assert len(sent.messages) == 1
    assert sent.settled == 3


def test_once_an_answer_was_too_large_nothing_more_is_to_be_read() -> None:
    sent = Sent()
    exchange, calls = sent.exchange([call(1), call(2), call(3)], limit=1_000)
    Reply(exchange, calls[0].id).result(b'"%b"' % (b"x" * 600))
    exchange.check()
    Reply(exchange, calls[1].id).result(b'"%b"' % (b"x" * 600))
    with pytest.raises(LimitExceeded) as caught:
        exchange.check()
    Reply(exchange, calls[2].id).result(b"3")
    assert sent.messages[0][1]["error"]["data"] == caught.value.to_json()["data"]
