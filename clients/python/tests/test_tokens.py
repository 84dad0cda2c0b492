import asyncio
import threading

import pytest
from streamd_client import CallTimeout, ConnectionLost, Unauthorized, Unreachable
from streamd_client.tokens import AsyncTokens, SyncTokens

from clients.python.tests.conftest import connected_to
from clients.python.tests.fake_server import fail, ignore


def taking(server):
    """Let the server take every token."""
    server._do_authenticate = lambda peer, token: {"subject": "ann", "expires": None}


async def test_a_server_without_the_method_needs_no_token(server):
    async with connected_to(server, token="any") as client:
        await client.insert({"n": 1})
    assert [call.method for call in server.calls] == ["authenticate", "insert"]


async def test_each_connection_begins_with_the_token(server):
    taking(server)
    asked = []
    async with connected_to(server, token=lambda: asked.append(1) or "mine") as client:
        async with client.subscribe() as feed:
            for _ in range(3):
                server.peer.abort()
                server.push({"n": 1})
                assert (await anext(feed)).event == {"n": 1}
    firsts = {call.peer: call.method for call in reversed(server.calls)}
    assert len(firsts) == 4
    assert set(firsts.values()) == {"authenticate"}
    assert {call.params["token"] for call in server.called("authenticate")} == {"mine"}
    assert len(asked) == 1


async def test_nothing_is_sent_before_the_token_is_taken(server):
    server.tricks["authenticate"].append(ignore)
    async with connected_to(server, token="mine", timeout=0.2) as client:
        waiting = asyncio.create_task(client.insert({"n": 1}, timeout=5))
        await server.until(lambda: server.called("authenticate"))
        assert not client.connected
        await waiting  # on the next connection: the first was given up
    assert server.opened == 2
    assert len(server.called("insert")) == 1


async def test_a_server_that_can_not_judge_is_asked_again(server):
    taking(server)
    server.tricks["authenticate"].append(fail(-32011, {"retry_after_ms": 20}))
    async with connected_to(server, token="mine") as client:
        await client.ping()
    assert server.opened == 2


async def test_a_token_that_is_in_use_too_often_is_shown_again_later(server):
    taking(server)
    full = {"limit": "subject_connections", "max": 1, "got": 2}
    server.tricks["authenticate"].append(fail(-32004, full))
    async with connected_to(server, token="mine") as client:
        await client.ping()
    assert server.opened == 2


async def test_a_call_that_is_refused_for_an_old_token_is_sent_again_with_the_next(server):
    taking(server)
    tokens = iter(["one", "two", "three"])
    async with connected_to(server, token=lambda: next(tokens)) as client:
        await client.ping()
        server.peer.abort()
        await client.ping()
        server.tricks["insert"].append(fail(-32001))
        assert not (await client.insert({"n": 1})).duplicate
    assert [c.params["token"] for c in server.called("authenticate")] == ["one", "one", "two"]
    assert len(server.called("insert")) == 2


async def test_a_new_token_that_is_refused_stops(server):
    server.tricks["authenticate"].append(fail(-32001))
    async with connected_to(server, token="mine") as client:
        with pytest.raises(Unauthorized):
            await client.ping()
        with pytest.raises(Unauthorized):
            client.subscribe()._subscription.open()
    assert server.opened == 1


async def test_4001_asks_for_another(server):
    taking(server)
    tokens = iter(["one", "two"])
    async with connected_to(server, token=lambda: next(tokens)) as client:
        await client.ping()
        await server.peer.socket.close(4001)
        await client.ping()
    assert [c.params["token"] for c in server.called("authenticate")] == ["one", "two"]


# The sources alone.


async def test_a_token_is_asked_for_once_until_it_is_dropped():
    given = iter("abc")
    tokens = AsyncTokens(lambda: next(given), timeout=1)
    assert [await tokens.get(), tokens.fresh] == ["a", True]
    assert [await tokens.get(), tokens.fresh] == ["a", False]
    tokens.drop()
    assert [await tokens.get(), tokens.fresh] == ["b", True]


@pytest.mark.parametrize("source", [lambda: 7, lambda: None, lambda: 1 / 0])
async def test_what_gives_no_token_is_trouble_with_connecting(source):
    with pytest.raises(Unreachable):
        await AsyncTokens(source, timeout=1).get()
    with pytest.raises(Unreachable):
        SyncTokens(source).get()


async def test_trouble_is_told_when_the_time_is_over(server):
    def no() -> str:
        raise OSError("no login server")

    async with connected_to(server, token=no) as client:
        with pytest.raises(CallTimeout, match="no login server") as caught:
            await client.ping(timeout=0.1)
        assert isinstance(caught.value.__cause__, ConnectionLost)
    assert server.opened == 0


def test_threads_that_share_a_refused_token_ask_for_one():
    given = iter("abcdefgh")
    tokens = SyncTokens(lambda: next(given))
    assert tokens.get() == ("a", False)
    assert tokens.get() == ("a", True)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(tokens.get(refused="a")[0])) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["b"] * 5
    assert SyncTokens("x").get() == ("x", False)
