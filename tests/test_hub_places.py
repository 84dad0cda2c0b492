"""streamd.hub: where the log goes on otherwise, those whose place is gone are told, and no others."""

import pytest

from streamd.cursor import Chain
from streamd.subscription import State
from tests.parts import position, scripted, turns, users, wanted


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
