"""Every error that the documents have occurs, over real sockets, and is as they say; and no other does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import orjson
import pytest

from streamd.address import Address
from streamd.cursor import Chain
from streamd.notifications import ENDS, NOTIFICATIONS
from streamd.server import RunningServer
from streamd.signatures import METHODS, NO_CALL
from tests.harness import BINARY, CLOSE, TEXT, Peer, frame, post, running, websocket
from tests.keys import SECRET, token
from tests.services import RedisServer
from tests.traffic import NEEDED, Traffic

DOCUMENTED = {
    *((name, kind.code) for name, method in METHODS.items() for kind in method.errors),
    *(("refusal", kind.code) for kind in NO_CALL),
    *(("closed", kind.code) for kind in ENDS),
}

UNKNOWN = "colour"

ALL = [UNKNOWN, *sorted(METHODS, key="authenticate".__eq__)]
"""One that there is not, and all methods: last the one that may end a connection."""

POOR = 1e-9
"""A rate per second that lets one call pass and no other."""


class Line:
    """A WebSocket, and what passes on it."""

    def __init__(self, peer: Peer, traffic: Traffic) -> None:
        self._peer = peer
        self._traffic = traffic

    async def send(self, message: Any, opcode: int = TEXT) -> None:
        text = message if isinstance(message, bytes) else orjson.dumps(message)
        self._traffic.sent(text)
        await self._peer.send(frame(opcode, text))

    async def next(self) -> Any:
        message = await self._peer.message()
        self._traffic.came(message)
        return message

    async def until(self, holds: Callable[[Any], Any]) -> Any:
        while not holds(message := await self.next()):
            pass
        return message

    async def ask(self, message: Any, opcode: int = TEXT) -> Any:
        """Return the answer to a message: the next message that is no notification."""
        await self.send(message, opcode)
        return await self.until(lambda came: "method" not in came)

    async def call(self, method: str, **params: Any) -> Any:
        return await self.ask(call(method, params))


class World:
    """Servers that do badly, and all that they say of it."""

    def __init__(self) -> None:
        self._traffic: list[Traffic] = []

    def traffic(self) -> Traffic:
        self._traffic.append(Traffic())
        return self._traffic[-1]

    @asynccontextmanager
    async def line(self, server: Address) -> AsyncIterator[Line]:
        async with websocket(server) as peer:
            yield Line(peer, self.traffic())

    @asynccontextmanager
    async def alone(self, **options: Any) -> AsyncIterator[Line]:
        """A line to a server of its own."""
        async with running(**options) as server, self.line(server) as line:
            yield line

    @property
    def errors(self) -> set[tuple[str, int]]:
        return {error for each in self._traffic for error in each.errors}

    @property
    def notifications(self) -> set[str]:
        return {each for traffic in self._traffic for each in traffic.methods} & set(NOTIFICATIONS)


def call(method: str, params: Any = None, ident: int = 1) -> dict[str, Any]:
    params = NEEDED.get(method, {}) if params is None else params
    return {"jsonrpc": "2.0", "id": ident, "method": method, "params": params}


def batch(methods: Iterable[str] = ALL, params: Any = None) -> list[Any]:
    return [call(method, params, number) for number, method in enumerate(methods)]


def codes(answers: list[Any]) -> set[int]:
    return {answer["error"]["code"] for answer in answers}


async def what_is_no_call(world: World) -> None:
    async with world.alone(batch=len(ALL)) as line:
        assert (await line.ask(b"{"))["error"]["code"] == -32700
        assert (await line.ask(b"{}", BINARY))["error"]["code"] == -32600
        assert (await line.ask(batch([*ALL, "ping"])))["error"]["code"] == -32004
        assert codes(await line.ask(batch(params="not so"))) == {-32600}


async def what_is_not_here_or_other_than_it_must_be(world: World) -> None:
    async with running() as server:
        async with world.line(server) as line:
            assert codes(await line.ask(batch(params={"colour": 1}))) == {-32601, -32602}
            assert (await line.call("unsubscribe", subscription=9))["error"]["code"] == -32006
            lost = Chain("zzzzzzzz").cursor(1)
            assert (await line.call("explain", cursor=lost))["error"]["code"] == -32007
        traffic, body = world.traffic(), orjson.dumps(batch())
        async with Peer.connect(server) as peer:
            traffic.sent(body)
            await peer.send(post(body))
            traffic.came((await peer.response()).json)


async def who_says_not_who_calls(world: World) -> None:
    async with running(token_secret=SECRET, token_bytes=1024) as server:
        async with world.line(server) as line:
            assert (await line.ask(batch(["ping"] * 99)))["error"]["code"] == -32001
        async with world.line(server) as line:
            assert codes(await line.ask(batch())) == {-32001, -32601}


async def who_may_not(world: World) -> None:
    async with world.alone(token_secret=SECRET, connection_filter_values=3) as line:
        await line.call("authenticate", token=token({"read": [{"user": 1}]}))
        await line.call("subscribe", filter={"user": 1})
        await line.call("authenticate", token=token({}))
        assert (await line.call("subscriptions"))["result"] == []
        asked = [name for name in ALL if name != "authenticate"]
        assert codes([each for each in await line.ask(batch(asked)) if "error" in each]) == {
            *(-32002, -32006, -32601)
        }
        await line.call("authenticate", token=token({"read": [{}]}))
        await line.call("subscribe", filter={"user": 1})
        granted = [{"user": [1, number], "kind": [number]} for number in range(2, 5)]
        await line.call("authenticate", token=token({"read": granted}))
        assert (await line.call("subscriptions"))["result"] == []


async def what_is_too_much(world: World) -> None:
    async with world.alone(answer_bytes=1, value_bytes=1) as line:
        assert codes([each for each in await line.ask(batch()) if "error" in each]) == {-32004}
        event = {"user": "ab"}
        assert (await line.call("insert", event=event))["error"]["code"] == -32004
        assert (await line.call("insert_many", events=[event]))["error"]["code"] == -32004
    async with running(token_secret=SECRET, subject_connections=1) as server:
        async with world.line(server) as line, world.line(server) as other:
            assert "result" in await line.call("authenticate", token=token({}))
            refused = await other.call("authenticate", token=token({}))
            assert refused["error"]["code"] == -32004


async def who_comes_too_soon(world: World) -> None:
    async with world.alone(calls_per_second=POOR) as line:
        await line.call("ping")
        assert codes(await line.ask(batch())) == {-32005}


async def what_is_a_defect(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    async with running() as server, world.line(server) as line:
        handlers = of_worker(server)._methods._handlers
        for name in METHODS:
            monkeypatch.setitem(handlers, name, fail)
        assert codes(await line.ask(batch())) == {-32603, -32601}


def of_worker(server: RunningServer) -> Any:
    return server.application.gate.worker


async def what_the_store_has_lost(world: World, redis: RedisServer) -> None:
    async with world.alone(store=redis.url) as line:
        await line.call("subscribe", backfill=0)
        await line.call("insert", event={})
        await line.until(lambda came: came.get("method") == "event")
        await asyncio.to_thread(redis.client.flushall)
        await line.until(lambda came: came.get("method") == "closed")
        await line.call("subscribe", after=Chain("zzzzzzzz").cursor(1))


async def what_stands_still(world: World, redis: RedisServer) -> None:
    """An insert whose outcome is unknown keeps a server that stops from being gone."""
    for method in ("insert", "insert_many"):
        async with AsyncExitStack() as stack:
            server = AsyncExitStack()
            running_server = running(store=redis.url, store_deadline=0.5, drain=5)
            line = await stack.enter_async_context(
                world.line(await server.enter_async_context(running_server))
            )
            await line.call("subscribe", after="start")
            redis.pause()
            try:
                await line.send(call(method, ident=99))
                down = asyncio.create_task(server.aclose())
                await line.until(lambda came: came.get("method") == "shutdown")
                assert codes(await line.ask(batch())) == {-32011}
                answer = await line.until(lambda came: "id" in came)
                assert (answer["id"], answer["error"]["code"]) == (99, -32010)
            finally:
                redis.resume()
            await line.send(b"\x03\xe8", CLOSE)
            await down


@pytest.mark.redis
async def test_every_error_occurs_where_the_documents_have_it(
    new_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, lost, paused = World(), new_redis(), new_redis()
    await asyncio.gather(
        what_is_no_call(world),
        what_is_not_here_or_other_than_it_must_be(world),
        who_says_not_who_calls(world),
        who_may_not(world),
        what_is_too_much(world),
        who_comes_too_soon(world),
        what_is_a_defect(world, monkeypatch),
        what_the_store_has_lost(world, lost),
        what_stands_still(world, paused),
    )
    assert world.errors == DOCUMENTED
    assert world.notifications == set(NOTIFICATIONS)
