"""streamd.hub: from the tail to the peers, each event once, in order, and no peer at another's cost."""

import asyncio
import itertools
import random
from typing import Any

import pytest

import streamd.fanout
import streamd.hub
import streamd.progress
from streamd.cursor import Chain
from streamd.errors import LimitExceeded, UnknownSubscription
from streamd.limits import Limits
from streamd.log import Run
from streamd.subscription import State
from tests.parts import (
    DEADLINE,
    RecordingTransport,
    Rig,
    ScriptedStore,
    draft,
    memory,
    rig,
    turns,
    wanted,
)

OLD = Chain("aaaaaaaa")


def users(transport: RecordingTransport, number: int = 1) -> list[Any]:
    return [event["user"] for event in transport.events(number)]


def scripted(number: int, **limits: Any) -> tuple[ScriptedStore, Rig]:
    store = ScriptedStore(OLD, [])
    store.add(*[{"user": user} for user in range(1, number + 1)])
    return store, Rig(store, Limits(**limits))


async def position(r: Rig, seq: int) -> None:
    """Wait until the tail has brought a place, and what it brought has gone out."""
    async with asyncio.timeout(DEADLINE):
        while r.view.position != seq:
            await asyncio.sleep(0)
    await turns()


# Pushing.


async def test_a_live_subscription_gets_what_matches_and_nothing_else() -> None:
    async with rig() as r:
        transport, peer = r.join()
        sub = r.subscribe(peer, {"user": [1, 2], "kind": "a"})
        assert sub.state is State.LIVE
        await r.append({"user": 1, "kind": "a"}, {"user": 1}, {"user": 2, "kind": "a"})
        await r.append({"user": 3, "kind": "a"}, {"kind": "a"}, {"user": 2, "kind": ["a", "b"]})
        await transport.until(lambda: len(transport.events()) == 3)
        assert users(transport) == [1, 2, 2]


async def test_an_event_comes_with_its_place_its_time_and_its_very_bytes() -> None:
    async with rig() as r:
        transport, peer = r.join()
        r.subscribe(peer, {})
        appended = await r.append({"z": "\0é", "user": 1, "a": [1.5, None]})
        await transport.until(lambda: transport.sent("event"))
        (params,) = transport.sent("event")
        (verdict,) = appended.verdicts
        assert isinstance(verdict, list)
        assert params["cursor"] == appended.chain.cursor(1)
        assert params["time"] == verdict[0].time
        assert '"event":{"z":"\\u0000é","user":1,"a":[1.5,null]}}' in transport.writes[0].decode()


async def test_a_batch_is_written_once_to_each_connection() -> None:
    async with rig() as r:
        readers = [r.join() for _ in range(5)]
        for _, peer in readers:
            r.subscribe(peer, {"user": 1})
            r.subscribe(peer, {"kind": "a"})
        await r.append(*[{"user": 1, "kind": "a"}] * 20)
        for transport, _ in readers:
            await transport.until(lambda t=transport: len(t.sent("event")) == 40)
            assert len(transport.writes) == 1
        assert len({transport.writes[0] for transport, _ in readers}) == 1


async def test_the_same_frames_are_the_same_object_for_all_who_get_them() -> None:
    async with rig() as r:
        readers = [r.join() for _ in range(5)]
        for _, peer in readers:
            r.subscribe(peer, {"user": [1, 2]})
        await r.append({"user": 1}, {"user": 2}, {"user": 3})
        await turns()
        assert len({id(transport.writes[0]) for transport, _ in readers}) == 1


async def test_an_event_of_many_terms_comes_once() -> None:
    async with rig() as r:
        transport, peer = r.join()
        r.subscribe(peer, {"tag": ["a", "b", "c"]})
        await r.append({"user": 1, "tags": ["a", "b", "c"]})
        await turns()
        assert users(transport) == [1]


async def test_each_subscription_of_a_connection_gets_its_own() -> None:
    async with rig() as r:
        transport, peer = r.join()
        for value in ({"user": 1}, {}, {"user": []}, {"user": 1}):
            r.subscribe(peer, value)
        await r.append({"user": 1}, {"user": 2})
        await turns()
        assert [users(transport, number) for number in (1, 2, 3, 4)] == [[1], [1, 2], [], [1]]


