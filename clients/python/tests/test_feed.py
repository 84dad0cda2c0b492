import asyncio
import contextlib
import random

import pytest
from streamd_client import (
    CallTimeout,
    ClientClosed,
    FeedState,
    Forbidden,
    InvalidParams,
    LimitExceeded,
    PlaceLost,
)
from streamd_client.caller import Caller
from streamd_client.inbox import MAX_ENTRIES

from clients.python.tests.conftest import connected_to, eventually
from clients.python.tests.fake_server import drop_after, drop_before, fail, hold, ignore


def push(server, *numbers, **more):
    for n in numbers:
        server.push({"n": n, **more})


async def numbers(feed, count):
    """The `n` of the next so many entries."""
    return [(await anext(feed)).event["n"] for _ in range(count)]


async def nothing_waits(feed):
    """Assert that no entry is there, by asking for one and for the server's answer."""
    waiting = asyncio.ensure_future(anext(feed))
    await Caller(feed._subscription._link).call("ping", {}, 10)
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


# From the past into the future.


async def test_a_feed_gives_the_newest_entries_and_then_every_further_one(server, client):
    push(server, *range(30))
    async with client.subscribe(backfill=3) as feed:
        assert await numbers(feed, 3) == [27, 28, 29]
        push(server, 30, 31)
        assert await numbers(feed, 2) == [30, 31]
        assert feed.before == "e1.28"
        page = await client.history(before=feed.before, limit=2)
        assert [entry.event["n"] for entry in page.entries] == [26, 25]


async def test_only_what_matches_comes(server, client):
    push(server, 1, user=1)
    push(server, 2, user=2)
    async with client.subscribe(filter={"user": [1, 3]}, backfill=5) as feed:
        push(server, 3, user=3)
        push(server, 4, user=2)
        push(server, 5, user=1)
        assert await numbers(feed, 3) == [1, 3, 5]


async def test_a_feed_goes_on_after_a_stored_cursor(server, client):
    push(server, *range(10))
    async with client.subscribe(after="e1.7") as feed:
        assert feed.cursor == "e1.7"
        assert await numbers(feed, 3) == [7, 8, 9]
        await nothing_waits(feed)
        assert feed.cursor == "e1.10"


async def test_a_feed_can_begin_at_the_oldest_entry(server, client):
    push(server, *range(10))
    server.floor = 4
    async with client.subscribe(after="start", backfill=1) as feed:
        assert feed.cursor == "e1.3"
        assert await numbers(feed, 7) == [3, 4, 5, 6, 7, 8, 9]


async def test_several_feeds_share_a_connection(server, client):
    async with client.subscribe(kind="a") as first, client.subscribe(kind="b") as second:
        push(server, 1, kind="a")
        push(server, 2, kind="b")
        push(server, 3, kind="a")
        assert await numbers(second, 1) == [2]
        assert await numbers(first, 2) == [1, 3]
    assert server.opened == 1
    await client.ping()
    assert len(server.called("unsubscribe")) == 2


async def test_events_right_behind_the_answer_are_not_lost(server, client):
    async def trick(server, call):
        server.answer(call)
        push(server, *range(50))

    server.tricks["subscribe"].append(trick)
    async with client.subscribe() as feed:
        assert await numbers(feed, 50) == list(range(50))


async def test_events_of_an_unknown_subscription_are_ignored(server, client):
    async with client.subscribe() as feed:
        server.peer.notify("event", subscription=99, cursor="x", time=0, event={"n": -1})
        server.peer.notify("progress", subscription=99, cursor="x")
        server.peer.notify("closed", subscription=99, code=-32007, message="m")
        push(server, 1)
        assert await numbers(feed, 1) == [1]


# States and cursor.


