"""streamd.rates: at the rate nothing is refused, one over is, and time brings it back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.errors import RateLimited
from streamd.limits import Limits
from streamd.rates import Pace, Rate, Rates


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def rates(clock: Clock, **limits: float) -> Rates:
    made = Pace(Limits(**limits), clock).begin()
    assert made is not None
    return made


def refused(rates: Rates, events: int | None = None) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        rates.take_call() if events is None else rates.take_events(events)
    return caught.value


def test_where_no_rate_is_set_nobody_is_held_to_one() -> None:
    assert Pace(Limits(), Clock()).begin() is None


def test_who_was_quiet_may_bring_a_burst_and_then_as_many_as_the_rate_says() -> None:
    clock = Clock()
    peer = rates(clock, calls_per_second=3, burst=2)
    for _ in range(6):
        peer.take_call()
    error = refused(peer)
    assert error.data == {"limit": "calls_per_second", "max": 3, "retry_after_ms": 334}
    clock.now += 0.333
    assert refused(peer).data["retry_after_ms"] == 1
    clock.now += 0.001
    peer.take_call()
    refused(peer)
    clock.now += 3_600
    for _ in range(6):
        peer.take_call()
    refused(peer)


def test_who_comes_again_when_he_was_told_is_let_in() -> None:
    clock = Clock()
    peer = rates(clock, calls_per_second=7, burst=1)
    for _ in range(7):
        peer.take_call()
    for _ in range(100):
        clock.now += refused(peer).data["retry_after_ms"] / 1000
        peer.take_call()


def test_one_may_come_however_low_the_rate_is() -> None:
    clock = Clock()
    peer = rates(clock, calls_per_second=0.01, burst=1)
    peer.take_call()
    assert refused(peer).data["retry_after_ms"] == 100_000
    clock.now += 100
    peer.take_call()


def test_more_events_than_a_burst_may_come_at_once_and_are_paid_for_later() -> None:
    clock = Clock()
    peer = rates(clock, events_per_second=10, burst=2)
    peer.take_events(50)
    assert refused(peer, 1).data == {
        "limit": "events_per_second",
        "max": 10,
        "retry_after_ms": 3_100,
    }
    assert refused(peer, 50).data["retry_after_ms"] == 5_000
    clock.now += 3.1
    peer.take_events(1)
    refused(peer, 2)


def test_calls_and_events_are_counted_apart() -> None:
    peer = rates(Clock(), calls_per_second=2, events_per_second=1, burst=1)
    peer.take_call()
    peer.take_events(1)
    peer.take_call()
    refused(peer, 1)
    refused(peer)


def test_what_was_refused_is_not_counted_against_the_rate() -> None:
    clock = Clock()
    peer = rates(clock, calls_per_second=1, burst=1)
    peer.take_call()
    for _ in range(50):
        refused(peer)
    clock.now += 1
    peer.take_call()


def test_who_is_refused_too_often_is_barred_for_a_while() -> None:
    clock = Clock()
    peer = rates(clock, calls_per_second=1, burst=10, refusals=5)
    for _ in range(10):
        peer.take_call()
    for _ in range(5):
        refused(peer)
        assert not peer.barred()
    refused(peer)
    assert peer.barred() == pytest.approx(2)
    clock.now += 2.001
    assert not peer.barred()


def test_what_is_no_call_counts_as_if_it_were_one() -> None:
    peer = rates(Clock(), calls_per_second=1, burst=1, refusals=3)
    peer.take_faults(4)
    assert not peer.barred()
    peer.take_faults(1)
    assert peer.barred()


@given(
    per_second=st.floats(0.1, 1_000),
    burst=st.floats(0.1, 60),
    pauses=st.lists(st.floats(0, 2), max_size=200),
)
def test_never_do_more_come_than_the_burst_and_the_rate_allow(
    per_second: float, burst: float, pauses: list[float]
) -> None:
    rate = Rate(per_second, burst)
    begin = now = 500.0
    full_at, came = 0.0, 0
    for pause in pauses:
        now += pause
        if not rate.wait(full_at, 1, now):
            full_at = rate.after(full_at, 1, now)
            came += 1
    assert came <= max(burst * per_second, 1) + (now - begin) * per_second + 0.01
