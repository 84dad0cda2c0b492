"""streamd.session: one peer's conversation, its order, and what it may cost."""

import asyncio
from itertools import pairwise
from typing import Any

import orjson
import pytest

import streamd.turns
from tests.parts import Client, GatedStore, call, note, serving, turns

# Answers.


async def test_every_call_is_answered_once_with_its_id() -> None:
    async with serving() as worker:
        client = Client(worker)
        for ident in (1, "a", 1.5, 2**64 - 1, -3, ""):
            assert await client.reply(call(ident)) == {"jsonrpc": "2.0", "result": "pong", "id": ident}  # fmt: skip
        assert await client.reply(call(None)) == {"jsonrpc": "2.0", "result": "pong", "id": None}


async def test_notifications_are_done_and_not_answered() -> None:
    async with serving() as worker:
        client = Client(worker)
        client.send(note("insert", event={"user": 1}))
        client.send(note("insert", event=7))
        client.send(note("nonsense"))
        client.send(note("subscribe"))
        while await client.call("items") != [{"user": 1}]:
            pass
        assert all("id" in message for message in client.transport.messages)
        assert client.session.in_flight == 0
        assert not client.session.peer.subscriptions, "nobody would know its number"


async def test_a_binary_message_is_answered_and_the_connection_stays() -> None:
    async with serving() as worker:
        client = Client(worker)
        client.session.receive_binary()
        (answer,) = client.transport.messages
        assert (answer["error"]["code"], answer["id"]) == (-32600, None)
        assert await client.call("ping") == "pong"


@pytest.mark.parametrize(
    "message", [b"", b"{", b"[]", b"7", b'{"jsonrpc":"2.0"}', b"\xff", b"[" * 100_000], ids=lambda m: m[:9]
)  # fmt: skip
async def test_bad_input_is_answered_and_the_connection_stays(message: bytes) -> None:
    async with serving() as worker:
        client = Client(worker)
        assert (await client.reply(message))["error"]["code"] in (-32700, -32600)
        assert await client.call("ping") == "pong"
        assert client.session.in_flight == 0


async def test_a_batch_is_answered_as_one_message() -> None:
    async with serving() as worker:
        client = Client(worker)
        answers = await client.reply(
            [
                call(1, "insert", event={"user": 1}),
                call(2, "insert", event=[]),
                note("ping"),
                call(3, "nonsense"),
                {"id": 4},
                call(5),
            ]
        )
        assert {answer["id"]: answer.get("error", {}).get("code") for answer in answers} == {
            1: None,
            2: -32602,
            3: -32601,
            4: -32600,
            5: None,
        }
        assert len(client.transport.messages) == 1


# Order.


async def test_inserts_enter_the_log_in_the_order_in_which_they_came() -> None:
    async with serving() as worker:
        client = Client(worker)
        for n in range(0, 100, 5):
            client.send(call(n, "insert", event={"user": n}))
            client.send([call(n + 1, "insert", event={"user": n + 1}), call(n + 2, "insert", event={"user": n + 2})])  # fmt: skip
            client.send(call(n + 3, "insert_many", events=[{"user": n + 3}, {"user": n + 4}]))
            await turns(n % 3)
        await client.transport.until(lambda: client.session.in_flight == 0)
        events = await client.call("items", {"end": 1_000})
        assert [event["user"] for event in reversed(events)] == list(range(100))


@pytest.mark.parametrize("batch", [False, True])
async def test_the_answer_to_subscribe_comes_before_its_first_event(batch: bool) -> None:
    async with serving() as worker:
        client = Client(worker)
        calls = [call("s", "subscribe"), *[call(n, "insert", event={"user": n}) for n in range(5)]]
        if batch:
            client.send(calls)
        else:
            for each in calls:
                client.send(each)
        await client.transport.until(lambda: len(client.transport.events()) == 5)
        messages = client.transport.messages
        first_event = next(at for at, m in enumerate(messages) if isinstance(m, dict) and m.get("method"))  # fmt: skip
        answered = [p.get("id") for m in messages[:first_event] for p in (m if isinstance(m, list) else [m])]  # fmt: skip
        assert "s" in answered
        assert [event["user"] for event in client.transport.events()] == list(range(5))


