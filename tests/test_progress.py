"""streamd.progress: connections learn how far they have got, in time, and once more at the end."""

import asyncio
from typing import Any

import pytest

import streamd.progress
from streamd.subscription import State
from tests.parts import DEADLINE, memory, rig, wanted


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
