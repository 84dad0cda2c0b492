"""streamd.measured, and what else is counted of calls: how long they took, and what became of them."""

import asyncio

import pytest

from streamd.cursor import Chain
from streamd.errors import CallError, InvalidParams
from streamd.measured import MeasuredAnswer
from streamd.meters import Meters
from streamd.worker import Worker
from tests.parts import Client, call, memory, serving, turns
from tests.test_metrics import counted


class Outcome:
    """An answer that is kept."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def result(self, result: bytes, then: object = None, undo: object = None) -> None:
        self.told.append((result, then, undo))

    def done(self, result: bytes) -> None:
        self.told.append(result)

    def error(self, error: CallError) -> None:
        self.told.append(error)

    def check(self) -> None:
        self.told.append("checked")


def test_an_answer_is_passed_on_and_measured() -> None:
    meters, outcome, times = Meters(methods=["ping"]), Outcome(), iter([1.0, 1.3, 2.0, 4.0])
    answer = MeasuredAnswer(outcome, "ping", meters, lambda: next(times))
    answer.check()
    answer.result(b"1")
    error = InvalidParams("no")
    MeasuredAnswer(outcome, "pong", meters, lambda: next(times)).error(error)
    assert outcome.told == ["checked", (b"1", None, None), error]
    found = counted(meters)
    assert found["streamd_call_duration_seconds_sum/ping"] == pytest.approx(0.3)
    assert found["streamd_call_duration_seconds_sum/other"] == pytest.approx(2.0)
    assert found["streamd_call_errors_total/-32602"] == 1


def calls(worker: Worker) -> dict[str, float]:
    prefix = "streamd_call_duration_seconds_count/"
    found = counted(worker.meters).items()
    return {name.removeprefix(prefix): n for name, n in found if name.startswith(prefix) and n}


def errors(worker: Worker) -> dict[str, float]:
    prefix = "streamd_call_errors_total/"
    found = counted(worker.meters).items()
    return {name.removeprefix(prefix): n for name, n in found if name.startswith(prefix) and n}


async def test_calls_are_counted_by_method_and_errors_by_code() -> None:
    async with serving() as worker:
        client = Client(worker)
        await client.call("insert", {"event": {"user": 1}})
        await client.call("insert_many", {"events": [{"user": 1}] * 4})
        await client.call("items")
        await client.fail("items", {"end": -1})
        await client.fail("made up by a peer")
        await client.fail("unsubscribe", {"subscription": 5})
        await client.reply([call(1), call(2, "items", colour=1), 7])
        await client.reply(b"{")
        client.session.receive_binary()
        await turns()
        await worker.post(b"[]")
        with pytest.raises(InvalidParams):
            await worker.call("history", {"before": "nonsense"})
        assert calls(worker) == {
            "insert": 1,
            "insert_many": 1,
            "items": 3,
            "ping": 1,
            "unsubscribe": 1,
            "history": 1,
            "other": 1,
        }
        assert errors(worker) == {
            "-32602": 3,
            "-32601": 1,
            "-32006": 1,
            "-32600": 3,
            "-32700": 1,
        }
        assert counted(worker.meters)["streamd_inserted_entries_total"] == 5


async def test_a_call_takes_until_it_is_answered() -> None:
    store = memory()
    gate = asyncio.Event()
    append = store.append

    async def slow(*args):  # type: ignore[no-untyped-def]
        await gate.wait()
        return await append(*args)

    store.append = slow  # type: ignore[method-assign]
    async with serving(store) as worker:
        client = Client(worker)
        waiting = client.ask("insert", {"event": {}})
        await turns()
        assert calls(worker) == {}
        gate.set()
        await client.answer(waiting)
        assert calls(worker) == {"insert": 1}


async def test_how_subscriptions_resumed_is_counted() -> None:
    async with serving(memory(max_events=5)) as worker:
        client = Client(worker)
        placed = await client.call("insert_many", {"events": [{"user": 1}] * 20})
        cursors = [entry["cursor"] for entry in placed["entries"]]
        await client.call("items")
        await client.call("subscribe")
        await client.call("subscribe", {"after": cursors[-1]})
        await client.call("subscribe", {"after": "start"})
        assert (await client.call("subscribe", {"after": cursors[1]}))["reason"] == "expired"
        foreign = {"after": Chain("foreign0").cursor(7)}
        assert (await client.call("subscribe", foreign))["reason"] == "epoch"
        found = counted(worker.meters)
        outcomes = ("resumed", "expired", "epoch", "other")
        assert [found[f"streamd_resumes_total/{each}"] for each in outcomes] == [2, 1, 1, 0]