async def test_after_the_answer_to_unsubscribe_no_event_of_its_number_follows() -> None:
    async with serving() as worker:
        client, writer = Client(worker), Client(worker)
        await client.call("subscribe")
        for n in range(20):
            writer.ask("insert", {"event": {"user": n}})
        assert await client.call("unsubscribe", {"subscription": 1}) is True
        await writer.transport.until(lambda: writer.session.in_flight == 0)
        await turns()
        messages = client.transport.messages
        at = next(n for n, message in enumerate(messages) if message.get("result") is True)
        assert all(message.get("method") != "event" for message in messages[at:])


# What it may cost.


async def test_too_many_unanswered_calls_stop_the_reading_and_are_no_error() -> None:
    store = GatedStore()
    async with serving(store, calls_in_flight=10) as worker:
        client = Client(worker)
        store.appending.clear()
        for n in range(10):
            client.send(call(n, "insert", event={"user": n}))
        assert client.reading == [], "at its value nothing is stopped yet"
        for n in range(10, 30):
            client.send(call(n, "insert", event={"user": n}))
        assert client.session.in_flight == 10
        assert set(client.reading) == {False}
        store.appending.set()
        await client.transport.until(lambda: len(client.transport.messages) == 30)
        await turns()
        assert client.reading[-1] is True
        assert client.session.in_flight == 0
        assert [m["id"] for m in client.transport.messages] == list(range(30))
        assert all("result" in m for m in client.transport.messages)


async def test_a_peer_that_takes_no_answers_is_not_served_further() -> None:
    async with serving() as worker:
        client = Client(worker)
        client.transport.stall(1_000)
        for n in range(1_000):
            client.send(call(n))
        await turns()
        assert client.transport.most_unsent < 1_200
        assert client.reading[-1] is False
        while len(client.transport.messages) < 1_000:
            client.transport.drain()
            await turns()
        assert client.transport.most_unsent < 1_200
        assert [m["id"] for m in client.transport.messages] == list(range(1_000))
        client.transport.read_on()
        await turns()
        assert client.reading[-1] is True


async def test_large_answers_are_held_one_at_a_time() -> None:
    async with serving() as worker:
        client, writer = Client(worker), Client(worker)
        for n in range(10):
            await writer.call("insert", {"event": {"user": n, "text": "x" * 10_000}})
        client.transport.stall(1_000)
        for n in range(20):
            client.send(call(n, "items"))
        await turns()
        assert client.transport.most_unsent < 110_000
        while len(client.transport.messages) < 20:
            client.transport.drain()
            await turns()
        assert client.transport.most_unsent < 110_000


async def test_messages_that_wait_are_begun_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamd.turns, "_ALLOWANCE", 1e-9)
    monkeypatch.setattr(streamd.turns, "_SHARE", 0)
    async with serving() as worker:
        client = Client(worker)
        client.transport.stall()
        client.transport.outbox.pause()
        for n in range(20):
            client.send(orjson.dumps(call(n)) + b" " * 40_000)
        begun: list[int] = []
        client.transport.high = None
        client.transport.outbox.resume()
        while not begun or begun[-1] < 20:
            await asyncio.sleep(0)
            begun.append(len(client.transport.messages))
        assert begun == sorted(begun)
        assert max(after - before for before, after in pairwise([0, *begun])) == 1
        assert [m["id"] for m in client.transport.messages] == list(range(20))


async def test_one_peer_does_not_keep_another_waiting() -> None:
    store = GatedStore()
    async with serving(store) as worker:
        busy, other = Client(worker), Client(worker)
        store.appending.clear()
        for n in range(1_000):
            busy.send(call(n, "insert", event={"user": n}))
        assert await other.call("ping") == "pong"
        assert await other.call("items") == []
        store.appending.set()
        await busy.transport.until(lambda: len(busy.transport.messages) == 1_000)


# Ending.