async def test_a_feed_says_when_it_is_live(server, client):
    server.live_at_once = False
    push(server, 1)
    server.tricks["subscribe"].append(hold(answered := asyncio.Event()))
    feed = client.subscribe()
    assert (feed.state, feed.live) == (FeedState.SUBSCRIBING, False)
    entering = asyncio.create_task(feed.__aenter__())
    await server.until(lambda: server.called("subscribe"))
    assert feed.state is FeedState.SUBSCRIBING
    answered.set()
    await entering
    await eventually(lambda: feed.live)
    await feed.close()
    assert feed.state is FeedState.CLOSED


async def test_a_feed_behind_is_catching_up_until_it_is_told(server, client):
    server.live_at_once = False
    server._catch_up = lambda peer, answer, params: None
    async with client.subscribe() as feed:
        assert feed.state is FeedState.CATCHING_UP
        server.peer.notify("progress", subscription=1, cursor="e1.5")
        await eventually(lambda: feed.cursor == "e1.5")
        assert feed.state is FeedState.CATCHING_UP
        server.peer.notify("progress", subscription=1, cursor="e1.6", live=True)
        await eventually(lambda: feed.live)
        assert feed.cursor == "e1.6"


async def test_the_cursor_is_the_last_entry_whose_body_has_finished(server, client):
    push(server, 1, 2)
    seen = []
    async with client.subscribe(after="e1.0") as feed:
        async for entry in feed:
            seen.append((entry.cursor, feed.cursor))
            if len(seen) == 2:
                break
        assert seen == [("e1.1", "e1.0"), ("e1.2", "e1.1")]
        assert feed.cursor == "e1.1"
    assert feed.cursor == "e1.1"


async def test_the_cursor_before_the_first_place_is_none(server, client):
    push(server, 1)
    feed = client.subscribe()
    assert feed.cursor is None
    async with feed:
        assert feed.cursor is None


async def test_progress_moves_the_cursor_of_every_quiet_feed(server, client):
    async with client.subscribe(kind="a") as first, client.subscribe(kind="b") as second:
        server.peer.notify("progress", cursor="e1.40")
        await eventually(lambda: first.cursor == second.cursor == "e1.40")
        server.peer.notify("progress", cursor="e1.50", subscription=2)
        await eventually(lambda: second.cursor == "e1.50")
        assert first.cursor == "e1.40"


async def test_progress_does_not_move_the_cursor_past_an_unfinished_body(server, client):
    async with client.subscribe(after="e1.0") as feed:
        push(server, 1)
        await anext(feed)
        server.peer.notify("progress", cursor="e1.9")
        await client.ping()
        assert feed.cursor == "e1.0"
        await nothing_waits(feed)
        assert feed.cursor == "e1.9"


async def test_a_quiet_feed_resumes_from_its_progress(server, client):
    async with client.subscribe(kind="b") as feed:
        push(server, *range(5), kind="a")
        server.peer.notify("progress", cursor=server.head)
        await eventually(lambda: feed.cursor == "e1.5")
        await server.peer.socket.close(1012)
        await server.until(lambda: len(server.called("subscribe")) == 2)
        assert server.called("subscribe")[1].params["after"] == "e1.5"


# Through broken connections.


async def test_a_feed_resumes_without_loss_or_repeats(server, client):
    push(server, 1, 2, 3)
    async with client.subscribe(backfill=2) as feed:
        assert await numbers(feed, 1) == [2]
        server.peer.abort()
        push(server, 4, 5)
        await server.until(lambda: server.opened == 2)
        push(server, 6)
        assert await numbers(feed, 4) == [3, 4, 5, 6]
        push(server, 7)
        assert await numbers(feed, 1) == [7]
        await nothing_waits(feed)
        assert server.called("subscribe")[1].params["after"] == "e1.3"


async def test_a_feed_outlives_a_restart(server, client):
    push(server, 1)
    async with client.subscribe() as feed:
        assert await numbers(feed, 1) == [1]
        await server.stop()
        push(server, 2)
        await server.start()
        assert await numbers(feed, 1) == [2]