async def test_large_batches_are_cut_to_the_size_of_an_outbox() -> None:
    async with rig() as r:
        transport, peer = r.join()
        r.subscribe(peer, {})
        await r.append(*[{"user": n, "text": "x" * 30_000} for n in range(20)])
        await r.append(*[{"user": n} for n in range(20, 820)])
        await transport.until(lambda: len(transport.events()) == 820)
        assert users(transport) == list(range(820))
        assert max(len(write) for write in transport.writes) < 130_000


# Beginning.


async def test_a_subscription_is_pending_until_its_answer_is_written() -> None:
    async with rig() as r:
        transport, peer = r.join()
        sub = r.hub.subscribe(peer, wanted({}))
        sub.cursor = r.view.position
        await r.append({"user": 1}, {"user": 2})
        await turns()
        assert transport.writes == []
        r.hub.activate(sub)
        await transport.until(lambda: len(transport.events()) == 2)
        assert users(transport) == [1, 2]
        assert sub.state is State.LIVE


async def test_from_a_place_far_back_everything_follows_then_live() -> None:
    async with rig(memory(), window=10) as r:
        await r.append(*[{"user": n} for n in range(700)])
        transport, peer = r.join()
        sub = r.subscribe(peer, {}, since=5)
        assert sub.state is State.BEHIND
        await r.append({"user": 700})
        await transport.until(lambda: len(transport.events()) == 696)
        await r.append({"user": 701})
        await transport.until(lambda: len(transport.events()) == 697)
        assert users(transport) == list(range(5, 702))


async def test_who_was_told_to_wait_is_told_once_when_it_is_live() -> None:
    async with rig() as r:
        await r.append(*[{"user": n} for n in range(600)])
        transport, peer = r.join()
        sub = r.hub.subscribe(peer, wanted({}))
        sub.cursor, sub.promised = 0, True
        r.hub.activate(sub)
        await transport.until(lambda: transport.sent("progress"))
        assert transport.sent("progress") == [
            {"cursor": r.view.cursor(600), "subscription": 1, "live": True}
        ]
        assert transport.messages[-1]["method"] == "progress", "after the last event"
        transport.stall()
        await r.append({"user": 600})
        await r.append({"user": 601})
        transport.read_on()
        await transport.until(lambda: len(transport.events()) == 602)
        assert len(transport.sent("progress")) == 1


# Ending.


async def test_after_unsubscribe_no_event_of_that_number_follows() -> None:
    async with rig() as r:
        transport, peer = r.join()
        for _ in range(2):
            r.subscribe(peer, {})
        await r.append({"user": 1})
        await turns()
        r.hub.unsubscribe(peer, 1)
        await r.append({"user": 2})
        await turns()
        assert (users(transport, 1), users(transport, 2)) == ([1], [1, 2])


@pytest.mark.parametrize("state", ["pending", "behind", "live"])
async def test_unsubscribe_ends_it_in_every_state(state: str) -> None:
    async with rig() as r:
        transport, peer = r.join()
        await r.append({"user": 1})
        sub = r.hub.subscribe(peer, wanted({"user": [1, 2]}))
        sub.cursor = 0 if state == "behind" else 1
        if state == "behind":
            transport.stall(-1)
            transport.outbox.pause()
        if state != "pending":
            r.hub.activate(sub)
        assert sub.state.name == state.upper()
        r.hub.unsubscribe(peer, 1)
        r.hub.activate(sub)
        r.hub.abandon(sub)
        transport.read_on()
        await r.append({"user": 2})
        await turns()
        assert transport.writes == []
        assert (peer.num_behind, peer.num_values, peer.subscriptions) == (0, 0, {})
        assert len(r.hub._fanout) == 0


@pytest.mark.parametrize("number", [0, 1, 7, 2**63])
async def test_a_number_that_is_not_subscribed_is_unknown(number: int) -> None:
    async with rig() as r:
        _, peer = r.join()
        with pytest.raises(UnknownSubscription) as caught:
            r.hub.unsubscribe(peer, number)
        assert caught.value.data == {"subscription": number}


async def test_numbers_are_never_used_again() -> None:
    async with rig() as r:
        _, peer = r.join()
        for number in range(1, 5):
            assert r.subscribe(peer, {}).number == number
            r.hub.unsubscribe(peer, number)
        with pytest.raises(UnknownSubscription):
            r.hub.unsubscribe(peer, 1)