@pytest.mark.parametrize(
    "message",
    [b"nonsense", call(1, "no such"), [call(n) for n in range(9)], [7, 8, 9], note("ping")],
)
async def test_who_is_refused_too_often_is_sent_away_whatever_he_sent(message: Any) -> None:
    async with serving(calls_per_second=0.001, burst=1_000, refusals=5) as worker:
        client = Client(worker)
        other = Client(worker)
        for _ in range(20):
            client.send(message)
        await turns()
        assert client.ended == [(4029, "too many calls")]
        assert await other.call("ping") == "pong"


async def test_after_close_nothing_is_left_and_nothing_is_begun() -> None:
    store = GatedStore()
    async with serving(store) as worker:
        client, other = Client(worker), Client(worker)
        await client.call("subscribe")
        store.appending.clear()
        store.stating.clear()
        client.ask("insert", {"event": {"user": 1}})
        client.ask("items")
        client.ask("subscribe", {"after": "start"})
        written = len(client.transport.writes)
        client.session.close()
        client.session.close()
        await turns()
        assert not client.session._tasks, "nobody waits for the store"
        client.ask("subscribe")
        client.ask("insert", {"event": {"user": 2}})
        store.appending.set()
        store.stating.set()
        await other.call("insert", {"event": {"user": 3}})
        await turns()
        assert len(client.transport.writes) == written
        assert not client.session.peer.subscriptions
        assert len(worker._hub._fanout) == 0
        assert await other.call("items") == [{"user": 3}, {"user": 1}], "what was begun was done"


async def test_what_waits_when_a_peer_goes_is_forgotten() -> None:
    async with serving() as worker:
        client = Client(worker)
        client.transport.stall()
        client.transport.outbox.pause()
        for n in range(50):
            client.send(call(n, "insert", event={"user": n}))
        client.transport.outbox.resume()
        client.session.close()
        await turns()
        assert await Client(worker).call("items") == []


async def test_draining_answers_what_is_begun_and_refuses_what_comes() -> None:
    store = GatedStore()
    async with serving(store) as worker:
        client = Client(worker)
        await client.call("subscribe")
        store.appending.clear()
        begun = client.ask("insert", {"event": {"user": 1}})
        client.session.drain(1234)
        late = client.ask("insert", {"event": {"user": 2}})
        error = (await client.answer(late))["error"]
        assert error["code"] == -32011
        assert error["data"]["retry_after_ms"] > 0
        await client.transport.until(lambda: client.transport.sent("shutdown"))
        assert client.session.in_flight == 1
        store.appending.set()
        assert "result" in await client.answer(begun)
        await client.transport.until(lambda: client.session.in_flight == 0)
        assert client.transport.sent("shutdown") == [{"reconnect_after_ms": 1234}]
        methods = [m.get("method") for m in client.transport.messages]
        assert methods.index("progress") < methods.index("shutdown")


# Sharing the loop.


async def test_calls_of_many_peers_are_begun_in_turns_and_a_ping_waits_for_one_step_of_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streamd.turns, "_ALLOWANCE", 1e-9)
    monkeypatch.setattr(streamd.turns, "_SHARE", 0)
    monkeypatch.setattr(streamd.turns, "_REST", 0)  # By that allowance all takes long.
    async with serving() as worker:
        busy = [Client(worker) for _ in range(5)]
        for client in busy:
            client.send([call(n) for n in range(20)])
        other = Client(worker)
        other.send([call("mine")])
        await turns(7)
        assert other.answers("mine")
        assert not any(client.transport.messages for client in busy)
        await turns(200)
        assert all(len(client.transport.messages[0]) == 20 for client in busy)