async def test_a_lost_answer_to_subscribe_is_asked_for_again(server, client):
    push(server, 1)
    server.tricks["subscribe"].extend([drop_before, drop_after])
    async with client.subscribe() as feed:
        assert await numbers(feed, 1) == [1]
    assert len(server.called("subscribe")) == 3


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_breaks_a_feed_equals_the_log(server, seed):
    dice = random.Random(seed)
    total = 1_500
    received = []

    async def write():
        for n in range(total):
            server.push({"n": n, "kind": "a" if n % 3 else "b"})
            if dice.random() < 0.01 and server.peers:
                dice.choice(server.peers).abort()
            if dice.random() < 0.3:
                await asyncio.sleep(0)

    async with connected_to(server) as client, client.subscribe(kind="a", after="start") as feed:
        writer = asyncio.create_task(write())
        wanted = sum(1 for n in range(total) if n % 3)
        async for entry in feed:
            received.append(entry.event["n"])
            if len(received) == wanted:
                break
            if dice.random() < 0.02:
                await asyncio.sleep(0.002)
        await writer
        await nothing_waits(feed)
    assert received == [n for n in range(total) if n % 3]


# The loop's body.


async def test_calls_may_be_made_inside_the_body(server, client):
    push(server, 0)
    async with client.subscribe() as feed:
        async for entry in feed:
            n = entry.event["n"]
            if n == 5:
                break
            assert (await client.items(end=1))[0]["n"] == n
            await client.insert({"n": n + 1})
    assert [event["n"] for event in server.events] == list(range(6))


async def test_a_feed_can_be_opened_inside_the_body_of_another(server, client):
    push(server, 1)
    async with client.subscribe() as outer:
        async for _ in outer:
            async with client.subscribe() as inner:
                assert await numbers(inner, 1) == [1]
            break


async def test_a_slow_body_costs_bounded_memory_and_loses_nothing(server, client):
    async with client.subscribe(after="start") as feed:
        push(server, *range(5_000))
        await server.until(lambda: server.called("unsubscribe"))
        assert feed.state is FeedState.PAUSED
        assert len(feed._subscription.inbox) == MAX_ENTRIES
        push(server, *range(5_000, 5_010))
        assert await numbers(feed, 5_010) == list(range(5_010))
        await nothing_waits(feed)
        assert feed.live
        resumed = [call.params["after"] for call in server.called("subscribe")[1:]]
        assert resumed[0] == "e1.1000"


async def test_large_entries_are_bounded_by_bytes(server, client):
    async with client.subscribe(after="start") as feed:
        push(server, *range(100), text="x" * 60_000)
        await server.until(lambda: server.called("unsubscribe"))
        assert 60 < len(feed._subscription.inbox) < 75
        assert await numbers(feed, 100) == list(range(100))


async def test_a_slow_body_does_not_hold_up_calls_or_other_feeds(server, client):
    async with client.subscribe(backfill=0) as slow, client.subscribe(kind="b") as quick:
        push(server, *range(3_000), kind="a")
        push(server, -1, kind="b")
        assert await numbers(quick, 1) == [-1]
        await client.ping()
        assert slow.state is FeedState.PAUSED


async def test_a_paused_feed_stays_paused_through_a_broken_connection(server, client):
    async with client.subscribe(after="start") as feed:
        push(server, *range(1_200))
        await eventually(lambda: feed.state is FeedState.PAUSED)
        server.peer.abort()
        await server.until(lambda: server.opened == 2)
        await client.ping()
        assert feed.state is FeedState.PAUSED
        assert len(server.called("subscribe")) == 1
        assert await numbers(feed, 1_200) == list(range(1_200))


async def test_a_full_backfill_and_a_live_stream_lose_nothing(server, client):
    push(server, *range(1_000))
    async with client.subscribe(backfill=1_000) as feed:
        push(server, *range(1_000, 1_500))
        assert await numbers(feed, 1_500) == list(range(1_500))


# Lost places.


