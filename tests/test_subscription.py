"""streamd.subscription: what a new subscription and a new peer are."""

from streamd.outbox import Outbox
from streamd.subscription import Peer, State, Subscription
from tests.parts import frame, wanted


def test_a_subscription_begins_pending_and_without_a_place() -> None:
    peer = Peer(Outbox(lambda data: None, frame))
    sub = Subscription(peer, 1, wanted({"user": 1}))
    assert sub.state is State.PENDING
    assert not sub.placed
    sub.cursor = 0
    assert sub.placed, "the place before the first entry is one"


def test_subscriptions_are_told_apart_even_if_they_say_the_same() -> None:
    peer = Peer(Outbox(lambda data: None, frame))
    subs = {Subscription(peer, 1, wanted({})) for _ in range(3)}
    assert len(subs) == 3


def test_a_peer_begins_with_nothing() -> None:
    peer = Peer(Outbox(lambda data: None, frame))
    assert (peer.subscriptions, peer.last_number, peer.num_values, peer.num_behind) == ({}, 0, 0, 0)