async def test_a_connection_that_leaves_leaves_nothing() -> None:
    async with rig() as r:
        transport, peer = r.join()
        other, second = r.join()
        for value in ({"user": 1}, {"user": [1, 2]}, {}):
            r.subscribe(peer, value)
            r.subscribe(second, value)
        transport.outbox.close()
        r.hub.leave(peer)
        r.hub.leave(peer)
        await r.append({"user": 1})
        await turns()
        assert transport.writes == []
        assert len(other.sent("event")) == 3
        r.hub.leave(second)
        assert len(r.hub._fanout) == 0
        assert r.hub._fanout._matcher.num_postings == 0


async def test_the_number_of_subscriptions_is_limited() -> None:
    async with rig(subscriptions=2) as r:
        _, peer = r.join()
        r.subscribe(peer, {})
        r.subscribe(peer, {})
        with pytest.raises(LimitExceeded) as caught:
            r.subscribe(peer, {})
        assert caught.value.data == {"limit": "subscriptions", "max": 2, "got": 3}
        r.hub.unsubscribe(peer, 1)
        assert r.subscribe(peer, {}).number == 3


async def test_the_values_of_all_subscriptions_are_limited() -> None:
    async with rig(connection_filter_values=5) as r:
        _, peer = r.join()
        r.subscribe(peer, {"user": [1, 2, 3]})
        with pytest.raises(LimitExceeded) as caught:
            r.subscribe(peer, {"user": [1, 2], "kind": "a"})
        assert caught.value.data == {"limit": "connection_filter_values", "max": 5, "got": 6}
        r.subscribe(peer, {"user": [1, 2]})
        r.hub.unsubscribe(peer, 1)
        r.subscribe(peer, {"user": [1, 2], "kind": "a"})


# Slow readers.


async def test_a_slow_reader_costs_a_cursor_and_loses_nothing() -> None:
    async with rig() as r:
        slow, peer = r.join()
        fast, other = r.join()
        sub = r.subscribe(peer, {})
        r.subscribe(other, {})
        slow.stall(1_000)
        for n in range(300):
            await r.append({"user": n, "text": "x" * 200})
        await fast.until(lambda: len(fast.events()) == 300)
        assert sub.state is State.BEHIND
        assert slow.most_unsent < 2_000
        while len(slow.events()) < 300:
            slow.drain()
            await turns()
            assert slow.most_unsent < 300 + 256 * 400
        assert users(slow) == users(fast) == list(range(300))
        slow.read_on()
        await turns()
        assert sub.state is State.LIVE


async def test_a_reader_that_the_window_has_overtaken_is_served_from_the_store() -> None:
    async with rig(memory(), window=20) as r:
        slow, peer = r.join()
        r.subscribe(peer, {"user": list(range(0, 400, 2))})
        slow.stall()
        for n in range(400):
            await r.append({"user": n})
        assert r.view.window.low == 381
        slow.read_on()
        await slow.until(lambda: len(slow.events()) == 200)
        assert users(slow) == list(range(0, 400, 2))


async def test_a_reader_that_retention_has_overtaken_is_told() -> None:
    async with rig(memory(max_events=50)) as r:
        slow, peer = r.join()
        r.subscribe(peer, {})
        r.subscribe(peer, {"user": "none"})
        slow.stall()
        for n in range(200):
            await r.append({"user": n})
        slow.read_on()
        await slow.until(lambda: slow.sent("closed"))
        (closed,) = slow.sent("closed")
        assert closed["subscription"] == 1
        assert (closed["code"], closed["data"]) == (-32007, {"reason": "expired"})
        assert users(slow) == [0], "nothing after the gap"
        assert list(peer.subscriptions) == [2], "the quiet one was never behind"
        assert peer.num_behind == 0


async def test_many_subscriptions_of_one_peer_fill_one_outbox_not_a_hundred() -> None:
    async with rig() as r:
        slow, peer = r.join()
        for _ in range(100):
            r.subscribe(peer, {})
        slow.stall(100_000)
        await r.append({"user": 1, "text": "x" * 60_000})
        await turns()
        assert slow.most_unsent < 300_000
        assert 0 < len(slow.sent("event")) < 5
        written = 0
        while len(slow.writes) > written:
            written = len(slow.writes)
            slow.drain()
            await turns()
        assert sorted(p["subscription"] for p in slow.sent("event")) == list(range(1, 101))
        assert slow.most_unsent < 300_000


