"""What tests of single modules are made of: a socket's stand-in, and the core put together without sockets."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import orjson

from streamd.cursor import Chain
from streamd.event import Keys, draft_event
from streamd.filters import Filter, parse_filter
from streamd.guard import Guard
from streamd.hub import Hub
from streamd.limits import Limits
from streamd.log import Draft, Entry, LogState, Page, Run
from streamd.outbox import Outbox
from streamd.session import Session
from streamd.stores.base import Appended, Bounds, Store, Stream, Upkeep
from streamd.stores.memory import MemoryStore
from streamd.subscription import Peer, Subscription
from streamd.view import View
from streamd.worker import Worker
from tests.traffic import check_answer

KEYS = Keys.parse("user,kind,repo,tag=tags")
LIMITS = Limits()
OLD = Chain("aaaaaaaa")
"""That of a scripted store, at first."""
PLENTY = Bounds(limit=1_000, work=200_000, size=1 << 30)
DEADLINE = 5.0
"""Seconds that a test waits for what must come."""


def frame(payload: bytes) -> bytes:
    """Frame a message by a line's end: JSON text has none of its own."""
    return payload + b"\n"


def wanted(value: Any, keys: Keys = KEYS) -> Filter:
    """Return the filter of that JSON."""
    return parse_filter(value, keys, LIMITS)


def draft(event: Any, insert_id: str | None = None) -> Draft:
    """Return an event's draft."""
    return draft_event(event, insert_id, KEYS, LIMITS)


def entry(seq: int, event: dict[str, Any]) -> Entry:
    """Return an event in its place."""
    made = draft(event)
    return Entry(seq, seq, made.terms, made.body)


async def turns(number: int = 50) -> None:
    """Let everything that is ready run: nothing here waits for anything outside of this process."""
    for _ in range(number):
        await asyncio.sleep(0)


class RecordingTransport:
    """Stand in for a socket: keep what is written, and tell the outbox when too much is unsent."""

    def __init__(self) -> None:
        self.outbox = Outbox(self.write, frame)
        self.writes: list[bytes] = []
        self.unsent = 0
        self.most_unsent = 0
        self.high: int | None = None
        """While the peer does not read: the bytes above which the outbox is paused."""
        self._written = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self._written.set()
        if self.high is not None:
            self.unsent += len(data)
            self.most_unsent = max(self.most_unsent, self.unsent)
            if self.unsent > self.high and not self.outbox.paused:
                self.outbox.pause()

    def stall(self, high: int = 0) -> None:
        """Let the peer stop reading."""
        self.high = high

    def drain(self) -> None:
        """Let the peer take everything; it goes on not reading."""
        self.unsent = 0
        if self.outbox.paused:
            self.outbox.resume()

    def read_on(self) -> None:
        """Let the peer read again, as fast as it comes."""
        self.high = None
        self.drain()

    @property
    def messages(self) -> list[Any]:
        """All messages so far."""
        return [orjson.loads(line) for line in b"".join(self.writes).splitlines()]

    def sent(self, method: str) -> list[Any]:
        """Return the params of all notifications of a method."""
        return [
            m["params"] for m in self.messages if isinstance(m, dict) and m.get("method") == method
        ]

    def events(self, number: int = 1) -> list[Any]:
        """Return the events of one subscription."""
        return [p["event"] for p in self.sent("event") if p["subscription"] == number]

    async def until(self, holds: Callable[[], Any]) -> None:
        """Wait for something that is true after a write, or fail."""
        async with asyncio.timeout(DEADLINE):
            while not holds():
                self._written.clear()
                await self._written.wait()


