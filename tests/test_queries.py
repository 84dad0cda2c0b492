"""streamd.queries: items and history, newest first."""

import asyncio
from typing import Any

import pytest

from streamd.cursor import Chain
from streamd.limits import Limits
from streamd.stores.base import Stream
from streamd.stores.memory import MemoryStore
from tests.parts import KEYS, Client, ScriptedStore, serving

STORY = [
    {"kind": "create-repo", "repo": 17, "user": 291, "name": "frist"},
    {"kind": "delete-repo", "repo": 17, "user": 291, "reason": "Made a typo :("},
    {"kind": "watch", "repo": 2842, "user": 291, "owner": 23},
    {"kind": "friend", "user": 291, "friend": 23},
    {"kind": "friend", "user": 23, "friend": 291},
]


@pytest.mark.parametrize(
    ("params", "lines"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"filter": {"kind": "friend"}}, [4, 3]),
        ({"filter": {"kind": "friend", "user": 23}}, [4]),
        ({"filter": {"user": [23, 291]}}, [4, 3, 2, 1, 0]),
        ({"filter": {"user": [23, 291]}, "start": 1, "end": 3}, [3, 2]),
        ({"filter": {"user": ["23", "291"], "repo": 17}}, [1, 0]),
        ({"filter": {"user": []}}, []),
        ({"filter": {"user": 7}}, []),
        ({"start": 2, "end": 2}, []),
        ({"start": 4}, [0]),
        ({"start": 5}, []),
        ({"start": 20}, []),
    ],
)
async def test_the_story_of_awesomestream(params: Any, lines: list[int]) -> None:
    async with serving() as worker:
        client = Client(worker)
        for event in STORY:
            await client.call("insert", {"event": event})
        assert await client.call("items", params) == [STORY[line] for line in lines]


async def fill(client: Client, number: int, **more: Any) -> None:
    for first in range(0, number, 1_000):
        events = [{"user": n, **more} for n in range(first, min(number, first + 1_000))]
        await client.call("insert_many", {"events": events})


async def test_an_acknowledged_event_is_in_every_answer_that_begins_afterwards() -> None:
    async with serving() as worker:
        writer, reader = Client(worker), Client(worker)
        for n in range(50):
            await writer.call("insert", {"event": {"user": n}})
            assert (await reader.call("items", {"end": 1})) == [{"user": n}]
            (entry,) = (await reader.call("history", {"limit": 1}))["entries"]
            assert entry["event"] == {"user": n}


# Pages.


@pytest.mark.parametrize("window", [3, 100])
@pytest.mark.parametrize("limit", [1, 2, 7, 30])
async def test_pages_do_not_shift_while_events_arrive(window: int, limit: int) -> None:
    async with serving(window=window) as worker:
        client = Client(worker)
        await fill(client, 25, kind="a")
        got: list[int] = []
        before = None
        while True:
            page = await client.call("history", {"filter": {"kind": "a"}, "limit": limit, "before": before})  # fmt: skip
            got += [entry["event"]["user"] for entry in page["entries"]]
            assert len(page["entries"]) <= limit
            before = page["before"]
            if before is None:
                break
            await client.call("insert", {"event": {"user": "new", "kind": "a"}})
        assert got == list(range(24, -1, -1))


async def test_a_subscription_continues_any_page_without_gap_or_repeat() -> None:
    async with serving(window=4) as worker:
        client = Client(worker)
        await fill(client, 20)
        page = await client.call("history", {"limit": 5})
        older = await client.call("history", {"limit": 5, "before": page["before"]})
        await client.call("insert", {"event": {"user": 20}})
        for number, each in enumerate((page, older), 1):
            newest = each["entries"][0]["event"]["user"]
            answer = await client.call("subscribe", {"after": each["cursor"]})
            assert answer["resumed"] is True
            assert answer["cursor"] == each["cursor"]
            await client.transport.until(lambda n=number, m=newest: len(client.transport.events(n)) == 20 - m)  # fmt: skip
            users = [event["user"] for event in client.transport.events(number)]
            assert users == list(range(newest + 1, 21))


async def test_history_of_an_empty_log_is_an_empty_page_with_a_place() -> None:
    async with serving() as worker:
        client = Client(worker)
        page = await client.call("history")
        assert (page["entries"], page["before"]) == ([], None)
        assert page["cursor"] == (await client.call("info"))["cursor"]
        answer = await client.call("subscribe", {"after": page["cursor"]})
        assert answer["resumed"] is True


async def test_before_the_first_place_there_is_an_empty_page() -> None:
    async with serving() as worker:
        client = Client(worker)
        first = (await client.call("info"))["cursor"]
        await fill(client, 3)
        page = await client.call("history", {"before": first})
        assert page == {"entries": [], "before": None, "cursor": first}


async def test_below_the_floor_there_is_an_empty_page() -> None:
    limits = Limits(max_events=5)
    store = MemoryStore("memory:", Stream("test", KEYS, limits))
    async with serving(store, max_events=5) as worker:
        client = Client(worker)
        places = [(await client.call("insert", {"event": {"user": n}}))["cursor"] for n in range(20)]  # fmt: skip
        for before in (places[0], places[14], places[15]):
            page = await client.call("history", {"before": before})
            assert (page["entries"], page["before"]) == ([], None)
        page = await client.call("history", {"before": places[17]})
        assert [entry["event"]["user"] for entry in page["entries"]] == [16, 15]