async def test_of_one_peers_subscriptions_only_those_fall_behind_that_miss_something() -> None:
    async with rig() as r:
        slow, peer = r.join()
        noisy = r.subscribe(peer, {"user": 1})
        quiet = r.subscribe(peer, {"user": 2})
        slow.stall()
        await r.append({"user": 1})
        await r.append({"user": 1})
        await turns()
        assert (noisy.state, quiet.state) == (State.BEHIND, State.LIVE)
        slow.read_on()
        await turns()
        await r.append({"user": 2}, {"user": 1})
        await turns()
        assert (users(slow, 1), users(slow, 2)) == ([1, 1, 1], [2])


# Turns.


async def test_a_long_fan_out_lets_others_have_their_turn() -> None:
    async with rig() as r:
        readers = [r.join() for _ in range(1_000)]
        for _, peer in readers:
            r.subscribe(peer, {"user": 1})
        looks: list[int] = []

        async def look() -> None:
            while True:
                looks.append(sum(bool(transport.writes) for transport, _ in readers))
                await asyncio.sleep(0)

        looking = asyncio.create_task(look())
        await r.append({"user": 1})
        await turns()
        looking.cancel()
        assert {200, 400, 600, 800, 1_000} <= set(looks)


@pytest.mark.parametrize("events", [1, 200])
async def test_events_that_thousands_want_are_matched_in_turns(
    events: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamd.fanout, "_SLICE", 1)
    monkeypatch.setattr(streamd.fanout, "_TURN", 0.0)  # each filter takes longer
    async with rig() as r:
        readers = [r.join() for _ in range(20)]
        for number, (_, peer) in enumerate(readers):
            for n in range(10):
                r.subscribe(peer, {"user": [1, 1_000 * number + n + 2]})
        count = 0

        async def others() -> None:
            nonlocal count
            while not any(transport.writes for transport, _ in readers):
                count += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(others())
        await r.append(*[{"user": 1}] * events)
        await other
        assert count >= 200
        for transport, _ in readers:
            await transport.until(lambda t=transport: len(t.sent("event")) == 10 * events)


async def test_who_comes_and_goes_while_one_event_is_matched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streamd.fanout, "_SLICE", 1)
    monkeypatch.setattr(streamd.fanout, "_TURN", 0.0)
    async with rig() as r:
        readers = [r.join() for _ in range(20)]
        for number, (_, peer) in enumerate(readers):
            r.subscribe(peer, {"user": [1, number + 2]})
        appending = asyncio.create_task(r.append({"user": 1}))
        async with asyncio.timeout(DEADLINE):
            while r.view.position != 1:
                await asyncio.sleep(0)
        assert not any(transport.writes for transport, _ in readers), "it is still being matched"
        for _, peer in readers[::2]:
            r.hub.unsubscribe(peer, 1)
        # The same filters again, live after the event that is going out.
        for number, (_, peer) in list(enumerate(readers))[::2]:
            r.subscribe(peer, {"user": [1, number + 2]})
        await appending
        await r.append({"user": 1, "n": 2})
        for transport, _ in readers[1::2]:
            await transport.until(lambda t=transport: len(t.sent("event")) == 2)
        for transport, _ in readers[::2]:
            await transport.until(lambda t=transport: len(t.sent("event")) == 1)
            assert (users(transport, 1), users(transport, 2)) == ([], [1])


