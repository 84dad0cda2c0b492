from streamd_client.backoff import Backoff, full_jitter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_delays_stay_between_their_bounds_and_the_ceiling_doubles():
    lowest = [full_jitter(n, random=lambda: 0.0) for n in range(8)]
    highest = [full_jitter(n, random=lambda: 1.0) for n in range(8)]
    assert lowest == [0.5] * 8
    assert highest == [1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0, 20.0]


def test_delays_are_spread_evenly():
    assert full_jitter(2, random=lambda: 0.5) == 0.5 + 3.5 / 2


def test_a_very_long_outage_overflows_nothing():
    assert full_jitter(10**9, random=lambda: 1.0) == 20.0


def test_random_delays_keep_the_bounds():
    for attempt in range(200):
        assert 0.5 <= full_jitter(attempt % 12) <= 20.0


def test_attempts_are_counted_until_a_connection_was_stable():
    clock = Clock()
    backoff = Backoff(float, stable_after=5.0, clock=clock)
    assert [backoff.next(), backoff.next()] == [0.0, 1.0]
    backoff.opened()
    clock.now += 4.9
    assert backoff.next() == 2.0
    backoff.opened()
    clock.now += 5.0
    assert backoff.next() == 0.0


def test_time_without_a_connection_does_not_count_as_stable():
    clock = Clock()
    backoff = Backoff(float, clock=clock)
    backoff.next()
    clock.now += 60
    assert backoff.next() == 1.0


def test_what_the_server_told_goes_first_and_once():
    backoff = Backoff(lambda attempt: 7.0)
    backoff.opened()
    backoff.told(1.25)
    assert [backoff.next(), backoff.next()] == [1.25, 7.0]


def test_what_a_server_told_before_the_last_connection_is_forgotten():
    backoff = Backoff(lambda attempt: 7.0)
    backoff.told(1.25)
    backoff.opened()
    assert backoff.next() == 7.0


def test_a_negative_wish_is_no_wait():
    backoff = Backoff(lambda attempt: 7.0)
    backoff.told(-3)
    assert backoff.next() == 0.0