async def test_a_lost_epoch_is_raised_and_iterating_again_goes_on(server, client):
    push(server, 1, 2)
    async with client.subscribe() as feed:
        assert await numbers(feed, 2) == [1, 2]
        server.peer.abort()
        server.new_epoch()
        push(server, 10, 11)
        with pytest.raises(PlaceLost) as info:
            await anext(feed)
        assert (info.value.reason, info.value.cursor, info.value.code) == ("epoch", "e1.2", -32007)
        assert feed.cursor == "e1.2"
        assert await numbers(feed, 2) == [10, 11]
        push(server, 12)
        assert await numbers(feed, 1) == [12]
        assert feed.cursor == "e2.2"


async def test_a_cursor_that_expired_overnight_is_raised(server, client):
    push(server, *range(10))
    server.floor = 9
    async with client.subscribe(after="e1.3") as feed:
        with pytest.raises(PlaceLost) as info:
            await anext(aiter(feed))
        assert info.value.reason == "expired"
        assert await numbers(feed, 2) == [8, 9]


async def test_what_came_before_the_gap_is_given_before_it(server, client):
    async with client.subscribe() as feed:
        push(server, 1, 2)
        server.peer.notify(
            "closed", subscription=1, code=-32007, message="m", data={"reason": "expired"}
        )
        await server.until(lambda: len(server.called("subscribe")) == 2)
        assert "after" not in server.called("subscribe")[1].params
        push(server, 3)
        assert await numbers(feed, 2) == [1, 2]
        with pytest.raises(PlaceLost) as info:
            await anext(feed)
        assert (info.value.reason, info.value.cursor) == ("expired", "e1.2")
        # The new backfill holds what was known before: it is a new beginning.
        assert await numbers(feed, 3) == [1, 2, 3]


async def test_a_callback_takes_the_place_of_the_exception(server, client):
    gaps = []
    async with client.subscribe(on_gap=gaps.append) as feed:
        push(server, 1)
        assert await numbers(feed, 1) == [1]
        server.peer.abort()
        server.new_epoch()
        push(server, 2)
        assert await numbers(feed, 1) == [2]
    assert [gap.reason for gap in gaps] == ["epoch"]


async def test_the_callback_may_be_a_coroutine_function_that_makes_calls(server, client):
    async def reload(gap):
        found.extend(await client.items())

    found = []
    async with client.subscribe(on_gap=reload, backfill=0) as feed:
        server.peer.abort()
        server.new_epoch()
        push(server, 2)
        await server.until(lambda: len(server.called("subscribe")) == 2)
        await client.ping()
        push(server, 3)
        assert await numbers(feed, 1) == [3]
    assert found == [{"n": 3}, {"n": 2}]


async def test_an_error_of_the_callback_reaches_the_loop(server, client):
    def refuse(gap):
        raise LookupError

    push(server, 1)
    async with client.subscribe(after="e0.1", on_gap=refuse) as feed:
        with pytest.raises(LookupError):
            await anext(feed)


# Refusals.


async def test_a_refused_subscription_is_raised_on_entering(server, client):
    feed = client.subscribe(colour="red")
    with pytest.raises(InvalidParams):
        async with feed:
            pytest.fail("not entered")
    assert feed.state is FeedState.CLOSED


async def test_a_cursor_that_is_none_is_raised_on_entering(server, client):
    with pytest.raises(InvalidParams):
        async with client.subscribe(after="rubbish"):
            pytest.fail("not entered")


async def test_a_filter_too_long_for_one_message_fails_alone(server, client):
    with pytest.raises(LimitExceeded):
        async with client.subscribe(user=["x" * 500] * 3_000):
            pytest.fail("not entered")
    await client.ping()


async def test_a_filter_that_is_no_json_is_refused_where_it_is_written(client):
    with pytest.raises(TypeError):
        client.subscribe(user=object())


async def test_a_refusal_after_a_reconnect_ends_the_feed(server, client):
    async with client.subscribe(user=1) as feed:
        push(server, 1, user=1)
        server.keys.remove("user")
        server.peer.abort()
        assert await numbers(feed, 1) == [1]
        for _ in range(2):
            with pytest.raises(InvalidParams):
                await anext(feed)
        assert feed.state is FeedState.CLOSED


