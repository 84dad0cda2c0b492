"""What the clients say and are told is as the documents say: all that they do, with somebody listening."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from streamd_client import Forbidden, InvalidParams, connect
from streamd_client.sync import Client

from streamd.notifications import NOTIFICATIONS
from streamd.server import RunningServer
from streamd.signatures import METHODS
from tests.clients.tap import Tap
from tests.documents import ROOT
from tests.harness import DEADLINE, running, until
from tests.keys import SECRET, token

EVERYTHING = {*METHODS, *NOTIFICATIONS} - {"rpc.discover", "closed"}
"""What clients do and hear; `closed` is in test_traffic_errors.py."""

ALL = {"read": [{}], "write": [{}]}
LATER = 1000
"""Seconds after which tokens have expired."""


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with running(token_secret=SECRET) as server:
        yield server


def let_tokens_expire(server: RunningServer) -> None:
    guard: Any = server.application.gate.guard
    guard._verifier.now = lambda: time.time() + LATER


def let_ping_say(server: RunningServer, result: bytes) -> None:
    worker: Any = server.application.gate.worker
    worker._methods._handlers["ping"] = lambda caller, params, answer: answer.result(result)


def ping_by_post(url: str) -> None:
    with Client(url) as client:
        client.ping()


async def test_a_python_client_does_everything() -> None:
    given = iter([token(ALL), token(ALL, now=time.time() + LATER)])
    life = AsyncExitStack()
    server = await life.enter_async_context(running(token_secret=SECRET))
    async with life, Tap(server.port) as tap:
        async with connect(tap.url, token=lambda: next(given), backoff=lambda _: 0.01) as client:
            placed = await client.insert({"user": 1, "n": 1}, "one")
            assert (await client.insert({"user": 1, "n": 1}, "one")).duplicate
            await client.insert_many([{"user": 2, "kind": ["a", None]}, {}], ["two", None])
            assert len(await client.items(user=[1, "2"], start=0, end=9)) == 2
            page = await client.history(filter={"user": True}, limit=1)
            await client.history(before=page.before, limit=1)
            await client.explain(cursor=placed.cursor, user=[1, 2, 3])
            await client.explain(event={"user": 1.5}, kind=[])
            assert (await client.info()).keys == ["user", "kind", "repo"]
            assert await client.ping() > 0
            with pytest.raises(InvalidParams):
                await client.items(colour="red")
            async with (
                client.subscribe(user=1, backfill=5) as newest,
                client.subscribe(after="start") as oldest,
            ):
                assert (await anext(newest)).event == {"user": 1, "n": 1}
                assert [(await anext(oldest)).event for _ in range(3)][2] == {}
                await until(lambda: oldest.live)
                assert len(await client.subscriptions()) == 2
                let_tokens_expire(server)
                tap.break_off()
                await client.insert({"user": 1, "n": 2})
                assert (await anext(newest)).event == {"user": 1, "n": 2}
                assert (await anext(oldest)).event == {"user": 1, "n": 2}
            async with client.subscribe(after=oldest.cursor):
                await life.aclose()
                await until(lambda: "shutdown" in tap.methods)
    assert tap.methods == EVERYTHING
    assert tap.errors == {("items", -32602), ("authenticate", -32001)}


async def test_a_python_client_without_asyncio_does_everything(server: RunningServer) -> None:
    given = iter([token(ALL), token(ALL, now=time.time() + LATER)])

    def work(url: str) -> None:
        with Client(url, token=lambda: next(given), backoff=lambda _: 0.01) as client:
            placed = client.insert({"user": 1}, "one")
            client.insert_many([{"user": 2}, {}])
            assert len(client.items(user=[1, "2"], start=0, end=9)) == 2
            page = client.history(limit=1)
            client.history(before=page.before, user=1)
            client.explain(cursor=placed.cursor, user=1)
            client.explain(event={"user": 1})
            assert client.info().keys == ["user", "kind", "repo"]
            let_tokens_expire(server)
            assert client.ping() > 0
        with Client(url, token=token({}, now=time.time() + LATER)) as client:
            with pytest.raises(Forbidden):
                client.items()

    async with Tap(server.port) as tap:
        await asyncio.to_thread(work, tap.url)
    elsewhere = {"authenticate", "subscribe", "unsubscribe", "subscriptions"}
    assert tap.methods == EVERYTHING - elsewhere - NOTIFICATIONS.keys()
    assert tap.errors == {("refusal", -32001), ("items", -32002)}


async def test_a_javascript_client_does_everything(server: RunningServer) -> None:
    node = Path(sys.executable).with_name("node")
    script = ROOT / "clients" / "js" / "tests" / "tapped.js"
    async with Tap(server.port) as tap:
        process = await asyncio.create_subprocess_exec(
            *(node, script, tap.url, token(ALL)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(DEADLINE):
                said = await process.stdout.readline()
                tap.break_off()
                _, errors = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        assert (said, process.returncode, errors) == (b"break\n", 0, b"")
    assert tap.methods == EVERYTHING - {"shutdown"}


async def test_whoever_says_something_else_is_found_out() -> None:
    async with running() as server:
        let_ping_say(server, b'"pang"')
        with pytest.raises(ExceptionGroup) as caught:
            async with Tap(server.port) as tap, connect(tap.url) as client:
                await client.ping()
        assert "pang" in str(caught.value.exceptions[0])


async def test_whoever_says_something_else_by_post_is_found_out() -> None:
    async with running() as server:
        let_ping_say(server, b'"pang"')
        with pytest.raises(ExceptionGroup, match="not as the documents say"):
            async with Tap(server.port) as tap:
                await asyncio.to_thread(ping_by_post, tap.url)
