"""streamd.catchup: those who are behind are read forward, connections in turn."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

import streamd.catchup
from streamd.catchup import CatchUp
from streamd.cursor import Chain
from streamd.errors import CallError, PlaceLost, StoreUnavailable
from streamd.limits import Limits
from streamd.log import Entry, Run
from streamd.subscription import Peer, State, Subscription
from streamd.turns import Turns
from streamd.view import View
from tests.parts import DEADLINE, OLD, RecordingTransport, ScriptedStore, turns, wanted


class Desk:
    """Catching up without a hub: frames are the seqs; who is live or lost is noted."""

    def __init__(self, store: ScriptedStore, view: View, turns: Turns) -> None:
        self.store = store
        self.view = view
        self.served: list[Peer] = []
        """Whom each round was for that found something."""
        self.live: list[Subscription] = []
        self.lost: list[tuple[Subscription, CallError]] = []
        self.catch_up = CatchUp(
            view, frames=self._frames, go_live=self._go_live, lose=self._lose, turns=turns
        )

    def _frames(self, sub: Subscription, entries: list[Entry]) -> bytes:
        self.served.append(sub.peer)
        return b"".join([b"%d:%d " % (sub.number, entry.seq) for entry in entries])

    def _go_live(self, sub: Subscription) -> None:
        assert sub.cursor == self.view.position
        sub.state = State.LIVE
        sub.peer.num_behind -= 1
        self.live.append(sub)

    def _lose(self, sub: Subscription, error: CallError) -> None:
        sub.state = State.ENDED
        del sub.peer.subscriptions[sub.number]
        self.lost.append((sub, error))

    def behind(self, *cursors: int, value: object = None) -> tuple[RecordingTransport, Peer]:
        """Return a peer with subscriptions that are behind."""
        transport = RecordingTransport()
        peer = Peer(transport.outbox)
        for number, cursor in enumerate(cursors, 1):
            sub = Subscription(peer, number, wanted({} if value is None else value))
            sub.cursor, sub.state = cursor, State.BEHIND
            peer.subscriptions[number] = sub
            peer.num_behind += 1
        return transport, peer

    async def until_live(self, number: int) -> None:
        async with asyncio.timeout(DEADLINE):
            while len(self.live) < number:
                await asyncio.sleep(0)


@asynccontextmanager
async def desk(
    number: int, window: int = 100_000, now: Callable[[], float] = time.perf_counter
) -> AsyncIterator[Desk]:
    store = ScriptedStore(OLD, [])
    store.add(*[{"user": seq % 10} for seq in range(1, number + 1)])
    view = View(store, Limits(window=window))
    await view.load()
    made = Desk(store, view, Turns(now))
    made.catch_up.start()
    try:
        yield made
    finally:
        await made.catch_up.aclose()
        await view.aclose()


def seqs(transport: RecordingTransport, number: int = 1) -> list[int]:
    pairs = [text.split(b":") for text in b"".join(transport.writes).split()]
    return [int(seq) for sub, seq in pairs if int(sub) == number]


async def test_one_that_is_behind_is_read_forward_and_goes_live() -> None:
    async with desk(1_000) as d:
        transport, peer = d.behind(10)
        d.catch_up.add(peer)
        await d.until_live(1)
        assert seqs(transport) == list(range(11, 1_001))
        assert all(len(write) < 8 * 256 for write in transport.writes), "a stretch is bounded"


async def test_the_window_is_read_without_asking_the_store() -> None:
    async with desk(1_000) as d:
        loaded = len(d.store.reads)
        _, peer = d.behind(0, value={"user": 3})
        d.catch_up.add(peer)
        await d.until_live(1)
        assert len(d.store.reads) == loaded


async def test_below_the_window_the_store_is_asked_and_the_window_goes_on() -> None:
    async with desk(3_000, window=1_000) as d:
        transport, peer = d.behind(100)
        d.catch_up.add(peer)
        await d.until_live(1)
        assert seqs(transport) == list(range(101, 3_001))
        assert d.store.reads.count("after") == pytest.approx((2_000 - 100) / 256, abs=1)


async def test_connections_have_their_turn_one_after_the_other() -> None:
    async with desk(2_000) as d:
        long, first = d.behind(0)
        short, second = d.behind(1_900)
        d.catch_up.add(first)
        d.catch_up.add(second)
        await d.until_live(1)
        assert d.live[0].peer is second
        await d.until_live(2)
        assert d.served == [first, second] + [first] * 7
        assert seqs(short) == list(range(1_901, 2_001))
        assert seqs(long) == list(range(1, 2_001))


async def test_as_many_connections_as_a_share_allows_are_served_in_one_round_of_the_loop() -> None:
    ticks = itertools.count()
    async with desk(100, now=lambda: next(ticks) * 0.0001) as d:
        for _ in range(60):
            d.catch_up.add(d.behind(99)[1])
        await asyncio.sleep(0)
        assert 20 <= len(d.live) <= 40
        await d.until_live(60)


async def test_the_furthest_of_one_connection_goes_first() -> None:
    async with desk(2_000) as d:
        transport, peer = d.behind(1_000, 0, 1_999)
        d.catch_up.add(peer)
        await d.until_live(3)
        assert transport.writes[0].startswith(b"2:1 ")
        assert seqs(transport, 1) == list(range(1_001, 2_001))
        assert seqs(transport, 2) == list(range(1, 2_001))
        assert seqs(transport, 3) == [2_000]


async def test_one_that_takes_nothing_costs_one_stretch() -> None:
    async with desk(2_000) as d:
        transport, peer = d.behind(0)
        transport.stall()
        d.catch_up.add(peer)
        await turns(200)
        assert len(transport.writes) == 1
        (sub,) = peer.subscriptions.values()
        while sub.state is State.BEHIND:
            transport.drain()
            d.catch_up.add(peer)
            await turns()
        assert seqs(transport) == list(range(1, 2_001))


async def test_a_quiet_filter_gets_through_a_long_log_in_bounded_rounds() -> None:
    async with desk(20_000) as d:
        transport, peer = d.behind(0, value={"user": [3, "none"], "kind": "none"})
        d.catch_up.add(peer)
        await d.until_live(1)
        assert transport.writes == []


async def test_one_whose_place_was_retained_away_is_lost() -> None:
    async with desk(100) as d:
        d.store.floor = 50
        d.view._note(d.store.now)
        _, peer = d.behind(10, 49)
        d.catch_up.add(peer)
        await d.until_live(1)
        ((sub, error),) = d.lost
        assert sub.number == 1
        assert isinstance(error, PlaceLost)
        assert error.reason == "expired"


async def test_one_that_the_store_no_longer_retains_is_lost_though_this_view_does_not_know() -> (
    None
):
    async with desk(100, window=10) as d:
        d.store.floor = 50
        _, peer = d.behind(10)
        d.catch_up.add(peer)
        async with asyncio.timeout(DEADLINE):
            while not d.lost:
                await asyncio.sleep(0)
        error = d.lost[0][1]
        assert isinstance(error, PlaceLost)
        assert error.reason == "expired"


async def test_a_store_that_fails_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamd.catchup, "_RETRY_AFTER", 0)
    async with desk(100, window=10) as d:
        d.store.failures += [StoreUnavailable(), StoreUnavailable(), ZeroDivisionError()]
        transport, peer = d.behind(50)
        d.catch_up.add(peer)
        await d.until_live(1)
        assert seqs(transport) == list(range(51, 101))


async def test_defects_do_not_end_the_reading_for_everybody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streamd.catchup, "_RETRY_AFTER", 0)
    async with desk(100, window=10) as d:
        d.store.failures += [ZeroDivisionError() for _ in range(10)]
        broken, first = d.behind(95)
        monkeypatch.setattr(broken.outbox, "write", None)
        far, second = d.behind(0)
        d.catch_up.add(first)
        d.catch_up.add(second)
        await d.until_live(1)
        assert seqs(far) == list(range(1, 101))


async def test_a_slow_store_keeps_nobody_waiting_who_needs_it_not() -> None:
    async with desk(100, window=10) as d:
        d.store.gate.clear()
        far = [d.behind(0) for _ in range(10)]
        for _, peer in far:
            d.catch_up.add(peer)
        await turns()
        assert d.store.reads.count("after") == 4, "few reads at a time"
        near, peer = d.behind(95)
        d.catch_up.add(peer)
        await d.until_live(1)
        assert seqs(near) == [96, 97, 98, 99, 100]
        d.store.gate.set()
        await d.until_live(11)
        assert all(seqs(transport) == list(range(1, 101)) for transport, _ in far)


async def test_one_that_ends_while_the_store_is_asked_gets_nothing() -> None:
    async with desk(100, window=10) as d:
        d.store.gate.clear()
        transport, peer = d.behind(0)
        d.catch_up.add(peer)
        await turns()
        peer.subscriptions.pop(1).state = State.ENDED
        d.store.gate.set()
        await turns()
        assert transport.writes == []


async def test_what_the_store_has_beyond_the_tail_is_left_for_the_tail() -> None:
    async with desk(100, window=10) as d:
        new = d.store.add({"user": 1})
        transport, peer = d.behind(0, value={"user": 1})
        d.catch_up.add(peer)
        await d.until_live(1)
        assert seqs(transport)[-1] == 91
        d.view.advance(Run(d.store.now, 100, new, 101))
        _, again = d.behind(100)
        d.catch_up.add(again)
        await d.until_live(2)


async def test_a_read_under_another_chain_is_not_shown() -> None:
    async with desk(100, window=10) as d:
        d.store.fork(Chain("bbbbbbbb", (("aaaaaaaa", 50),)), 50)
        d.store.add(*[{"user": "new"}] * 50)
        transport, peer = d.behind(0)
        d.catch_up.add(peer)
        await turns()
        assert transport.writes == []
        d.view.rewind(d.store.now, 50)
        await turns()
        assert transport.writes == [], "the view is not where that read was"
        d.view.advance(Run(d.store.now, 50, d.store.log[50:], 100))
        await d.until_live(1)
        assert seqs(transport) == list(range(1, 101))
