"""The Python clients with tokens, against a real server."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import streamd_client.sync
from streamd_client import (
    CallTimeout,
    Client,
    ConnectionRejected,
    Forbidden,
    StreamdError,
    Unauthorized,
    connect,
)

from tests.harness import running, until
from tests.keys import SECRET, pair, token

ALL = {"read": [{}], "write": [{}]}
OTHER = "another secret, of 32 bytes at least"


def client(server: Any, given: Any, **options: Any) -> Client:
    return connect(server.ws_url, token=given, backoff=lambda attempt: 0.01, **options)


class Source:
    """What gives tokens, and remembers how often it was asked."""

    def __init__(self, *tokens: Any) -> None:
        self.tokens = list(tokens)
        self.asked = 0

    def __call__(self) -> Any:
        self.asked += 1
        given = self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]
        if isinstance(given, Exception):
            raise given
        return given


async def test_a_token_comes_before_everything_else() -> None:
    async with running(token_secret=SECRET) as server:

        async def get() -> str:
            await asyncio.sleep(0)
            return token(ALL)

        for given in (token(ALL), lambda: token(ALL), get):
            async with client(server, given) as c:
                feed = c.subscribe(user=1, backfill=0)
                asked = [asyncio.create_task(c.insert({"user": 1, "n": n})) for n in range(5)]
                async with feed:
                    await asyncio.gather(*asked)
                    assert await c.ping() > 0


async def test_what_is_not_granted_is_an_error_of_the_call() -> None:
    async with running(token_secret=SECRET) as server:
        async with client(server, token({"read": [{"user": 1}]})) as c:
            with pytest.raises(Forbidden):
                await c.insert({"user": 1})
            assert await c.items() == []


async def test_without_a_token_the_caller_is_told() -> None:
    async with running(token_secret=SECRET) as server:
        async with client(server, None) as c:
            with pytest.raises(Unauthorized):
                await c.items()


@pytest.mark.parametrize(
    "make",
    [lambda: "x.y.z", lambda: token(ALL, key=OTHER), lambda: token(ALL, exp=5)],
    ids=["no token", "another key", "expired"],
)
async def test_a_new_token_that_is_refused_stops_the_client(make: Callable[[], str]) -> None:
    bad = make()
    async with running(token_secret=SECRET) as server:
        for source in (Source(bad), Source(bad, token(ALL))):
            async with client(server, source) as c:
                with pytest.raises(Unauthorized) as caught:
                    await c.items()
                assert bad not in str(caught.value)
                with pytest.raises(StreamdError):
                    await c.ping()
                assert source.asked == 1
        async with client(server, bad) as c:
            with pytest.raises((Unauthorized, ConnectionRejected)):
                await c.items()


async def test_a_feed_goes_on_with_the_next_token_when_one_expires() -> None:
    async with running(token_secret=SECRET, token_leeway=0) as server:
        first = token(ALL, exp=time.time() + 1.2)
        source = Source(first, token(ALL))
        async with client(server, token(ALL)) as writer, client(server, source) as c:
            async with c.subscribe(backfill=0) as feed:
                for number in range(30):
                    await writer.insert({"n": number})
                    assert (await anext(feed)).event == {"n": number}
                    await asyncio.sleep(0.1)
        assert source.asked == 2


async def test_an_old_token_that_is_refused_is_replaced_and_calls_wait_for_that() -> None:
    async with running(token_secret=SECRET) as server:
        source = Source(token(ALL), token({"read": [{"user": 1}], "write": [{}]}, sub="ben"))
        async with client(server, source) as c:
            await c.ping()
            # It is taken no more: as if its key had been changed.
            guard = server.application.gate.guard  # type: ignore[union-attr]  # it is open
            judge = guard.judge
            first = source.asked

            async def strict(made: str) -> Any:
                access = await judge(made)
                if access.subject == "ann":
                    return await judge("refused")
                return access

            guard.judge = strict  # type: ignore[method-assign]  # the moment is what this is about
            c._link._attempted.abandon(c._link._trouble or streamd_client.ConnectionLost("test"))  # type: ignore[union-attr]
            await c.insert({"user": 1})
            assert source.asked == first + 1


async def test_trouble_with_getting_a_token_is_trouble_with_connecting() -> None:
    async with running(token_secret=SECRET) as server:
        source = Source(ValueError("no"), 7, token(ALL))
        async with client(server, source) as c:
            assert await c.ping() > 0
            assert source.asked == 3
        async with client(server, Source(ValueError("the login is over"))) as c:
            with pytest.raises(CallTimeout) as caught:
                await c.ping(timeout=0.2)
            assert "the login is over" in str(caught.value)

        async def never() -> str:
            await asyncio.Event().wait()
            return ""

        async with client(server, never, timeout=0.1) as c:
            with pytest.raises(CallTimeout) as caught:
                await c.ping(timeout=0.5)
            assert "no token came" in str(caught.value)


async def test_a_server_without_rules_takes_any_token() -> None:
    async with running() as server, client(server, "any") as c:
        assert await c.ping() > 0


async def test_a_server_whose_keys_are_away_is_asked_again() -> None:
    async with running(token_jwks_url="http://127.0.0.1:9/") as server:
        made = token(ALL, key=pair("RS256"), algorithm="RS256")
        async with client(server, made) as c:
            with pytest.raises(CallTimeout):
                await c.ping(timeout=0.3)
            await until(lambda: c._link._trouble is not None)


# Without asyncio.


def sync(server: Any, given: Any) -> streamd_client.sync.Client:
    return streamd_client.sync.Client(server.url, token=given, backoff=lambda attempt: 0.01)


async def test_without_asyncio_the_token_is_sent_with_each_call() -> None:
    async with running(token_secret=SECRET) as server:

        def work() -> None:
            with sync(server, token({"read": [{"user": 1}], "write": [{"user": 1}]})) as c:
                c.insert({"user": 1})
                with pytest.raises(Forbidden):
                    c.insert({"user": 2})
                assert c.items() == [{"user": 1}]
            with sync(server, None) as c, pytest.raises(Unauthorized):
                c.items()
            for given in ("x.y.z", lambda: "x.y.z"):
                with sync(server, given) as c, pytest.raises(Unauthorized):
                    c.items()

        await asyncio.to_thread(work)


async def test_without_asyncio_an_old_token_is_replaced() -> None:
    async with running(token_secret=SECRET, token_leeway=0) as server:
        source = Source(token(ALL, exp=int(time.time()) + 2), ValueError("no"), token(ALL))

        def work() -> None:
            with sync(server, source) as c:
                for _ in range(30):
                    assert c.items() == []
                    time.sleep(0.1)

        await asyncio.to_thread(work)
        assert source.asked == 3
