"""streamd.hub: slow readers lose nothing, and neither they nor long work hold up the others."""

import asyncio
import random
from typing import Any

import pytest

import streamd.fanout
import streamd.hub
from streamd.subscription import State
from tests.parts import (
    DEADLINE,
    RecordingTransport,
    draft,
    memory,
    position,
    rig,
    turns,
    users,
    wanted,
)

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