async def test_passing_errors_are_retried(server, client):
    server.tricks["subscribe"].extend([fail(-32011, {"retry_after_ms": 1}), fail(-32005)])
    async with client.subscribe() as feed:
        assert feed.live
        server.tricks["subscribe"].extend([fail(-32011), fail(-32010)])
        server.peer.abort()
        push(server, 1)
        assert await numbers(feed, 1) == [1]


async def test_a_lost_right_ends_the_feed_after_what_was_received(server, client):
    async with client.subscribe() as feed:
        push(server, 1)
        server.peer.notify("closed", subscription=1, code=-32002, message="no longer allowed")
        assert await numbers(feed, 1) == [1]
        with pytest.raises(Forbidden):
            await anext(feed)


async def test_a_feed_closed_for_a_passing_reason_comes_back(server, client):
    async with client.subscribe() as feed:
        push(server, 1)
        server._do_unsubscribe(server.peer, 1)
        server.peer.notify("closed", subscription=1, code=-32011, message="no store")
        push(server, 2)
        assert await numbers(feed, 2) == [1, 2]


async def test_entering_has_a_deadline(server, client):
    server.tricks["subscribe"].append(ignore)
    with pytest.raises(CallTimeout) as info:
        async with client.subscribe(timeout=0.05):
            pytest.fail("not entered")
    assert info.value.method == "subscribe"


async def test_a_subscription_nobody_waits_for_is_given_back(server, client):
    server.tricks["subscribe"].append(hold(late := asyncio.Event()))
    with pytest.raises(CallTimeout):
        async with client.subscribe(timeout=0.05):
            pytest.fail("not entered")
    late.set()
    await server.until(lambda: server.called("unsubscribe"))
    assert server.called("unsubscribe")[0].params == {"subscription": 1}


# The end.


async def test_leaving_unsubscribes(server, client):
    async with client.subscribe() as feed:
        pass
    await server.until(lambda: server.called("unsubscribe"))
    with pytest.raises(StopAsyncIteration):
        await anext(feed)
    assert client._link._subscribers == {}


async def test_closing_a_feed_ends_its_loop(server, client):
    seen = []
    async with client.subscribe() as feed:

        async def read():
            async for entry in feed:
                seen.extend([entry.event["n"]])

        reader = asyncio.create_task(read())
        push(server, 1)
        await eventually(lambda: seen)
        await feed.close()
        await feed.close()
        await reader
    assert seen == [1]


async def test_closing_the_client_raises_in_a_loop(server, client):
    async with client.subscribe() as feed:
        waiting = asyncio.create_task(anext(feed))
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(ClientClosed):
            await waiting
        with pytest.raises(ClientClosed):
            await anext(feed)


async def test_closing_the_client_inside_the_body(server, client):
    async def read():
        async with client.subscribe() as feed:
            async for _ in feed:
                await client.close()

    push(server, 1, 2)
    with pytest.raises(ClientClosed):
        await read()


async def test_a_cancelled_read_loses_nothing(server, client):
    async with client.subscribe() as feed:
        taken = []
        for n in range(20):
            waiting = asyncio.create_task(anext(feed))
            await asyncio.sleep(0)
            waiting.cancel()
            push(server, n)
            with contextlib.suppress(asyncio.CancelledError):
                taken.append((await waiting).event["n"])
        assert [*taken, *await numbers(feed, 20 - len(taken))] == list(range(20))


async def test_one_task_reads_a_feed(server, client):
    async with client.subscribe() as feed:
        waiting = asyncio.create_task(anext(feed))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await anext(feed)
        push(server, 1)
        assert (await waiting).event == {"n": 1}


async def test_a_feed_is_entered_once_and_before_it_is_read(server, client):
    feed = client.subscribe()
    with pytest.raises(RuntimeError):
        await anext(feed)
    async with feed:
        with pytest.raises(RuntimeError):
            await feed.__aenter__()
        assert feed.live