class Between:
    """Do something in the middle of a fan-out: after the first slice, before the second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(streamd.hub, "_SLICE", 1)

    async def __call__(self, first: RecordingTransport) -> None:
        async with asyncio.timeout(DEADLINE):
            while not first.writes:
                await asyncio.sleep(0)


async def test_who_comes_and_goes_between_two_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    between = Between(monkeypatch)
    async with rig() as r:
        readers = [r.join() for _ in range(8)]
        subs = [r.subscribe(peer, {"user": [1, 2]}) for _, peer in readers]
        first, *rest = [transport for transport, _ in readers]
        appending = asyncio.create_task(r.append({"user": 1}))
        await between(first)
        assert not rest[-1].writes, "the batch is still going out"
        # The last slices are changed under the hub's hands.
        r.hub.unsubscribe(subs[7].peer, 1)
        r.hub.leave(subs[6].peer)
        rest[4].outbox.close()
        r.hub.leave(subs[5].peer)
        rest[3].stall()
        rest[3].outbox.pause()
        newcomer, peer = r.join()
        new = r.subscribe(peer, {"user": [1, 2]})
        late, peer = r.join()
        r.subscribe(peer, {"user": [1, 2]}, since=0)
        r.hub.unsubscribe(subs[3].peer, 1)
        again = r.subscribe(subs[3].peer, {"user": [1, 2]})
        await appending
        await turns()
        assert new.state is State.LIVE
        assert again.number == 2
        rest[3].read_on()
        await r.append({"user": 2})
        await turns()
        got = [users(transport) for transport, _ in readers]
        assert got == [[1, 2], [1, 2], [1, 2], [], [1, 2], [], [], []]
        assert users(readers[3][0], 2) == [2]
        assert users(newcomer) == [2]
        assert users(late) == [1, 2]


async def test_a_pending_one_that_is_activated_between_two_slices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    between = Between(monkeypatch)
    async with rig() as r:
        readers = [r.join() for _ in range(4)]
        for _, peer in readers:
            r.subscribe(peer, {})
        transport, peer = r.join()
        sub = r.hub.subscribe(peer, wanted({}))
        sub.cursor = r.view.position
        appending = asyncio.create_task(r.append({"user": 1}))
        await between(readers[0][0])
        r.hub.activate(sub)
        await appending
        await r.append({"user": 2})
        await turns()
        assert users(transport) == [1, 2]


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_readers_do_each_gets_the_log_from_its_place_on(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamd.hub, "_SLICE", 3)
    random_ = random.Random(seed)
    async with rig(memory(), window=40) as r:
        written: list[int] = []

        async def write() -> None:
            for number in range(150):
                batch = [{"user": random_.randrange(4)} for _ in range(random_.randrange(1, 4))]
                written.extend(event["user"] for event in batch)
                await r.store.append([[draft(event) for event in batch]], str(number))
                for _ in range(random_.randrange(4)):
                    await asyncio.sleep(0)

        live: list[tuple[RecordingTransport, Any, int, set[int]]] = []
        ended: list[tuple[RecordingTransport, int, set[int], bool]] = []
        writing = asyncio.create_task(write())
        while not writing.done() or len(live) < 30:
            match random_.randrange(6):
                case 0 | 1 if len(live) < 60:
                    transport, peer = r.join()
                    asked = set(random_.sample(range(4), random_.randrange(1, 4)))
                    place = random_.choice(
                        [r.view.position, random_.randrange(r.view.position + 1)]
                    )
                    r.subscribe(peer, {"user": sorted(asked)}, since=place)
                    live.append((transport, peer, place, asked))
                case 2 if live:
                    random_.choice(live)[0].stall(random_.randrange(2_000))
                case 3 if live:
                    random_.choice(live)[0].drain()
                case 4 if live:
                    random_.choice(live)[0].read_on()
                case 5 if len(live) > 40:
                    transport, peer, place, asked = live.pop(random_.randrange(len(live)))
                    r.hub.leave(peer)
                    ended.append((transport, place, asked, False))
            await asyncio.sleep(0)
        await writing
        await position(r, len(written))
        for transport, _, place, asked in live:
            transport.read_on()
            expected = [user for user in written[place:] if user in asked]
            await transport.until(lambda t=transport, e=expected: len(t.events()) >= len(e))
            ended.append((transport, place, asked, True))
        await turns()
        for transport, place, asked, whole in ended:
            expected = [user for user in written[place:] if user in asked]
            got = users(transport)
            assert got == (expected if whole else expected[: len(got)])
            cursors = [params["cursor"] for params in transport.sent("event")]
            assert len(set(cursors)) == len(cursors)


# Losing places.


async def test_a_clean_restart_of_the_store_resets_nobody() -> None:
    store, r = scripted(5)
    async with r:
        transport, peer = r.join()
        sub = r.subscribe(peer, {})
        store.fork(Chain("bbbbbbbb", (("aaaaaaaa", 5),)), 5)
        store.add({"user": 6})
        store.say(5)
        await position(r, 6)
        assert users(transport) == [6]
        assert not transport.sent("closed")
        assert sub.state is State.LIVE
        assert transport.sent("event")[0]["cursor"] == store.chain.cursor(6)


async def test_a_fork_ends_those_beyond_it_and_no_other() -> None:
    store, r = scripted(10)
    async with r:
        beyond, one = r.join()
        live = r.subscribe(one, {})
        before, two = r.join()
        before.outbox.pause()
        behind = r.subscribe(two, {}, since=4)
        at, three = r.join()
        at.outbox.pause()
        edge = r.subscribe(three, {}, since=7)
        past, four = r.join()
        past.outbox.pause()
        over = r.subscribe(four, {}, since=8)
        store.fork(Chain("bbbbbbbb", (("aaaaaaaa", 7),)), 7)
        store.add({"user": "new"})
        store.say(7)
        await position(r, 8)
        for transport in (before, at, past):
            transport.read_on()
        await turns()
        assert [sub.state for sub in (live, over)] == [State.ENDED] * 2
        assert [sub.state for sub in (behind, edge)] == [State.LIVE] * 2
        assert users(before) == [5, 6, 7, "new"]
        assert users(at) == ["new"]
        for transport in (beyond, past):
            (closed,) = transport.sent("closed")
            assert (closed["code"], closed["data"]) == (-32007, {"reason": "epoch"})
            assert users(transport) == []


async def test_another_log_ends_everybody() -> None:
    store, r = scripted(10)
    async with r:
        readers = [r.join() for _ in range(3)]
        r.subscribe(readers[0][1], {})
        readers[1][0].outbox.pause()
        r.subscribe(readers[1][1], {}, since=0)
        readers[2][0].outbox.pause()
        r.subscribe(readers[2][1], {}, since=2)
        store.chain, store.log = Chain("zzzzzzzz"), []
        store.add({"user": "other"}, {"user": "other"}, {"user": "other"})
        store.say(0)
        await position(r, 3)
        for transport, peer in readers:
            transport.read_on()
            await turns()
            (closed,) = transport.sent("closed")
            assert closed["data"] == {"reason": "epoch"}
            assert users(transport) == []
            assert not peer.subscriptions


async def test_a_tail_that_retention_has_overtaken_ends_those_who_miss_something() -> None:
    store, r = scripted(10)
    async with r:
        transport, peer = r.join()
        r.subscribe(peer, {})
        store.add(*[{"user": n} for n in range(11, 31)])
        store.floor = 21
        store.say(20)
        await position(r, 30)
        (closed,) = transport.sent("closed")
        assert closed["data"] == {"reason": "expired"}
        assert users(transport) == []
        sub = r.subscribe(peer, {})
        assert (sub.number, sub.state) == (2, State.LIVE)


async def test_a_pending_one_whose_place_is_lost_is_told_after_its_answer() -> None:
    store, r = scripted(10)
    async with r:
        transport, peer = r.join()
        sub = r.hub.subscribe(peer, wanted({}))
        sub.cursor = 10
        store.fork(Chain("bbbbbbbb", (("aaaaaaaa", 7),)), 7)
        store.say(7)
        await position(r, 7)
        assert transport.writes == []
        transport.outbox.send(b'{"answer":true}')
        r.hub.activate(sub)
        await turns()
        assert transport.messages[0] == {"answer": True}
        (closed,) = transport.sent("closed")
        assert closed["data"] == {"reason": "epoch"}
        assert not peer.subscriptions


@pytest.mark.parametrize("lost", ["retention", "another log"])
async def test_one_that_has_no_place_yet_has_none_to_lose(lost: str) -> None:
    store, r = scripted(10)
    async with r:
        transport, peer = r.join()
        sub = r.hub.subscribe(peer, wanted({}))
        if lost == "retention":
            store.add(*[{"user": n} for n in range(11, 31)])
            store.floor = 21
            store.say(20)
        else:
            store.chain, store.log = Chain("zzzzzzzz"), []
            store.add(*[{"user": n} for n in range(1, 31)])
            store.say(0)
        await position(r, 30)
        sub.cursor = r.view.position
        r.hub.activate(sub)
        store.add({"user": 31})
        store.say(30)
        await position(r, 31)
        assert not transport.sent("closed")
        assert users(transport) == [31]


async def test_a_fork_between_rounds_of_catching_up_shows_nobody_a_void_event() -> None:
    store, r = scripted(2_000, window=50)
    async with r:
        readers = [r.join() for _ in range(10)]
        store.gate.clear()
        for _, peer in readers:
            r.subscribe(peer, {}, since=0)
        await turns()
        chain = Chain("bbbbbbbb", (("aaaaaaaa", 1_000),))
        store.fork(chain, 1_000)
        store.add(*[{"user": f"new {n}"} for n in range(10)])
        store.say(1_000)
        await position(r, 1_010)
        store.gate.set()
        log = [*range(1, 1_001), *[f"new {n}" for n in range(10)]]
        for transport, _ in readers:
            await transport.until(lambda t=transport: len(t.events()) >= 1_010 or t.sent("closed"))
            assert users(transport) == log
            cursors = [params["cursor"] for params in transport.sent("event")]
            assert cursors == [chain.cursor(seq) for seq in range(1, 1_011)]


# Progress.


async def test_progress_for_all_is_due_when_a_quarter_of_the_window_has_passed() -> None:
    async with rig(memory(), window=40) as r:
        transport, peer = r.join()
        r.subscribe(peer, {"user": "nobody"})
        await r.append(*[{"user": n} for n in range(9)])
        now = asyncio.get_running_loop().time()
        assert not r.hub._progress.due(peer, now)
        await r.append({"user": 9})
        assert r.hub._progress.due(peer, now)
        r.hub._progress.tell(peer, now)
        assert transport.sent("progress") == [{"cursor": r.view.cursor(10)}]
        assert not r.hub._progress.due(peer, now)


async def test_progress_is_due_before_a_ping_would_be() -> None:
    async with rig(ping=25.0) as r:
        _, peer = r.join()
        r.subscribe(peer, {})
        now = peer.told_at
        assert not r.hub._progress.due(peer, now + 20)
        assert r.hub._progress.due(peer, now + 24)
        peer.outbox.pause()
        assert not r.hub._progress.due(peer, now + 24), "nothing is added to a backlog unasked"


async def test_a_peer_without_subscriptions_is_told_nothing() -> None:
    async with rig() as r:
        _, peer = r.join()
        assert not r.hub._progress.due(peer, peer.told_at + 1_000)


async def test_while_one_is_behind_each_is_told_of_its_own_place() -> None:
    async with rig() as r:
        transport, peer = r.join()
        await r.append({"user": 1}, {"user": 2}, {"user": 3})
        r.subscribe(peer, {})
        pending = r.hub.subscribe(peer, wanted({}))
        transport.stall()
        transport.outbox.pause()
        r.subscribe(peer, {}, since=1)
        r.hub._progress.tell(peer, 0.0)
        assert transport.sent("progress") == [
            {"cursor": r.view.cursor(3), "subscription": 1},
            {"cursor": r.view.cursor(1), "subscription": 3},
        ]
        assert pending.state is State.PENDING


async def test_progress_comes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamd.progress, "_BEAT", 0.001)
    async with rig(ping=0.0) as r:
        transport, peer = r.join()
        r.subscribe(peer, {})
        await transport.until(lambda: len(transport.sent("progress")) > 2)


async def test_goodbye_comes_last_and_with_the_place_that_was_reached() -> None:
    async with rig() as r:
        transport, peer = r.join()
        r.subscribe(peer, {})
        await r.append({"user": 1})
        await r.hub.say_goodbye(peer, 1234)
        assert [message["method"] for message in transport.messages] == [
            "event",
            "progress",
            "shutdown",
        ]
        assert transport.sent("progress") == [{"cursor": r.view.cursor(1)}]
        assert transport.sent("shutdown") == [{"reconnect_after_ms": 1234}]


# Ending.


async def test_a_tail_that_ends_is_seen(caplog: pytest.LogCaptureFixture) -> None:
    store, r = scripted(1)
    async with r:
        assert r.hub.following
        store.runs.put_nowait(None)  # type: ignore[arg-type]  # what no store yields
        async with asyncio.timeout(DEADLINE):
            while r.hub.following:
                await asyncio.sleep(0)
    assert "CRITICAL" in caplog.text


async def test_closing_twice_is_closing_once() -> None:
    async with rig() as r:
        await r.hub.aclose()
        await r.hub.aclose()
        assert not r.hub.following


def test_runs_are_cut_without_losing_a_place() -> None:
    store, _ = scripted(600)
    run = Run(store.now, 0, store.log, 700)
    parts = list(streamd.hub._parts(run))
    assert [entry for part in parts for entry in part.entries] == store.log
    assert parts[0].since == 0
    assert parts[-1].upto == 700
    for one, other in itertools.pairwise(parts):
        assert one.upto == other.since
    assert list(streamd.hub._parts(Run(store.now, 5, [], 5))) == []
    assert list(streamd.hub._parts(Run(store.now, 5, [], 9))) == [Run(store.now, 5, [], 9)]


async def test_when_progress_ends_of_a_defect_it_is_said_and_the_worker_is_not_well(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(streamd.progress, "_BEAT", 0.001)
    async with rig() as r:
        assert r.hub.following
        monkeypatch.setattr(r.hub._progress, "due", fail)
        r.join()
        async with asyncio.timeout(DEADLINE):
            while r.hub.following:
                await asyncio.sleep(0.001)
    (record,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert record.name == "streamd.progress"


# Counting.


def counted(r: Rig) -> dict[str, float]:
    """Return what the hub has counted, by name."""
    meters = r.hub._meters
    return {each.name: meters._cells[each.at] for each in meters.families if not each.label}


async def test_what_is_delivered_is_counted_however_it_came() -> None:
    async with rig(outbox_bytes=1_000) as r:
        peers = [r.join() for _ in range(4)]
        for number, (_, peer) in enumerate(peers):
            for wants in ({"user": 1}, {"user": [1, 2]}, {"user": 1})[: 1 + number % 3]:
                r.subscribe(peer, wants)
        (slow, slow_peer), (_, quick_peer) = peers[0], peers[2]
        assert counted(r)["subscriptions"] == 7
        await r.append({"user": 1}, {"user": 2})
        slow.stall()
        for _ in range(3):
            await r.append({"user": 1})
            await position(r, r.view.position)
        assert slow_peer.entries < 4
        assert counted(r)["matched_entries"] > counted(r)["delivered_entries"]
        slow.read_on()
        await slow.until(lambda: len(slow.events()) == 4)
        await position(r, 5)
        events = [sum(len(t.events(number)) for number in (1, 2, 3)) for t, _ in peers]
        assert events == [peer.entries for _, peer in peers]
        assert counted(r)["delivered_entries"] == sum(events)
        sent = b"".join(b"".join(transport.writes) for transport, _ in peers)
        lines = [line for line in sent.splitlines(keepends=True) if b'"event"' in line]
        assert counted(r)["sent_bytes"] == sum(map(len, lines))

        before = quick_peer.entries
        r.hub.unsubscribe(quick_peer, 1)
        assert quick_peer.entries == before
        assert counted(r)["subscriptions"] == 6
        for _, peer in peers:
            r.hub.leave(peer)
            r.hub.leave(peer)
        assert counted(r)["subscriptions"] == 0
        assert r.hub.num_postings == 0


async def test_one_that_can_not_be_written_to_in_the_middle_of_a_batch_is_not_counted() -> None:
    async with rig() as r:
        transport, peer = r.join()
        for _ in range(3):
            r.subscribe(peer, {"user": 1})
        transport.stall()
        await r.append(*[{"user": 1, "text": "x" * 60_000} for _ in range(9)])
        await position(r, 9)
        sent = sum(len(transport.events(number)) for number in (1, 2, 3))
        assert 0 < sent < 27
        assert counted(r)["delivered_entries"] == sent == peer.entries
        assert counted(r)["matched_entries"] >= sent
        transport.read_on()
        await transport.until(lambda: len(transport.events(3)) == 9)
        await position(r, 9)
        assert counted(r)["delivered_entries"] == 27 == peer.entries


async def test_how_long_an_entry_took_to_the_sockets_is_measured() -> None:
    store, r = scripted(0)
    r.hub._clock = lambda: 1.003
    async with r:
        _, peer = r.join()
        r.subscribe(peer, {"user": 2})
        store.add({"user": 1})  # for nobody
        store.say(0)
        await position(r, 1)
        (family,) = [each for each in r.hub._meters.families if "socket" in each.name]
        cells = r.hub._meters._cells[family.at : family.at + family.width]
        assert not any(cells.tolist())
        store.add({"user": 2}, {"user": 3})  # Their times are 2 and 3 ms.
        store.say(1)
        await position(r, 3)
        *buckets, total = cells.tolist()
        assert buckets[10:12] == [0, 2]
        assert total == pytest.approx(2 * 1.001)
        r.hub._clock = lambda: 0.0  # The clocks of two machines are never the same.
        store.add({"user": 2})
        store.say(3)
        await position(r, 4)
        assert cells[0] == 1
        assert cells[-1] == pytest.approx(2 * 1.001)


async def test_a_log_that_goes_on_under_another_epoch_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, r = scripted(3)
    async with r:
        assert counted(r)["epoch_changes"] == 0
        store.fork(OLD.fork("bbbbbbbb", 2, 1), 2)
        store.say(2)
        await r.view.fresh()
        await turns()
        assert counted(r)["epoch_changes"] == 1
    assert "another epoch, from place 2 on" in caplog.text


async def test_a_sign_of_life_is_heard() -> None:
    store, r = scripted(1)
    async with r:
        r.hub.heard = 0.0
        store.say(1)
        await turns()
        assert r.hub.heard > 0