class Rig:
    """A hub over a store, without the methods and sessions above it."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self.store = store
        self.limits = limits
        self.view = View(store, limits)
        self.hub = Hub(self.view, limits)
        self._batches = 0

    async def __aenter__(self) -> Self:
        await self.store.open()
        await self.view.load()
        self.hub.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.hub.aclose()
        await self.view.aclose()
        await self.store.aclose()

    async def append(self, *events: dict[str, Any]) -> Appended:
        """Store events as one call, and wait until the view has them."""
        self._batches += 1
        appended = await self.store.append([[draft(event) for event in events]], str(self._batches))
        await self.view.fresh()
        return appended

    def join(self) -> tuple[RecordingTransport, Peer]:
        """Take in a connection."""
        transport = RecordingTransport()
        peer = self.hub.join(transport.outbox)
        transport.outbox.on_drained = lambda: self.hub.drained(peer)
        return transport, peer

    def subscribe(self, peer: Peer, value: Any, since: int | None = None) -> Subscription:
        """Subscribe from a place on, or from where the view is."""
        sub = self.hub.subscribe(peer, wanted(value))
        sub.cursor = self.view.position if since is None else since
        self.hub.activate(sub)
        return sub


def memory(**limits: Any) -> MemoryStore:
    """Return a memory store that is not open yet."""
    return MemoryStore("memory:", Stream("test", KEYS, Limits(**limits)))


def rig(store: Store | None = None, **limits: Any) -> Rig:
    """Return a rig; the limits are the view's and the hub's, a memory store has its own."""
    return Rig(store or memory(), Limits(**limits))


class ScriptedStore(Store):
    """A store that says what a test tells it to: for chains, faults and moments no real one has at will."""

    def __init__(self, chain: Chain, log: list[Entry]) -> None:
        self.chain = chain
        self.log = log
        self.floor = 1
        self.runs: asyncio.Queue[Run] = asyncio.Queue()
        self.failures: deque[BaseException] = deque()
        """Raised by the next reads, one each."""
        self.gate = asyncio.Event()
        """Reads wait for it."""
        self.gate.set()
        self.reads: list[str] = []

    @property
    def now(self) -> LogState:
        head = self.log[-1].seq if self.log else self.floor - 1
        return LogState(self.chain, head, self.floor)

    def fork(self, chain: Chain, kept: int) -> None:
        """Lose the entries after a place, and go on under another chain."""
        self.chain = chain
        self.log = [entry for entry in self.log if entry.seq <= kept]

    def add(self, *events: dict[str, Any]) -> list[Entry]:
        """Put events into the log; tails don't hear of it but by `say`."""
        head = self.now.head
        new = [entry(head + number, event) for number, event in enumerate(events, 1)]
        self.log += new
        return new

    def say(self, since: int, upto: int | None = None) -> None:
        """Let the tail yield what lies after a place."""
        upto = self.now.head if upto is None else upto
        entries = [entry for entry in self.log if since < entry.seq <= upto]
        self.runs.put_nowait(Run(self.now, since, entries, upto))

    async def _read(self, what: str) -> LogState:
        """Return the state as of the beginning: the answer may travel for a while."""
        self.reads.append(what)
        state = self.now
        await self.gate.wait()
        if self.failures:
            raise self.failures.popleft()
        return state

    async def open(self) -> LogState:
        return self.now

    async def aclose(self) -> None:
        """Nothing is open."""

    async def state(self) -> LogState:
        return await self._read("state")

    async def append(self, calls: Sequence[Sequence[Draft]], batch: str) -> Appended:
        raise NotImplementedError

    async def newest(self, wanted: Filter, bounds: Bounds, before: int | None = None) -> Page:
        log = self.log
        state = await self._read("newest")
        before = state.head + 1 if before is None else before
        found = [
            e for e in reversed(log) if self.floor <= e.seq < before and wanted.matches(e.terms)
        ]
        found = found[bounds.skip :]
        left = len(found) > bounds.limit
        found = found[: bounds.limit]
        return Page(state, found, found[-1].seq if left else None)

    async def after(self, since: int, wanted: Filter, bounds: Bounds) -> Run:
        log = self.log
        state = await self._read("after")
        found = [e for e in log if e.seq > since and wanted.matches(e.terms)]
        if len(found) > bounds.limit:
            found = found[: bounds.limit]
            return Run(state, since, found, found[-1].seq)
        return Run(state, since, found, state.head)

    async def tail(self, since: int, chain: Chain) -> AsyncGenerator[Run]:
        while True:
            yield await self.runs.get()

    def upkeep(self) -> Upkeep:
        raise NotImplementedError


