"""A bare peer: JSON-RPC over a WebSocket, without the client's help, so that it hides nothing."""

import asyncio
import itertools
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

Message = dict[str, Any]


class Wire:
    """Speak the wire: `call` and hand every notification to a function."""

    def __init__(self, socket_: ClientConnection, notified: Callable[[Message], None]) -> None:
        self._socket = socket_
        self._notified = notified
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._answered: dict[int, Callable[[Message], None]] = {}
        self._reading_allowed = asyncio.Event()
        self._reading_allowed.set()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def connect(
        cls,
        url: str,
        notified: Callable[[Message], None] = lambda message: None,
        *,
        receive_buffer: int | None = None,
    ) -> "Wire":
        """Connect; with a `receive_buffer` in bytes the kernel hides little of what is not read."""
        parts = urlsplit(url)
        assert parts.hostname
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (parts.hostname, parts.port))
            connection = await connect(
                url, sock=sock, compression=None, max_size=None, max_queue=2, ping_interval=None
            )
        except BaseException:
            sock.close()
            raise
        return cls(connection, notified)

    async def _read(self) -> None:
        try:
            async for text in self._socket:
                await self._reading_allowed.wait()
                message = orjson.loads(text)
                if "method" in message:
                    self._notified(message)
                else:
                    self._answered.pop(message["id"], lambda message: None)(message)
                    future = self._waiting.pop(message["id"])
                    if not future.done():
                        future.set_result(message)
        except ConnectionClosed:
            pass  # `closed` tells how, and whoever waits is told below.
        finally:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ConnectionError("the connection is gone"))
                    future.exception()

    def pause(self) -> None:
        """Stop reading from the socket."""
        self._reading_allowed.clear()

    def resume(self) -> None:
        """Read again."""
        self._reading_allowed.set()

    def post(
        self, method: str, answered: Callable[[Message], None] | None = None, **params: Any
    ) -> asyncio.Future[Message]:
        """Send a call; the future is its whole answer, told to `answered` before the next message is read."""
        number = next(self._numbers)
        if answered is not None:
            self._answered[number] = answered
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        if self._reader.done():
            future.set_exception(ConnectionError("the connection is gone"))
            return future
        call = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        self._sending = asyncio.ensure_future(self._socket.send(orjson.dumps(call).decode()))
        self._sending.add_done_callback(lambda sent: sent.cancelled() or sent.exception())
        return future

    async def call(self, method: str, **params: Any) -> Any:
        """Return the result of a call, or fail with its error."""
        answer = await asyncio.wait_for(self.post(method, **params), 30)
        assert "result" in answer, answer
        return answer["result"]

    async def closed(self) -> int | None:
        """Wait until the server has closed the connection; return the code it gave."""
        async with asyncio.timeout(20):
            await self._socket.wait_closed()
        return self._socket.close_code

    async def ended(self) -> None:
        """Wait until the connection is gone, for whatever reason."""
        await self._socket.wait_closed()

    async def cut(self) -> None:
        """Break the connection without a word."""
        self._socket.transport.abort()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def close(self) -> None:
        """Close the connection as one should."""
        self.resume()
        await self._socket.close()
        await asyncio.gather(self._reader, return_exceptions=True)


class Heard:
    """Notifications, and a way to wait for those that are of interest."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._news = asyncio.Event()

    def __call__(self, message: Message) -> None:
        self.messages.append(message)
        self._news.set()

    def of(self, method: str) -> list[Any]:
        return [message["params"] for message in self.messages if message["method"] == method]

    def events(self) -> list[Any]:
        return [params["event"] for params in self.of("event")]

    async def until(self, condition: Callable[[], bool], deadline: float = 20) -> None:
        async with asyncio.timeout(deadline):
            while not condition():
                self._news.clear()
                await self._news.wait()
