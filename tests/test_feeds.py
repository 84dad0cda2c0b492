"""streamd.feeds: where a subscription begins, what it is told, and that nothing is missing or twice."""

import asyncio
from typing import Any

import pytest

from streamd.cursor import Chain
from streamd.errors import StoreUnavailable
from streamd.limits import Limits
from streamd.log import Run
from streamd.stores.base import Stream
from streamd.stores.memory import MemoryStore
from tests.parts import KEYS, Client, ScriptedStore, serving, turns


async def fill(client: Client, number: int, first: int = 0) -> list[str]:
    """Insert events of users `first` … and return their cursors."""
    answer = await client.call("insert_many", {"events": [{"user": first + n} for n in range(number)]})  # fmt: skip
    await client.call("items")
    return [entry["cursor"] for entry in answer["entries"]]


def users(client: Client, number: int = 1) -> list[Any]:
    return [event["user"] for event in client.transport.events(number)]


async def test_without_after_the_newest_come_with_the_answer_and_the_rest_live() -> None:
    async with serving() as worker:
        client = Client(worker)
        cursors = await fill(client, 30)
        answer = await client.call("subscribe", {"filter": {"user": list(range(0, 40, 2))}, "backfill": 3})  # fmt: skip
        assert [entry["event"] for entry in answer["entries"]] == [{"user": 24}, {"user": 26}, {"user": 28}]  # fmt: skip
        assert [entry["cursor"] for entry in answer["entries"]] == [cursors[24], cursors[26], cursors[28]]  # fmt: skip
        assert answer["subscription"] == 1
        assert answer["cursor"] == cursors[29]
        assert answer["before"] == cursors[24]
        assert (answer["resumed"], answer["live"]) == (None, True)
        assert set(answer) == {"subscription", "entries", "before", "cursor", "resumed", "live"}
        await fill(client, 5, first=30)
        await client.transport.until(lambda: len(users(client)) == 3)
        assert users(client) == [30, 32, 34]
        assert not client.transport.sent("progress"), "it was live from the start"


async def test_with_after_everything_missed_follows() -> None:
    async with serving(window=5) as worker:
        client = Client(worker)
        cursors = await fill(client, 30)
        answer = await client.call("subscribe", {"after": cursors[9], "backfill": 3})
        assert answer == {
            "subscription": 1,
            "entries": [],
            "before": None,
            "cursor": cursors[9],
            "resumed": True,
            "live": False,
        }
        await client.transport.until(lambda: client.transport.sent("progress"))
        assert users(client) == list(range(10, 30))
        assert client.transport.sent("progress") == [
            {"cursor": cursors[29], "subscription": 1, "live": True}
        ]


async def test_with_after_at_the_head_it_is_live_at_once() -> None:
    async with serving() as worker:
        client = Client(worker)
        cursors = await fill(client, 3)
        answer = await client.call("subscribe", {"after": cursors[-1]})
        assert (answer["resumed"], answer["live"]) == (True, True)


async def test_after_start_is_from_the_oldest_retained_entry() -> None:
    limits = Limits(max_events=5)
    store = MemoryStore("memory:", Stream("test", KEYS, limits))
    async with serving(store, max_events=5) as worker:
        client = Client(worker)
        cursors = await fill(client, 5)
        cursors += await fill(client, 5, first=5)
        answer = await client.call("subscribe", {"after": "start"})
        assert (answer["resumed"], answer["cursor"]) == (True, cursors[4])
        await client.transport.until(lambda: len(users(client)) == 5)
        assert users(client) == [5, 6, 7, 8, 9]


async def test_the_place_of_an_empty_log_is_a_place() -> None:
    async with serving() as worker:
        client = Client(worker)
        first = await client.call("subscribe")
        assert (first["entries"], first["before"], first["live"]) == ([], None, True)
        await fill(client, 2)
        answer = await client.call("subscribe", {"after": first["cursor"]})
        assert answer["resumed"] is True
        await client.transport.until(lambda: len(users(client, 2)) == 2)


@pytest.mark.parametrize(
    ("after", "reason"), [("expired", "expired"), ("other", "epoch"), ("ahead", "epoch")]
)
async def test_a_place_that_can_not_be_kept_is_said_and_the_newest_come(
    after: str, reason: str
) -> None:
    limits = Limits(max_events=5)
    store = MemoryStore("memory:", Stream("test", KEYS, limits))
    async with serving(store, max_events=5) as worker:
        client = Client(worker)
        cursors = await fill(client, 5)
        cursors += await fill(client, 5, first=5)
        epoch = (await client.call("info"))["epoch"]
        place = {
            "expired": cursors[3],
            "other": Chain("zzzzzzzz").cursor(8),
            "ahead": Chain(epoch).cursor(11),
        }[after]
        answer = await client.call("subscribe", {"after": place, "backfill": 2})
        assert (answer["resumed"], answer["reason"]) == (False, reason)
        assert [entry["event"]["user"] for entry in answer["entries"]] == [8, 9]
        assert answer["cursor"] == cursors[9]
        edge = await client.call("subscribe", {"after": cursors[4]})
        assert edge["resumed"] is True, "all after it is retained"


