"""The stories of `wire.json`, told to a server of its own each."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.harness import running
from tests.promises.serving import daemon
from tests.traffic import Traffic
from tests.vectors.matching import fill, match, match_all

STORIES = json.loads((Path(__file__).parent / "wire.json").read_text(encoding="utf-8"))
DEADLINE = 10.0
READ = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "items", "params": {"end": 1}})
FENCE = {"jsonrpc": "2.0", "id": "the fence", "method": "ping"}


class Peer(Protocol):
    """Sends one message and returns what the server says to it."""

    async def tell(self, message: str | bytes, wanted: int) -> list[Any]: ...


class Connection:
    """Tells a story through one WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._traffic = Traffic()

    async def tell(self, message: str | bytes, wanted: int) -> list[Any]:
        """Return what came: as many messages as wanted, and all that came before the fence."""
        self._traffic.sent(message)
        await self._socket.send(message)
        came: list[Any] = []
        async with asyncio.timeout(DEADLINE):
            while len(came) < wanted:
                came += self._kept(await self._receive())
            await self._socket.send(json.dumps(FENCE))
            while not _is_fence(received := await self._receive()):
                came += self._kept(received)
        return came

    async def _receive(self) -> Any:
        message = json.loads(await self._socket.recv())
        if not _is_fence(message):
            self._traffic.came(message)
        return message

    @staticmethod
    def _kept(message: Any) -> list[Any]:
        return (
            [] if isinstance(message, dict) and message.get("method") == "progress" else [message]
        )


class Post:
    """Tells a story by POST."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("ws:", "http:")
        self._traffic = Traffic()

    async def tell(self, message: str | bytes, wanted: int) -> list[Any]:
        """Return the body of the response, if there is one."""
        assert isinstance(message, str)
        self._traffic.sent(message)
        came = await asyncio.to_thread(self._post, message.encode())
        for each in came:
            self._traffic.came(each)
        return came

    def _post(self, body: bytes) -> list[Any]:
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), AnyStatus())
        with opener.open(request, timeout=DEADLINE) as response:
            answer = response.read()
        return [json.loads(answer)] if answer else []


class AnyStatus(urllib.request.HTTPErrorProcessor):
    """Hands every response on: the body tells, whatever its status."""

    def http_response(self, request: Any, response: Any) -> Any:
        return response


def _is_fence(message: Any) -> bool:
    return isinstance(message, dict) and message.get("id") == FENCE["id"]


@asynccontextmanager
async def told(transport: str, url: str) -> AsyncIterator[Peer]:
    if transport == "post":
        yield Post(url)
        return
    async with connect(url, compression=None, max_size=None, proxy=None) as socket:
        yield Connection(socket)


def message_of(step: dict[str, Any], cursors: dict[str, str]) -> str | bytes:
    if "send" in step:
        return json.dumps(fill(step["send"], cursors))
    text: str = step["text"] if "text" in step else step["binary"]
    return text.encode() if "binary" in step else text


async def check(story: dict[str, Any], url: str, *, reader: Post | None = None) -> None:
    async with told(story["transport"], url) as peer:
        cursors: dict[str, str] = {}
        for number, step in enumerate(story["steps"]):
            if reader is not None:
                # A subscription begins where the tail is: who reads has waited for what was inserted.
                await reader.tell(READ, 1)
            came = await peer.tell(message_of(step, cursors), len(step["expect"]))
            if step.get("in_order"):
                good = match(step["expect"], came, cursors)
            else:
                good = match_all(step["expect"], came, cursors)
            assert good, f"step {number}: {str(step)[:500]}\ncame: {str(came)[:500]}"


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story["name"])
async def test_the_server_tells_the_story(story):
    async with daemon("--keys", "user,kind,repo", "--store", "memory:") as server:
        await check(story, server.url)


@pytest.mark.redis
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story["name"])
async def test_the_server_tells_the_story_on_redis(story, redis_url, stream_name):
    async with running(keys="user,kind,repo", store=redis_url, stream=stream_name) as server:
        await check(story, server.ws_url, reader=Post(server.ws_url))