async def test_a_full_batch_reads_no_further() -> None:
    async with serving(answer_bytes=50_000) as worker:
        reads = 0
        newest = worker._view.newest

        async def counted(*args: Any) -> Any:
            nonlocal reads
            reads += 1
            return await newest(*args)

        worker._view.newest = counted  # type: ignore[method-assign]
        client = Client(worker)
        for n in range(5):
            await client.call("insert", {"event": {"user": n, "text": "x" * 5_000}})
        batch = [call(n, method) for n, method in enumerate(["items", "history", "subscribe"] * 9)]
        answers = await client.reply([*batch, call("cheap")])
        assert reads == 2
        full = [answer for answer in answers if "error" in answer]
        assert len(full) == 26
        assert {answer["error"]["code"] for answer in full} == {-32004}
        assert all(answer["error"]["data"]["max"] == 50_000 < answer["error"]["data"]["got"] for answer in full)  # fmt: skip
        assert {"jsonrpc": "2.0", "result": "pong", "id": "cheap"} in answers
        assert list(client.session.peer.subscriptions) == [1], "the one that was answered"
        posted = orjson.loads(await worker.post(orjson.dumps(batch[:2] * 9)))
        assert reads == 4
        assert sum("error" in answer for answer in posted) == 17


async def test_a_peer_is_new_until_a_call_of_it_is_answered() -> None:
    store = GatedStore()
    async with serving(store) as worker:
        client, newcomer = Client(worker), Client(worker)
        store.appending.clear()
        client.ask("insert", {"event": {"user": 1}})
        await turns()
        assert client.session.is_new, "it is not answered yet"
        store.appending.set()
        await client.transport.until(lambda: client.transport.messages)
        assert not client.session.is_new
        assert newcomer.session.is_new


async def test_a_large_message_keeps_nobody_waiting_who_has_a_small_one() -> None:
    async with serving() as worker:
        large, small = Client(worker), Client(worker)
        for client in (large, small):
            await client.call("ping")
        large.send(orjson.dumps(call("much", x=[[]] * 20_000)))
        large.send(call("behind it"))
        small.send(call("little"))
        assert small.answers("little")
        assert not large.answers("much"), "it stands in a line behind"
        assert not all(large.reading)
        for ident in ("much", "behind it"):
            await large.answer(ident)
        assert [message["id"] for message in large.transport.messages[1:]] == ["much", "behind it"]
        assert large.reading[-1], "nothing waits any more"


async def test_the_calls_of_newcomers_come_after_those_of_others() -> None:
    async with serving() as worker:
        served, newcomer = Client(worker), Client(worker)
        await served.call("ping")
        newcomer.send([call("new")])
        served.send([call("old")])
        order: list[str] = []
        for client, name in ((served, "old"), (newcomer, "new")):
            write = client.transport.outbox.write
            client.transport.outbox.write = lambda data, n=name, w=write: (
                order.append(n),
                w(data),
            )[1]
        await newcomer.answer("new")
        assert order == ["old", "new"]


async def test_those_who_go_are_let_go_of_after_the_others_had_their_turn() -> None:
    async with serving() as worker:
        gone, stays = Client(worker), Client(worker)
        await gone.call("subscribe")
        await stays.call("ping")
        gone.session.close()
        assert gone.session.peer.subscriptions, "not from inside of the call"
        seen: list[bool] = []
        worker.turns.add(lambda: seen.append(bool(gone.session.peer.subscriptions)))
        await turns()
        assert seen == [True]
        assert not gone.session.peer.subscriptions


async def test_what_was_stored_is_told_however_full_the_batch_is() -> None:
    async with serving(answer_bytes=10_000) as worker:
        client = Client(worker)
        many = {"events": [{"user": 1}] * 50}
        batch = [call(n, "insert_many") | {"params": many} for n in range(9)]
        answers = [
            *await client.reply(batch),
            *orjson.loads(await worker.post(orjson.dumps(batch))),
        ]
        assert [len(answer["result"]["entries"]) for answer in answers] == [50] * 18


async def test_entries_that_are_explained_are_held_one_at_a_time() -> None:
    async with serving() as worker:
        client = Client(worker)
        placed = await client.call("insert", {"event": {"text": "x" * 50_000}})
        client.transport.stall(1_000)
        idents = [client.ask("explain", {"cursor": placed["cursor"]}) for _ in range(50)]
        await turns(200)
        assert client.transport.most_unsent < 60_000
        client.transport.read_on()
        for ident in idents:
            assert (await client.answer(ident))["result"]["found"]
