import inspect
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import streamd_client
from streamd_client import (
    CallTimeout,
    ClientClosed,
    ConnectionLost,
    Entry,
    Inserted,
    InvalidParams,
    LimitExceeded,
    ProtocolError,
    RequestRefused,
    RpcError,
    StoreUnavailable,
    UnknownOutcome,
    Unreachable,
)
from streamd_client.sync import Client

from clients.python.tests.fake_http import (
    FakeHttp,
    answer,
    drop_after,
    drop_before,
    drop_within,
    fail,
    ignore,
    leave_quietly,
    say,
)
from clients.python.tests.test_client import STORY

WATCH = {"kind": "watch", "user": 291, "repo": 2842}
NEWEST = STORY[::-1]


@pytest.fixture
def server():
    with FakeHttp() as server:
        yield server


@pytest.fixture
def client(server):
    with client_of(server) as client:
        yield client


def client_of(server, **options):
    """A client that does not wait long between attempts."""
    return Client(server.url, **{"backoff": lambda attempt: 0.01, **options})


class Time:
    """Passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time_():
    return Time()


@pytest.fixture
def timed(server, time_):
    with Client(server.url, clock=time_, sleep=time_.sleep) as client:
        yield client


# The calls.


def test_the_story_of_awesomestream(server, client):
    for event in STORY:
        client.insert(event)
    assert client.items() == NEWEST
    assert client.items(kind="friend") == NEWEST[:2]
    assert client.items(kind="friend", user=23) == NEWEST[:1]
    assert client.items(user=[23, 291]) == NEWEST
    assert client.items(user=[23, 291], start=1, end=3) == NEWEST[1:3]
    assert client.items(filter={"kind": "friend"}, user={23}) == NEWEST[:1]
    assert server.opened == 1


def test_every_call_gives_a_value(server, client):
    assert client.insert(WATCH) == Inserted("e1.1", 1795449600001, False)
    assert client.insert_many([WATCH, WATCH], ["a", None])[1] == Inserted(
        "e1.3", 1795449600003, False
    )
    page = client.history(limit=2, kind="watch")
    assert page.entries[0] == Entry("e1.3", 1795449600003, WATCH)
    assert len(client.history(before=page.before).entries) == 1
    assert client.info().keys == ["user", "kind", "repo"]
    assert 0 < client.ping() < 10


def test_the_calls_are_those_of_the_client_with_asyncio():
    twins = dict(inspect.getmembers(streamd_client.Client, inspect.iscoroutinefunction))
    twins = {name: twin for name, twin in twins.items() if not name.startswith("_")}
    for lasting in ("close", "subscriptions"):  # these are about a connection that lasts
        del twins[lasting]
    calls = ["explain", "history", "info", "insert", "insert_many", "items", "ping"]
    assert sorted(twins) == calls
    for name, twin in twins.items():
        mine = getattr(Client, name)
        assert inspect.signature(mine) == inspect.signature(twin)
        assert mine.__doc__ == twin.__doc__
    assert not hasattr(Client, "subscribe")
    assert "subscribe" in inspect.getmodule(Client).__doc__


def test_an_insert_with_a_known_id_adds_nothing(server, client):
    first = client.insert(WATCH, "mine")
    again = client.insert(WATCH, id="mine")
    assert (again.cursor, again.duplicate) == (first.cursor, True)
    assert server.events == [WATCH]


def test_mistakes_of_the_caller_are_told_before_anything_is_sent(server, client):
    with pytest.raises(TypeError):
        client.insert({"kind": object()})
    with pytest.raises(ValueError):
        client.insert_many([WATCH], [])
    with pytest.raises(TypeError):
        client.items(filter={"user": 1}, user=2)
    with pytest.raises(LimitExceeded) as info:
        client.insert({"text": "x" * 1024 * 1024})
    assert (info.value.limit, info.value.max) == ("message_bytes", 1024 * 1024)
    assert not server.calls
    with client_of(server, message_bytes=None) as other:
        other.insert({"text": "x" * 1024 * 1024})


# Once, whatever happens.


@pytest.mark.parametrize("trick", [drop_after, drop_within])
def test_an_insert_whose_answer_was_lost_is_stored_once(server, client, trick):
    server.tricks.append(trick)
    assert client.insert(WATCH).duplicate
    assert server.events == [WATCH]
    first, second = server.calls
    assert first.params == second.params


def test_an_insert_that_never_arrived_is_stored(server, client):
    server.tricks.append(drop_before)
    assert not client.insert(WATCH).duplicate
    assert server.events == [WATCH]


def test_an_insert_without_an_answer_is_sent_again_and_stored_once(server):
    server.tricks.append(ignore)
    with client_of(server, attempt_timeout=0.1) as client:
        assert client.insert(WATCH).duplicate
    assert server.events == [WATCH]


def test_insert_many_is_stored_once(server, client):
    server.tricks.append(drop_after)
    inserted = client.insert_many([WATCH, WATCH], [None, "mine"])
    assert [each.duplicate for each in inserted] == [True, True]
    assert server.events == [WATCH, WATCH]


@pytest.mark.parametrize("status", [408, 425, 429, 502, 503, 504])
def test_passing_statuses_are_retried_with_the_same_id(server, client, status):
    server.tricks.extend([say(status, b"not now")] * 2)
    client.insert(WATCH)
    assert server.events == [WATCH]
    assert len({call.params["id"] for call in server.calls}) == 1
    assert len(server.calls) == 3


@pytest.mark.parametrize("code", [-32005, -32010, -32011])
def test_passing_errors_are_retried_with_the_same_id(server, client, code):
    server.tricks.extend([fail(code), fail(code, {"retry_after_ms": 5})])
    client.insert(WATCH)
    assert server.events == [WATCH]
    assert len({call.params["id"] for call in server.calls}) == 1


def test_queries_are_repeated_too(server, client):
    client.insert(WATCH)
    server.calls.clear()
    asked = {}
    for name in ("items", "history", "info", "ping"):
        server.tricks.append(drop_before)
        asked[name] = getattr(client, name)()
    assert asked["items"] == [WATCH]
    assert [entry.event for entry in asked["history"].entries] == [WATCH]
    assert asked["info"].keys == ["user", "kind", "repo"]
    assert [call.method for call in server.calls] == [name for name in asked for _ in range(2)]


def test_a_connection_closed_meanwhile_is_no_error(server, timed, time_):
    for _ in range(30):
        server.tricks.append(leave_quietly)
        timed.insert(WATCH)
    assert len(server.events) == 30


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (fail(-32602, {"reason": "id_reused"}), InvalidParams),
        (fail(-32042), RpcError),
        (fail(-32004, {"limit": "message_bytes", "max": 9, "got": 10}, status=413), LimitExceeded),
        (say(421, b'{"error":"not my name"}'), RequestRefused),
        (say(500), RequestRefused),
        (say(301, b"", Location="http://elsewhere/"), RequestRefused),
        (say(200, b"<html>"), ProtocolError),
        (say(200, b'{"jsonrpc":"2.0","id":1,"result":{}}'), ProtocolError),
    ],
)
def test_other_errors_are_raised_at_once(server, timed, time_, error, kind):
    server.tricks.append(error)
    with pytest.raises(kind) as info:
        timed.insert(WATCH)
    assert type(info.value) is kind
    assert (len(server.calls), time_.slept) == (1, [])


# Time.


def test_pauses_are_jittered_and_grow(server, timed, time_):
    server.tricks.extend([say(503)] * 4)
    timed.insert(WATCH)
    ceilings = [0.2, 0.4, 0.8, 1.6]
    assert len(time_.slept) == 4
    assert all(0.1 <= s <= top for s, top in zip(time_.slept, ceilings, strict=True))


def test_the_pauses_can_be_given(server, time_):
    server.tricks.extend([drop_before, say(503), fail(-32011)])
    options = {"clock": time_, "sleep": time_.sleep, "backoff": lambda attempt: attempt + 0.5}
    with Client(server.url, **options) as client:
        client.insert(WATCH)
    assert time_.slept == [0.5, 1.5, 2.5]


@pytest.mark.parametrize(
    "trick", [fail(-32011, {"retry_after_ms": 7000}), say(503, b"", Retry_After="7")]
)
def test_the_server_may_ask_for_a_longer_pause(server, timed, time_, trick):
    server.tricks.append(trick)
    timed.insert(WATCH)
    assert time_.slept == [7.0]


def test_a_pause_beyond_the_deadline_is_not_waited_for(server, timed, time_):
    server.tricks.append(fail(-32011, {"retry_after_ms": 60_000}))
    with pytest.raises(StoreUnavailable):
        timed.insert(WATCH)
    assert time_.slept == []


@pytest.mark.parametrize(
    ("tricks", "kind", "cause"),
    [
        ([fail(-32011)] * 99, StoreUnavailable, None),
        ([fail(-32010)] + [fail(-32011)] * 99, UnknownOutcome, None),
        ([drop_after] + [fail(-32011)] * 99, CallTimeout, ConnectionLost),
        ([fail(-32011)] + [say(503)] * 99, CallTimeout, ConnectionLost),
    ],
)
def test_the_end_tells_whether_the_outcome_is_known(server, timed, time_, tricks, kind, cause):
    server.tricks.extend(tricks)
    with pytest.raises(kind) as info:
        timed.insert(WATCH, timeout=5)
    assert cause is None or type(info.value.__cause__) is cause
    assert 3 <= time_.now <= 5


def test_a_server_that_is_away_is_told_apart(time_):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with Client(url, clock=time_, sleep=time_.sleep) as client:
            with pytest.raises(CallTimeout, match="insert was not answered within 10 s") as info:
                client.insert(WATCH)
    assert isinstance(info.value.__cause__, Unreachable)


def test_the_deadline_holds_for_a_server_that_never_answers(server):
    server.tricks.extend([ignore] * 5)
    with client_of(server, attempt_timeout=0.2) as client:
        started = time.monotonic()
        with pytest.raises(CallTimeout) as info:
            client.insert(WATCH, timeout=0.5)
        assert 0.4 < time.monotonic() - started < 2
    assert type(info.value.__cause__) is ConnectionLost
    assert server.events == [WATCH]


def test_the_client_has_a_default_deadline(server):
    server.tricks.append(ignore)
    started = time.monotonic()
    with client_of(server, timeout=0.1) as client, pytest.raises(CallTimeout):
        client.ping()
    assert time.monotonic() - started < 2


# Threads.


def test_any_number_of_threads_may_call(server):
    dice = [answer, answer, answer, drop_after, drop_before, drop_within, say(503)]
    server.tricks.extend(dice * 40)
    with client_of(server, timeout=30, connections=8) as client:
        with ThreadPoolExecutor(8) as pool:
            done = list(pool.map(lambda n: client.insert({"n": n}), range(400)))
    assert sorted(event["n"] for event in server.events) == list(range(400))
    assert len({inserted.cursor for inserted in done}) == 400


def test_connections_are_shared(server):
    with client_of(server) as client, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: client.ping(), range(200)))
    assert server.opened <= 8


def test_more_threads_than_connections_are_served(server):
    all_here = threading.Barrier(6)

    def together(handler, call):
        all_here.wait(10)
        answer(handler, call)

    server.tricks.extend([together] * 6)
    with client_of(server, connections=1) as client, ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: client.insert({"n": n}), range(6)))
    assert len(server.events) == 6


# The end.


def test_closing(server):
    client = client_of(server)
    client.ping()
    client.close()
    client.close()
    with pytest.raises(ClientClosed):
        client.ping()


def test_a_call_of_another_thread_is_answered_but_not_repeated(server):
    begun, closed = threading.Event(), threading.Event()

    def late(trick):
        def wait(handler, call):
            begun.set()
            closed.wait(10)
            trick(handler, call)

        return wait

    for trick, kind in ((answer, None), (drop_after, ClientClosed)):
        begun.clear()
        closed.clear()
        server.tricks.append(late(trick))
        client = client_of(server)
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(client.insert, WATCH)
            assert begun.wait(10)
            client.close()
            closed.set()
            error = call.exception(10)
        assert error is None if kind is None else isinstance(error, kind)


def test_a_client_is_made_without_a_server():
    client = Client("https://feed.example/")
    assert re.search("urllib3", inspect.getmodule(Client).__doc__)
    client.close()