async def test_the_before_of_a_subscribe_pages_on_from_its_entries() -> None:
    async with serving() as worker:
        client = Client(worker)
        await fill(client, 30)
        for backfill in (0, 5, 29, 30, 31):
            answer = await client.call("subscribe", {"backfill": backfill})
            users = [entry["event"]["user"] for entry in answer["entries"]]
            assert users == list(range(30 - min(backfill, 30), 30))
            older: list[int] = []
            if answer["before"] is not None:
                page = await client.call("history", {"before": answer["before"], "limit": 1_000})
                older = [entry["event"]["user"] for entry in page["entries"]]
            assert older[::-1] + users == list(range(30))


async def test_a_before_of_another_epoch_or_ahead_of_the_head_is_refused() -> None:
    async with serving() as worker:
        client = Client(worker)
        await fill(client, 3)
        epoch = (await client.call("info"))["epoch"]
        for cursor in (
            Chain("zzzzzzzz").cursor(2),
            Chain(epoch).cursor(5),
            Chain(epoch).cursor(2**56 - 1),
        ):
            error = await client.fail("history", {"before": cursor})
            assert (error["code"], error["data"]) == (-32602, {"reason": "epoch"})
        assert (await client.call("history", {"before": Chain(epoch).cursor(4)}))["before"] is None


async def test_a_before_after_the_head_outlives_a_clean_restart_of_the_store() -> None:
    store = ScriptedStore(Chain("aaaaaaaa"), [])
    store.add({"user": 1}, {"user": 2})
    async with serving(store) as worker:
        client = Client(worker)
        answer = await client.call("subscribe", {"backfill": 0})
        store.fork(Chain("bbbbbbbb", (("aaaaaaaa", 2),)), 2)
        store.say(2)
        page = await client.call("history", {"before": answer["before"]})
        assert [entry["event"]["user"] for entry in page["entries"]] == [2, 1]


# Bounds.


async def test_a_page_of_large_events_ends_early_and_goes_on() -> None:
    async with serving(answer_bytes=50_000) as worker:
        client = Client(worker)
        await fill(client, 20, text="x" * 9_000)
        got: list[int] = []
        before, pages = None, 0
        while True:
            page = await client.call("history", {"limit": 20, "before": before})
            got += [entry["event"]["user"] for entry in page["entries"]]
            before, pages = page["before"], pages + 1
            if before is None:
                break
        assert got == list(range(19, -1, -1))
        assert pages == 4
        assert max(len(write) for write in client.transport.writes) <= 50_001


async def test_items_too_large_for_an_answer_are_an_error() -> None:
    async with serving(answer_bytes=50_000) as worker:
        client = Client(worker)
        await fill(client, 20, text="x" * 9_000)
        assert len(await client.call("items", {"end": 5})) == 5
        error = await client.fail("items", {"end": 6})
        assert (error["code"], error["data"]["limit"], error["data"]["max"]) == (-32004, "answer_bytes", 50_000)  # fmt: skip
        error = await client.fail("subscribe", {"backfill": 6})
        assert (error["code"], error["data"]["limit"]) == (-32004, "answer_bytes")
        assert not client.session.peer.subscriptions
        assert (await client.call("subscribe", {"backfill": 5}))["subscription"] == 2


async def test_used_up_work_ends_a_page_early_and_fails_items() -> None:
    async with serving(query_work=10) as worker:
        client = Client(worker)
        await client.call("insert", {"event": {"user": 1, "kind": "rare"}})
        await client.call("insert_many", {"events": [{"user": 1, "kind": "x"}, {"user": 2, "kind": "rare"}] * 30})  # fmt: skip
        rare = {"user": 1, "kind": "rare"}
        error = await client.fail("items", {"filter": rare})
        assert (error["code"], error["data"]["limit"]) == (-32004, "query_work")
        page: dict[str, Any] = {"entries": [], "before": None}
        pages = 0
        while not page["entries"]:
            page = await client.call("history", {"filter": rare, "before": page["before"]})
            pages += 1
            assert page["entries"] or page["before"] is not None
        assert 3 <= pages <= 5
        answer = await client.call("subscribe", {"filter": rare})
        assert answer["entries"] == []
        assert answer["before"] is not None


async def test_a_long_query_holds_up_nobody() -> None:
    async with serving() as worker:
        client, other = Client(worker), Client(worker)
        for _ in range(20):
            await client.call("insert_many", {"events": [{"user": 1, "kind": "x"}, {"user": 2, "kind": "y"}] * 500})  # fmt: skip
        query = client.ask("items", {"filter": {"user": [1, 3], "kind": ["y", "z"]}})
        pings = 0
        while not client.answers(query):
            assert await other.call("ping") == "pong"
            pings += 1
            await asyncio.sleep(0)
        assert pings > 2
        assert await client.answer(query) == {"jsonrpc": "2.0", "id": query, "result": []}
