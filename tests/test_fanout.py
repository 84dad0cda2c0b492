"""streamd.fanout: who gets what of a batch; and what that costs, counted."""

import asyncio
from typing import Any

import orjson
import pytest

import streamd.fanout
from streamd.fanout import Fanout, Plan
from streamd.filters import Filter
from streamd.outbox import Frame, Outbox
from streamd.subscription import Peer, Subscription
from tests.parts import entry, frame, wanted


class Framing:
    """A way of framing that counts what it is given."""

    def __init__(self, mark: bytes = b"\n") -> None:
        self.mark = mark
        self.payloads: list[bytes] = []

    def __call__(self, payload: bytes) -> bytes:
        self.payloads.append(payload)
        return payload + self.mark


def fanout() -> Fanout:
    return Fanout(lambda term: 0, lambda seq: f"cursor-{seq}")


def peer(framing: Frame = frame) -> Peer:
    return Peer(Outbox(lambda frames: None, framing))


def subscribe(to: Fanout, by: Peer, value: Any, number: int | None = None) -> Subscription:
    by.last_number = by.last_number + 1 if number is None else number
    sub = Subscription(by, by.last_number, wanted(value))
    by.subscriptions[sub.number] = sub
    to.add(sub)
    return sub


def seen(frames: bytes) -> list[tuple[int, str]]:
    """Return the subscription and the cursor of each frame."""
    messages = [orjson.loads(line)["params"] for line in frames.splitlines()]
    return [(params["subscription"], params["cursor"]) for params in messages]


def written(plan: Plan) -> dict[Subscription, bytes]:
    parts = [*plan.singles, *[part for parts in plan.several.values() for part in parts]]
    found = {sub: frames for sub, frames, _ in parts}
    assert len(found) == len(parts), "each subscription has one part of a batch"
    assert [len(seen(frames)) for _, frames, _ in parts] == [entries for _, _, entries in parts]
    assert plan.entries == sum(entries for _, _, entries in parts)
    assert plan.size == sum(map(len, found.values()))
    return found


async def test_each_gets_what_it_wants_in_order() -> None:
    to = fanout()
    a, b, c = (subscribe(to, peer(), value) for value in ({"user": 1}, {}, {"user": [2, 3]}))
    plan = await to.plan([entry(5, {"user": 1}), entry(6, {"user": 9}), entry(7, {"user": 1})])
    got = {sub: seen(frames) for sub, frames in written(plan).items()}
    assert got == {
        a: [(1, "cursor-5"), (1, "cursor-7")],
        b: [(1, "cursor-5"), (1, "cursor-6"), (1, "cursor-7")],
    }
    assert c not in got


@pytest.mark.parametrize("same", [True, False])
async def test_an_entry_is_encoded_once_however_many_get_it(same: bool) -> None:
    to, framing = fanout(), Framing()
    for number in range(300):
        subscribe(to, peer(framing), {"user": [1, 0 if same else number + 2]})
    plan = await to.plan([entry(1, {"user": 1}), entry(2, {"user": 1, "n": 2})])
    assert len(plan.singles) == 300
    assert len(framing.payloads) == 2
    # All members of a group even get the same joined frames.
    assert len({id(frames) for _, frames, _ in plan.singles}) == (1 if same else 300)


async def test_what_nobody_wants_is_not_encoded() -> None:
    to, framing = fanout(), Framing()
    subscribe(to, peer(framing), {"user": 1})
    plan = await to.plan([entry(1, {"user": 2}), entry(2, {})])
    assert written(plan) == {}
    assert plan.entries == plan.size == 0
    assert framing.payloads == []


async def test_an_entry_is_encoded_once_for_each_number_and_way_of_framing() -> None:
    to, plain, other = fanout(), Framing(), Framing(b" \n")
    for framing in (plain, plain, other):
        by = peer(framing)
        subscribe(to, by, {"user": 1})
        subscribe(to, by, {"user": [1, 2]})
        subscribe(to, peer(framing), {"user": 1}, number=2)
    plan = await to.plan([entry(1, {"user": 1})])
    assert [len(framing.payloads) for framing in (plain, other)] == [2, 2]
    assert [len(plan.singles), len(plan.several)] == [3, 3]
    for sub, frames in written(plan).items():
        assert seen(frames) == [(sub.number, "cursor-1")]
        assert frames.endswith(b" \n") == (sub.peer.outbox.frame is other)


async def test_the_parts_of_one_peer_are_put_together() -> None:
    to, by = fanout(), peer()
    subs = [subscribe(to, by, value) for value in ({"user": 1}, {"kind": "a"}, {"user": 2})]
    plan = await to.plan([entry(1, {"user": 1, "kind": "a"}), entry(2, {"user": 1})])
    assert plan.singles == []
    ((found, parts),) = plan.several.items()
    assert found is by
    assert {sub: len(seen(frames)) for sub, frames, _ in parts} == {subs[0]: 2, subs[1]: 1}
    written(plan)


async def test_one_that_is_joined_in_the_middle_of_a_batch_has_one_part_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streamd.fanout, "_SLICE", 1)
    monkeypatch.setattr(streamd.fanout, "_TURN", -1.0)
    to = fanout()
    first = subscribe(to, peer(), {"user": 1})
    planning = asyncio.create_task(to.plan([entry(seq, {"user": 1}) for seq in range(1, 5)]))
    for _ in range(3):
        await asyncio.sleep(0)
    second = subscribe(to, peer(), {"user": 1})
    found = written(await planning)
    assert seen(found[first]) == [(1, f"cursor-{seq}") for seq in range(1, 5)]
    assert 0 < len(seen(found[second])) < 4


async def test_equal_filters_are_one_and_the_last_that_goes_takes_it_along() -> None:
    to = fanout()
    subs = [subscribe(to, peer(), {"user": [1, 2]}) for _ in range(3)]
    assert len(to) == 1
    assert len({id(sub.wanted) for sub in subs}) == 1
    for left in (2, 1, 0):
        to.discard(subs[left])
        plan = await to.plan([entry(1, {"user": 1})])
        assert set(written(plan)) == set(subs[:left])
    assert len(to) == 0
    again = subscribe(to, peer(), {"user": [2, 1]})
    assert set(written(await to.plan([entry(1, {"user": 1})]))) == {again}


def test_frames_are_the_same_whether_pushed_or_read_forward() -> None:
    to = fanout()
    sub = subscribe(to, peer(), {})
    assert seen(to.frames(sub, [entry(3, {"user": 1}), entry(4, {})])) == [
        (1, "cursor-3"),
        (1, "cursor-4"),
    ]


async def test_one_that_has_been_alone_and_one_that_never_was() -> None:
    to = fanout()
    first = subscribe(to, peer(), {"user": 1})
    second = subscribe(to, peer(), {"user": 1})
    to.discard(first)
    third = subscribe(to, peer(), {"user": 1})
    plan = await to.plan([entry(1, {"user": 1})])
    assert set(written(plan)) == {second, third}
    assert isinstance(second.wanted, Filter)
    assert second.wanted is third.wanted
