"""The client without asyncio, in threads, against the daemon."""

import asyncio
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from streamd_client import (
    CallTimeout,
    ConnectionLost,
    InvalidParams,
    LimitExceeded,
    RequestRefused,
    Unreachable,
)
from streamd_client.sync import Client

from tests.clients.proxy import Proxy
from tests.harness import until
from tests.promises.serving import daemon
from tests.story import STORY

WATCH = {"kind": "watch", "user": 291, "repo": 2842}


@pytest.fixture
async def server():
    async with daemon("--keys", "user,kind,repo", "--store", "memory:") as server:
        yield server


@pytest.fixture
async def lasting(redis_url, stream_name):
    """A server whose events outlive it."""
    options = ("--keys", "user,kind,repo", "--store", redis_url, "--stream", stream_name)
    async with daemon(*options) as server:
        yield server


def client_of(place, **options):
    return Client(f"http://127.0.0.1:{place.port}/", **options)


async def run(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Wait for a call that blocks, elsewhere than here."""
    return await asyncio.to_thread(call, *args, **options)


async def test_the_story_of_awesomestream(server):
    def story(client):
        for event in STORY:
            client.insert(event)
        newest = STORY[::-1]
        assert client.items() == newest
        assert client.items(kind="friend") == newest[:2]
        assert client.items(kind="friend", user=23) == newest[:1]
        assert client.items(user=[23, 291], start=1, end=3) == newest[1:3]
        page = client.history(limit=3)
        rest = client.history(before=page.before)
        assert [entry.event for entry in page.entries + rest.entries] == newest
        assert rest.before is None
        info = client.info()
        assert (info.keys, info.cursor) == (["user", "kind", "repo"], page.entries[0].cursor)
        assert client.ping() > 0
        told = client.explain(cursor=info.cursor, user=[23, 291], kind="watch")
        assert [key.matched for key in told.keys] == [True, False]
        assert (told.matches, told.entry.event) == (False, newest[0])

    with client_of(server) as client:
        await run(story, client)
    for url in (f"http://127.0.0.1:{server.port}", server.url):
        with Client(url) as client:
            assert await run(client.items, kind="watch") == STORY[2:3]


async def test_errors_are_typed(server):
    with client_of(server, message_bytes=None) as client:
        with pytest.raises(InvalidParams) as info:
            await run(client.items, colour="red")
        assert info.value.data == {"unknown": ["colour"], "keys": ["user", "kind", "repo"]}
        for event, limit in (({}, "insert_many"), ({"text": "x" * 2000}, "message_bytes")):
            with pytest.raises(LimitExceeded) as exceeded:
                await run(client.insert_many, [event] * 1001)
            assert exceeded.value.limit == limit
        first = await run(client.insert, WATCH, "mine")
        again = await run(client.insert, WATCH, "mine")
        assert (again.cursor, again.duplicate) == (first.cursor, True)
        with pytest.raises(InvalidParams) as reused:
            await run(client.insert, {}, "mine")
        assert reused.value.data["reason"] == "id_reused"


async def test_who_is_not_let_in_is_told_at_once(server):
    for place, status in (("0.0.0.0:{}/", 421), ("127.0.0.1:{}/elsewhere", 404)):
        with Client("http://" + place.format(server.port)) as client:
            with pytest.raises(RequestRefused) as info:
                await run(client.ping)
            assert info.value.status == status


async def test_a_server_killed_between_two_calls_is_no_error(server):
    with client_of(server) as client:
        for number in (signal.SIGKILL, signal.SIGTERM):
            await run(client.insert, WATCH)
            await server.stop(number)
            await server.start()
            await run(client.insert, WATCH)
            assert await run(client.items) == [WATCH]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_inserts_go_through_restarts_once(lasting, number):
    """What was acknowledged is there once, and so is all else, as every insert was acknowledged."""
    total, threads = 1_200, 6
    with client_of(lasting, timeout=40) as client, ThreadPoolExecutor(threads) as pool:
        inserts = [pool.submit(client.insert, {"n": n, "kind": "x"}) for n in range(total)]
        for part in range(1, 4):
            await until(lambda part=part: sum(map(Future.done, inserts)) >= total * part // 5)
            assert not all(map(Future.done, inserts))
            await lasting.stop(number)
            await lasting.start()
        acknowledged = await asyncio.gather(*map(asyncio.wrap_future, inserts))
        entries = await run(whole_history, client)
    assert sorted(entry.event["n"] for entry in entries) == list(range(total))
    places = {entry.event["n"]: entry.cursor for entry in entries}
    assert [inserted.cursor for inserted in acknowledged] == [places[n] for n in range(total)]


def whole_history(client):
    entries, before = [], None
    while True:
        page = client.history(limit=1_000, before=before)
        entries += page.entries
        if (before := page.before) is None:
            return entries


async def test_an_answer_that_is_swallowed_adds_nothing(server):
    async with Proxy(server.port) as proxy:
        with client_of(proxy) as client:
            await run(client.ping)
            proxy.swallow(2)
            inserted = await run(client.insert, WATCH)
            assert inserted.duplicate
            proxy.swallow(1)
            many = await run(client.insert_many, STORY)
            assert all(each.duplicate for each in many)
            entries = await run(whole_history, client)
    assert [answer[:15] for answer in proxy.swallowed] == [b"HTTP/1.1 200 OK"] * 3
    assert [entry.event for entry in entries] == [*STORY[::-1], WATCH]


async def test_an_outcome_that_is_never_heard_of_is_called_unknown(server):
    async with Proxy(server.port) as proxy:
        with client_of(proxy) as client:
            proxy.swallow(10**6)
            with pytest.raises(CallTimeout) as info:
                await run(client.insert, WATCH, "mine", timeout=1)
            assert type(info.value.__cause__) is ConnectionLost
            proxy.swallow(0)
            assert (await run(client.insert, WATCH, "mine")).duplicate
            assert await run(client.items) == [WATCH]


async def test_a_server_that_is_away_is_told_apart(server):
    with client_of(server) as client:
        await run(client.ping)
        await server.stop(signal.SIGKILL)
        with pytest.raises(CallTimeout) as info:
            await run(client.insert, WATCH, timeout=1)
        assert isinstance(info.value.__cause__, Unreachable)


async def test_a_connection_that_the_server_let_go_is_no_error():
    async with daemon("--header-deadline", "1") as server, Proxy(server.port) as proxy:
        with client_of(proxy) as client:
            for ended in range(1, 3):
                await run(client.insert, WATCH)
                await until(lambda ended=ended: proxy.left == ended)


async def test_a_server_that_stands_still_is_waited_for(server):
    with client_of(server, attempt_timeout=0.3) as client:
        await run(client.ping)
        server.send(signal.SIGSTOP)
        try:
            insert = asyncio.create_task(run(client.insert, WATCH))
            await asyncio.sleep(0.5)  # beyond an attempt: what comes is another
        finally:
            server.send(signal.SIGCONT)
        await insert
        assert await run(client.items) == [WATCH]


async def test_threads_share_a_client(server):
    with client_of(server, connections=4) as client, ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(client.insert, {"n": n, "user": n % 10}) for n in range(500)]
        asked = [pool.submit(client.items, user=n % 10, end=100) for n in range(100)]
        await asyncio.gather(*map(asyncio.wrap_future, calls + asked))
        events = await run(client.items, end=1_000)
    assert sorted(event["n"] for event in events) == list(range(500))
