"""streamd.hub: from the tail to the peers, each event once, in order, and no peer at another's cost."""

import asyncio
import itertools

import pytest

import streamd.hub
from streamd.errors import LimitExceeded, UnknownSubscription
from streamd.log import Run
from streamd.subscription import State
from tests.parts import DEADLINE, OLD, Rig, memory, position, rig, scripted, turns, users, wanted

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


# The hub itself.


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
