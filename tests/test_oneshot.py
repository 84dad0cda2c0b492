"""streamd.oneshot: calls of somebody who can't be pushed to."""

import asyncio
from typing import Any

import orjson
import pytest

from streamd.errors import StoreUnavailable
from streamd.limits import Limits
from streamd.stores.base import Stream
from streamd.stores.memory import MemoryStore
from tests.parts import DEADLINE, KEYS, GatedStore, call, note, serving, turns


async def test_a_post_is_answered_like_a_message() -> None:
    async with serving() as worker:
        assert orjson.loads(await worker.post(orjson.dumps(call(1)))) == {"jsonrpc": "2.0", "result": "pong", "id": 1}  # fmt: skip
        assert await worker.post(orjson.dumps(note("ping"))) == b""
        assert await worker.post(orjson.dumps([note("ping")])) == b""
        assert orjson.loads(await worker.post(b"{"))["error"]["code"] == -32700
        batch = [
            *[call(n, "insert", event={"user": n}) for n in range(10)],
            call("x", "subscribe"),
            7,
        ]
        answers = orjson.loads(await worker.post(orjson.dumps(batch)))
        assert {a["id"] for a in answers} == {*range(10), "x", None}
        assert {a["id"]: a["error"]["code"] for a in answers if "error" in a} == {"x": -32601, None: -32600}  # fmt: skip
        items = orjson.loads(await worker.call("items", {"end": 10}))
        assert [event["user"] for event in reversed(items)] == list(range(10))


async def test_posts_that_share_their_rates_are_held_to_them_together() -> None:
    async with serving(calls_per_second=0.003, burst=1_000, refusals=2) as worker:
        rates, body = worker.pace.begin(), orjson.dumps([call(1), call(2)])
        assert rates is not None
        codes = []
        for _ in range(2):
            answers = orjson.loads(await worker.post(body, rates=rates))
            codes += [
                a.get("error", {}).get("code") for a in sorted(answers, key=lambda a: a["id"])
            ]
        assert codes == [None, None, None, -32005]
        await worker.post(b"{", rates=rates)
        assert not rates.barred()
        await worker.post(b"{", rates=rates)
        assert rates.barred()


@pytest.mark.parametrize("method", ["subscribe", "unsubscribe", "authenticate"])
async def test_what_needs_a_connection_is_no_method_of_a_post(method: str) -> None:
    async with serving() as worker:
        answer = orjson.loads(await worker.post(orjson.dumps(call(1, method))))
        assert answer["error"]["code"] == -32601


async def test_a_posted_batch_holds_one_page_at_a_time() -> None:
    held = most = 0

    class Counting(MemoryStore):
        async def newest(self, *args: Any) -> Any:
            nonlocal held, most
            held += 1
            most = max(most, held)
            await asyncio.sleep(0)
            page = await super().newest(*args)
            held -= 1
            return page

    store = Counting("memory:", Stream("test", KEYS, Limits()))
    async with serving(store, window=2) as worker:
        for n in range(5):
            await worker.call("insert", {"event": {"user": n}})
        body = orjson.dumps([call(n, "items") for n in range(50)])
        answers = orjson.loads(await worker.post(body))
        assert all(len(answer["result"]) == 5 for answer in answers)
        assert most == 1


async def test_one_who_gives_up_an_insert_leaves_the_others() -> None:
    store = GatedStore()
    async with serving(store) as worker:
        store.appending.clear()
        gone = asyncio.create_task(worker.call("insert", {"event": {"user": 1}}))
        here = asyncio.create_task(worker.call("insert", {"event": {"user": 2}}))
        await turns()
        gone.cancel()
        await turns()
        store.appending.set()
        async with asyncio.timeout(DEADLINE):
            assert "cursor" in orjson.loads(await here)


async def test_a_call_of_a_server_that_stops_is_refused() -> None:
    async with serving() as worker:
        await worker._committer.aclose()
        with pytest.raises(StoreUnavailable):
            await worker.call("insert", {"event": {}})
