"""
A small server that speaks the wire over a real WebSocket, keeps a log in a list, and can be told
to misbehave. It trusts its client: limits and most checks of the real server are not here.
"""

import asyncio
import itertools
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self

import orjson
from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response


class Fault(Exception):
    """An error to answer with."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(code, message, data)
        self.error = {"code": code, "message": message}
        if data is not None:
            self.error["data"] = data


@dataclass
class Call:
    peer: "Peer"
    id: Any
    method: str
    params: dict[str, Any]


Trick = Callable[["FakeServer", Call], Awaitable[None]]
"""Handles one call in place of the server."""


# Tricks for `FakeServer.tricks`.


def fail(code: int, data: Any = None) -> Trick:
    """Answer with an error, do nothing."""

    async def trick(server: "FakeServer", call: Call) -> None:
        call.peer.send(
            {"jsonrpc": "2.0", "id": call.id, "error": Fault(code, "told to", data).error}
        )

    return trick


async def drop_before(server: "FakeServer", call: Call) -> None:
    """Break the connection off without doing what was asked."""
    call.peer.abort()


async def drop_after(server: "FakeServer", call: Call) -> None:
    """Do what was asked, and break the connection off instead of answering."""
    server.perform(call)
    call.peer.abort()


async def ignore(server: "FakeServer", call: Call) -> None:
    """Never answer."""


def hold(event: asyncio.Event) -> Trick:
    """Answer when the event is set."""

    async def trick(server: "FakeServer", call: Call) -> None:
        async def later() -> None:
            await event.wait()
            server.answer(call)

        server.spawn(later())

    return trick


@dataclass
class Stored:
    seq: int
    epoch: str
    event: dict[str, Any]

    @property
    def cursor(self) -> str:
        return f"{self.epoch}.{self.seq}"

    @property
    def wire(self) -> dict[str, Any]:
        return {"cursor": self.cursor, "time": 1795449600000 + self.seq, "event": self.event}


@dataclass(eq=False)
class Peer:
    """One connection."""

    socket: ServerConnection
    subscriptions: dict[int, dict[str, Any]] = field(default_factory=dict)
    numbers: Any = field(default_factory=lambda: itertools.count(1))
    broken: bool = False

    def send(self, message: Any) -> None:
        self.send_raw(orjson.dumps(message).decode())

    def send_raw(self, text: str) -> None:
        broadcast([self.socket], text)

    def notify(self, method: str, **params: Any) -> None:
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def abort(self) -> None:
        self.broken = True
        self.socket.transport.abort()


def matches(filter: dict[str, Any], event: dict[str, Any]) -> bool:
    return all(
        event.get(key) in (value if isinstance(value, list) else [value])
        for key, value in filter.items()
    )


class FakeServer:
    def __init__(self) -> None:
        self.keys = ["user", "kind", "repo"]
        self.epoch = "e1"
        self.floor = 1
        self.log: list[Stored] = []
        self.ids: dict[str, Stored] = {}
        self.calls: list[Call] = []
        self.peers: list[Peer] = []
        self.opened = 0
        self.refusals: deque[int] = deque()
        self.tricks: dict[str, deque[Trick]] = defaultdict(deque)
        self.mute = False
        self.live_at_once = True
        self._server: Server | None = None
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._port = 0

    # Life.

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/"

    async def start(self) -> None:
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self._port,
            process_request=self._handshake,
            ping_interval=None,
            close_timeout=0.5,
            max_size=None,
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self, code: int = 1012) -> None:
        for task in self._tasks:
            task.cancel()
        if self._server is not None:
            self._server.close(code=code)
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _handshake(self, socket: ServerConnection, request: Request) -> Response | None:
        if not self.refusals:
            return None
        status = HTTPStatus(self.refusals.popleft())
        self._changed.set()
        return socket.respond(status, f"refused with {status.value}\n")

    async def _serve(self, socket: ServerConnection) -> None:
        peer = Peer(socket)
        self.peers.append(peer)
        self.opened += 1
        self._changed.set()
        try:
            async for frame in socket:
                if peer.broken:
                    break
                await self._handle(peer, orjson.loads(frame))
        except ConnectionClosed:
            pass
        finally:
            self.peers.remove(peer)
            self._changed.set()

    # Watching.

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something that clients did makes the condition true."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def called(self, method: str) -> list[Call]:
        return [call for call in self.calls if call.method == method]

    @property
    def peer(self) -> Peer:
        (peer,) = self.peers
        return peer

    @property
    def events(self) -> list[dict[str, Any]]:
        return [stored.event for stored in self.log]

    # Doing.

    async def _handle(self, peer: Peer, frame: dict[str, Any]) -> None:
        call = Call(peer, frame["id"], frame["method"], frame["params"])
        self.calls.append(call)
        self._changed.set()
        if self.mute:
            return
        if self.tricks[call.method]:
            await self.tricks[call.method].popleft()(self, call)
        else:
            self.answer(call)

    def answer(self, call: Call) -> None:
        try:
            result = self.perform(call)
        except Fault as fault:
            call.peer.send({"jsonrpc": "2.0", "id": call.id, "error": fault.error})
        else:
            call.peer.send({"jsonrpc": "2.0", "id": call.id, "result": result})
            if call.method == "subscribe":
                self._catch_up(call.peer, result, call.params)

    def perform(self, call: Call) -> Any:
        method = getattr(self, f"_do_{call.method}", None)
        if method is None:
            raise Fault(-32601, "no such method")
        return method(call.peer, **call.params)

    def push(self, event: dict[str, Any], id: str | None = None) -> Stored:
        """Insert an event as some other client would."""
        if id is not None and id in self.ids:
            return self.ids[id]
        stored = Stored(len(self.log) + 1, self.epoch, event)
        self.log.append(stored)
        if id is not None:
            self.ids[id] = stored
        for peer in self.peers:
            for number, filter in peer.subscriptions.items():
                if matches(filter, event):
                    peer.notify("event", subscription=number, **stored.wire)
        return stored

    @property
    def head(self) -> str:
        return f"{self.epoch}.{len(self.log)}"

    def new_epoch(self) -> None:
        """Lose the log, as a server with an emptied store would."""
        self.epoch = f"e{int(self.epoch[1:]) + 1}"
        self.log.clear()
        self.ids.clear()

    def _matching(self, filter: dict[str, Any], above: int = 0) -> list[Stored]:
        if unknown := [key for key in filter if key not in self.keys]:
            raise Fault(-32602, "unknown key", {"unknown": unknown, "keys": self.keys})
        lowest = max(above + 1, self.floor)
        return [s for s in self.log if s.seq >= lowest and matches(filter, s.event)]

    def _do_ping(self, peer: Peer) -> str:
        return "pong"

    def _do_info(self, peer: Peer) -> dict[str, Any]:
        return {
            "server": "streamd",
            "version": "0",
            "epoch": self.epoch,
            "cursor": self.head,
            "keys": self.keys,
            "paths": {key: key for key in self.keys},
            "limits": {"batch": 100},
        }

    def _do_insert(self, peer: Peer, event: dict[str, Any], id: str | None = None) -> Any:
        known = id in self.ids
        stored = self.push(event, id)
        return {"cursor": stored.cursor, "time": stored.wire["time"], "duplicate": known}

    def _do_insert_many(self, peer: Peer, events: list[Any], ids: list[Any]) -> Any:
        pairs = zip(events, ids, strict=True)
        return {"entries": [self._do_insert(peer, event, id) for event, id in pairs]}

    def _do_items(self, peer: Peer, filter: dict[str, Any], start: int, end: int) -> Any:
        return [stored.event for stored in self._matching(filter)[::-1][start:end]]

    def _do_history(
        self, peer: Peer, filter: dict[str, Any], limit: int, before: str | None = None
    ) -> Any:
        top = int(before.split(".")[1]) if before else len(self.log) + 1
        found = [s for s in self._matching(filter)[::-1] if s.seq < top]
        page, more = found[:limit], len(found) > limit
        return {
            "entries": [stored.wire for stored in page],
            "before": page[-1].cursor if more else None,
            "cursor": f"{self.epoch}.{top - 1}",
        }

    def _do_subscribe(
        self, peer: Peer, filter: dict[str, Any], backfill: int = 20, after: str | None = None
    ) -> Any:
        found = self._matching(filter)
        number = next(peer.numbers)
        peer.subscriptions[number] = filter
        answer = {
            "subscription": number,
            "entries": [],
            "before": None,
            "cursor": self.head,
            "resumed": None,
            "live": self.live_at_once,
        }
        reason = self._judge(after) if after else None
        if after and reason is None:
            start = f"{self.epoch}.{self.floor - 1}"
            return answer | {"resumed": True, "cursor": start if after == "start" else after}
        newest = found[len(found) - backfill :] if backfill < len(found) else found
        if len(newest) < len(found):
            answer["before"] = newest[0].cursor if newest else self.head
        answer["entries"] = [stored.wire for stored in newest]
        return answer | ({"resumed": False, "reason": reason} if reason else {})

    def _judge(self, after: str) -> str | None:
        if after == "start":
            return None
        epoch, _, seq = after.partition(".")
        if not seq.isdecimal():
            raise Fault(-32602, "not a cursor")
        if epoch != self.epoch:
            return "epoch"
        return "expired" if int(seq) < self.floor - 1 else None

    def _do_unsubscribe(self, peer: Peer, subscription: int) -> bool:
        if peer.subscriptions.pop(subscription, None) is None:
            raise Fault(-32006, "unknown subscription")
        return True

    def _catch_up(self, peer: Peer, answer: dict[str, Any], params: dict[str, Any]) -> None:
        number = answer["subscription"]
        if answer["resumed"]:
            above = int(answer["cursor"].split(".")[1])
            for stored in self._matching(params["filter"], above):
                peer.notify("event", subscription=number, **stored.wire)
        if not answer["live"]:
            peer.notify("progress", cursor=self.head, subscription=number, live=True)