async def test_a_cursor_ahead_of_this_worker_alone_waits_for_its_tail() -> None:
    store = ScriptedStore(Chain("aaaaaaaa"), [])
    store.add({"user": 1})
    async with serving(store) as worker:
        client = Client(worker)
        store.add({"user": 2}, {"user": 3})
        asked = client.ask("subscribe", {"after": store.chain.cursor(2)})
        await turns()
        assert not client.answers(asked)
        store.say(1)
        answer = (await client.answer(asked))["result"]
        assert answer["resumed"] is True
        await client.transport.until(lambda: users(client))
        assert users(client) == [3]


async def test_a_cursor_of_before_a_clean_restart_is_kept() -> None:
    store = ScriptedStore(Chain("aaaaaaaa"), [])
    store.add({"user": 1}, {"user": 2})
    async with serving(store) as worker:
        client = Client(worker)
        store.fork(Chain("bbbbbbbb", (("aaaaaaaa", 2),)), 2)
        store.add({"user": 3})
        store.say(2)
        answer = await client.call("subscribe", {"after": Chain("aaaaaaaa").cursor(1)})
        assert answer["resumed"] is True
        assert answer["cursor"] == Chain("aaaaaaaa").cursor(1), "one place has one text"
        await client.transport.until(lambda: len(users(client)) == 2)
        cursors = [params["cursor"] for params in client.transport.sent("event")]
        assert cursors == [Chain("aaaaaaaa").cursor(2), Chain("bbbbbbbb").cursor(3)]


async def test_what_arrives_while_the_store_is_asked_follows_the_answer() -> None:
    class Slow(MemoryStore):
        gate = asyncio.Event()

        async def newest(self, *args: Any) -> Any:
            page = await super().newest(*args)
            await self.gate.wait()
            return page

    store = Slow("memory:", Stream("test", KEYS, Limits()))
    store.gate.set()
    async with serving(store, window=2) as worker:
        client, writer = Client(worker), Client(worker)
        cursors = await fill(writer, 10)
        store.gate.clear()
        asked = client.ask("subscribe", {"backfill": 5})
        await turns()
        await writer.call("insert", {"event": {"user": 10}})
        await writer.call("insert", {"event": {"user": 11}})
        await turns()
        assert not client.answers(asked)
        store.gate.set()
        answer = (await client.answer(asked))["result"]
        assert [entry["event"]["user"] for entry in answer["entries"]] == [5, 6, 7, 8, 9]
        assert (answer["cursor"], answer["live"]) == (cursors[9], False)
        await client.transport.until(lambda: client.transport.sent("progress"))
        assert users(client) == [10, 11]
        assert client.transport.sent("progress")[0]["live"] is True


async def test_a_fork_while_the_store_is_asked_is_not_answered_from_before_it() -> None:
    store = ScriptedStore(Chain("aaaaaaaa"), [])
    store.add(*[{"user": n} for n in range(1, 11)])
    async with serving(store, window=2) as worker:
        client = Client(worker)
        store.gate.clear()
        asked = client.ask("subscribe", {"backfill": 5})
        await turns()
        chain = Chain("bbbbbbbb", (("aaaaaaaa", 6),))
        store.fork(chain, 6)
        store.add({"user": "new"})
        store.runs.put_nowait(Run(store.now, 6, store.log[6:], 7))
        await turns()
        store.gate.set()
        answer = (await client.answer(asked))["result"]
        assert [entry["event"]["user"] for entry in answer["entries"]] == [3, 4, 5, 6, "new"]
        assert [entry["cursor"] for entry in answer["entries"]] == [chain.cursor(n) for n in range(3, 8)]  # fmt: skip
        assert answer["cursor"] == chain.cursor(7)


async def test_a_subscribe_that_fails_uses_up_a_number_and_no_room() -> None:
    async with serving(subscriptions=1, answer_bytes=1_000) as worker:
        client = Client(worker)
        await client.call("insert", {"event": {"text": "x" * 2_000}})
        error = await client.fail("subscribe")
        assert error["code"] == -32004
        answer = await client.call("subscribe", {"backfill": 0})
        assert answer["subscription"] == 2
        error = await client.fail("subscribe")
        assert error["data"] == {"limit": "subscriptions", "max": 1, "got": 2}


async def test_a_subscribe_that_the_store_fails_takes_no_room() -> None:
    store = ScriptedStore(Chain("aaaaaaaa"), [])
    async with serving(store, subscriptions=1) as worker:
        client = Client(worker)
        store.failures.append(StoreUnavailable())
        error = await client.fail("subscribe", {"after": "start"})
        assert error["code"] == -32011
        assert (await client.call("subscribe", {"after": "start"}))["subscription"] == 2


async def test_a_subscription_that_is_ended_before_its_answer_stays_ended() -> None:
    async with serving() as worker:
        client = Client(worker)
        subscribe = client.ask("subscribe", {"after": "start"})
        unsubscribe = client.ask("unsubscribe", {"subscription": 1})
        assert (await client.answer(unsubscribe))["result"] is True
        await client.answer(subscribe)
        await fill(client, 3)
        await turns()
        assert users(client) == []
        assert not client.session.peer.subscriptions


async def test_backfill_nothing_asks_nobody() -> None:
    store = ScriptedStore(Chain("aaaaaaaa"), [])
    store.add(*[{"user": n} for n in range(1, 11)])
    async with serving(store, window=2) as worker:
        client = Client(worker)
        await turns()
        asked = store.reads.count("newest")
        answer = await client.call("subscribe", {"filter": {"user": [1, 2]}, "backfill": 0})
        assert (answer["entries"], answer["live"]) == ([], True)
        assert store.reads.count("newest") == asked