class Client:
    """One peer of a worker: calls, and what comes back."""

    def __init__(self, worker: Worker) -> None:
        self.transport = RecordingTransport()
        self.reading: list[bool] = []
        self.ended: list[tuple[int, str]] = []
        """Codes and reasons with which the server closed the connection: one, if any."""
        self.session: Session = worker.session(
            self.transport.outbox, self.reading.append, self._end
        )
        self._number = 0
        self._calls: dict[Any, dict[str, Any]] = {}

    def _end(self, code: int, reason: str) -> None:
        self.ended.append((code, reason))
        self.session.close()

    def send(self, message: Any) -> None:
        """Send a message: bytes as they are, anything else as JSON."""
        self.session.receive(message if isinstance(message, bytes) else orjson.dumps(message))

    def ask(self, method: str, params: Any = None) -> str:
        """Send a call; return its id."""
        self._number += 1
        ident = f"call {self._number}"
        call = {"jsonrpc": "2.0", "id": ident, "method": method}
        self._calls[ident] = call if params is None else call | {"params": params}
        self.send(self._calls[ident])
        return ident

    def answers(self, ident: Any) -> list[Any]:
        """Return the answers to an id so far: there should be one."""
        batches = [m if isinstance(m, list) else [m] for m in self.transport.messages]
        parts = [part for batch in batches for part in batch]
        return [part for part in parts if "id" in part and part["id"] == ident]

    async def answer(self, ident: Any) -> Any:
        """Wait for the answer to an id; that of a call that was asked is as the documents say."""
        await self.transport.until(lambda: self.answers(ident))
        (answer,) = self.answers(ident)
        if ident in self._calls:
            check_answer(self._calls[ident], answer)
        return answer

    async def call(self, method: str, params: Any = None) -> Any:
        """Return the result of a call."""
        return (await self.answer(self.ask(method, params)))["result"]

    async def fail(self, method: str, params: Any = None) -> Any:
        """Return the error of a call."""
        return (await self.answer(self.ask(method, params)))["error"]

    async def reply(self, message: Any) -> Any:
        """Send a message and return the next that comes."""
        before = len(self.transport.messages)
        self.send(message)
        await self.transport.until(lambda: len(self.transport.messages) > before)
        return self.transport.messages[before]


@asynccontextmanager
async def serving(
    store: Store | None = None, keys: Keys = KEYS, guard: Guard | None = None, **limits: Any
) -> AsyncIterator[Worker]:
    """Open a worker, over a memory store if no other is given."""
    stream = Stream("test", keys, Limits(**limits))
    worker = Worker(store or MemoryStore("memory:", stream), stream, guard)
    await worker.open()
    try:
        yield worker
    finally:
        await worker.aclose()


def call(ident: Any, method: str = "ping", **params: Any) -> dict[str, Any]:
    """Return a call as JSON has it."""
    made = {"jsonrpc": "2.0", "id": ident, "method": method}
    return made | {"params": params} if params else made


def note(method: str, **params: Any) -> dict[str, Any]:
    """Return a notification as JSON has it."""
    return {"jsonrpc": "2.0", "method": method, "params": params}


class GatedStore(MemoryStore):
    """A memory store whose appends and states can be kept waiting."""

    def __init__(self, **limits: Any) -> None:
        super().__init__("memory:", Stream("test", KEYS, Limits(**limits)))
        self.appending = asyncio.Event()
        self.appending.set()
        self.stating = asyncio.Event()
        self.stating.set()

    async def append(self, calls: Sequence[Sequence[Draft]], batch: str) -> Appended:
        await self.appending.wait()
        return await super().append(calls, batch)

    async def state(self) -> LogState:
        await self.stating.wait()
        return await super().state()


def users(transport: RecordingTransport, number: int = 1) -> list[Any]:
    """Return the `user` of each event that came for a subscription."""
    return [event["user"] for event in transport.events(number)]


def scripted(number: int, **limits: Any) -> tuple[ScriptedStore, Rig]:
    """Return a store that does as it is told, with so many events, and a rig on it."""
    store = ScriptedStore(OLD, [])
    store.add(*[{"user": user} for user in range(1, number + 1)])
    return store, Rig(store, Limits(**limits))


async def position(r: Rig, seq: int) -> None:
    """Wait until the tail has brought a place, and what it brought has gone out."""
    async with asyncio.timeout(DEADLINE):
        while r.view.position != seq:
            await asyncio.sleep(0)
    await turns()
