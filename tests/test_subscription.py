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


def test_what_was_written_to_a_peer_is_that_of_subscriptions_too_that_are_gone() -> None:
    peer = Peer(Outbox(lambda data: None, frame))
    peer.outbox.send(b"1234")
    for number in (1, 2):
        sub = peer.subscriptions[number] = Subscription(peer, number, wanted({}))
        sub.entries, sub.size = number, 100 * number
    assert peer.forget(sub)
    assert (peer.entries, peer.size) == (3, 305)
