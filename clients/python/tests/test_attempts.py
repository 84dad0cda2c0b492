import pytest
from streamd_client.attempts import Attempts
from streamd_client.errors import (
    CallTimeout,
    ConnectionLost,
    InvalidParams,
    RateLimited,
    StoreUnavailable,
    UnknownOutcome,
    Unreachable,
)

AWAY = Unreachable("nobody listens")
LOST = ConnectionLost("it broke off")
NO_STORE = StoreUnavailable(-32011, "no store")
UNKNOWN = UnknownOutcome(-32010, "who knows")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def attempts(clock=None, timeout=10.0, delay=1.0):
    return Attempts("insert", timeout, clock=clock or Clock(), backoff=lambda attempt: delay)


def test_the_time_is_that_of_the_clock():
    clock = Clock()
    tried = attempts(clock)
    clock.now += 4.0
    assert (tried.deadline, tried.left) == (110.0, 6.0)


def test_pauses_are_those_of_the_backoff_and_grow():
    tried = Attempts("insert", 100.0, clock=Clock(), backoff=float)
    assert [tried.pause(each) for each in (AWAY, LOST, NO_STORE, UNKNOWN)] == [0.0, 1.0, 2.0, 3.0]


def test_by_default_they_are_short_and_jittered():
    tried = Attempts("insert", 100.0, clock=Clock())
    delays = [tried.pause(AWAY) for _ in range(50)]
    assert all(0.1 <= delay <= 2.0 for delay in delays)
    assert len(set(delays)) > 40


@pytest.mark.parametrize(
    "failure",
    [StoreUnavailable(-32011, "no", {"retry_after_ms": 2500}), ConnectionLost("503", None, 2.5)],
)
def test_the_server_may_ask_for_a_longer_pause(failure):
    assert attempts(delay=1.0).pause(failure) == 2.5
    assert attempts(delay=3.0).pause(failure) == 3.0


def test_a_final_error_is_raised_as_it_is():
    error = InvalidParams(-32602, "no")
    with pytest.raises(InvalidParams) as info:
        attempts().pause(error)
    assert info.value is error


def test_a_pause_beyond_the_deadline_is_not_begun():
    clock = Clock()
    tried = attempts(clock, timeout=10.0, delay=3.0)
    clock.now += 6.9
    tried.pause(NO_STORE)
    clock.now += 0.1
    with pytest.raises(StoreUnavailable):
        tried.pause(NO_STORE)


@pytest.mark.parametrize(
    ("failures", "kind", "cause"),
    [
        # Nothing was stored, and the caller can tell.
        ([AWAY], CallTimeout, AWAY),
        ([NO_STORE], StoreUnavailable, None),
        ([AWAY, NO_STORE], StoreUnavailable, None),
        ([NO_STORE, AWAY], StoreUnavailable, None),
        ([RateLimited(-32005, "slowly"), NO_STORE], StoreUnavailable, None),
        # The outcome is open, and nothing that comes later hides it.
        ([LOST], CallTimeout, LOST),
        ([LOST, AWAY], CallTimeout, LOST),
        ([AWAY, LOST, AWAY], CallTimeout, LOST),
        ([LOST, NO_STORE], CallTimeout, LOST),
        ([NO_STORE, LOST], CallTimeout, LOST),
        ([UNKNOWN, NO_STORE], UnknownOutcome, None),
        ([NO_STORE, UNKNOWN], UnknownOutcome, None),
        ([UNKNOWN, LOST, AWAY, NO_STORE], UnknownOutcome, None),
    ],
)
def test_the_end_tells_what_is_known(failures, kind, cause):
    tried = attempts()
    for failure in failures:
        tried.pause(failure)
    verdict = tried.verdict()
    assert type(verdict) is kind
    assert verdict.__cause__ is cause


def test_an_attempt_without_an_answer_and_without_a_reason_leaves_the_outcome_open():
    tried = attempts()
    tried.pause(NO_STORE)
    tried.lost(None)
    tried.lost(AWAY)
    verdict = tried.verdict()
    assert isinstance(verdict, CallTimeout)
    assert (verdict.method, verdict.timeout, verdict.__cause__) == ("insert", 10.0, NO_STORE)
