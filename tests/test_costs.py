"""What things cost, counted: calls of the store, objects and bytes of a connection, encodings.

Beside it: tests/test_fanout.py counts the frames made for an entry, tests/test_hub.py the writes of a batch.
"""

import asyncio
import gc
import random
import socket
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import orjson
import pytest
import uvloop

import streamd.watch
from streamd.filters import Filter
from streamd.log import Draft, Entry, LogState, Page, Run
from streamd.stores.base import Appended, Bounds, Stream
from streamd.stores.memory import MemoryStore
from streamd.types import Seq
from streamd.window import Window
from streamd.worker import Worker
from tests.harness import Peer, running, upgrade
from tests.parts import KEYS, LIMITS, Client, call, draft, memory, rig, serving, turns

WINDOW = 200
EVENTS = 300
USERS = 10


class CountingStore(MemoryStore):
    """A memory store that counts what it is asked; its head can be kept waiting."""

    def __init__(self) -> None:
        super().__init__("memory:", Stream("test", KEYS, LIMITS))
        self.asked: Counter[str] = Counter()
        self.answers = asyncio.Event()
        """Reads of the head wait for it."""
        self.answers.set()

    async def state(self) -> LogState:
        self.asked["state"] += 1
        await self.answers.wait()
        return await super().state()

    async def append(self, calls: Sequence[Sequence[Draft]], batch: str) -> Appended:
        self.asked["append"] += 1
        return await super().append(calls, batch)

    async def newest(self, wanted: Filter, bounds: Bounds, before: Seq | None = None) -> Page:
        self.asked["newest"] += 1
        return await super().newest(wanted, bounds, before)

    async def after(self, since: Seq, wanted: Filter, bounds: Bounds) -> Run:
        self.asked["after"] += 1
        return await super().after(since, wanted, bounds)


class Served(NamedTuple):
    """A worker with some events, of which its window holds the newest; nothing is counted yet."""

    worker: Worker
    asked: Counter[str]
    store: CountingStore
    cursors: list[str]
    """Of all places, oldest first."""

    async def at_once(self, number: int, method: str, params: Any) -> list[Any]:
        """Let that many peers make the same call while a read of the head is under way."""
        self.store.answers.clear()
        peers = [Client(self.worker) for _ in range(number)]
        idents = [peer.ask(method, params) for peer in peers]
        await turns()
        self.store.answers.set()
        return [await peer.answer(ident) for peer, ident in zip(peers, idents, strict=True)]


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    # The worker looks at its store every second, however many peers there are: not while we count.
    monkeypatch.setattr(streamd.watch, "_LOOK", 3600.0)
    store = CountingStore()
    async with serving(store, window=WINDOW) as worker:
        events = [{"user": number % USERS} for number in range(EVENTS)]
        done = await Client(worker).call("insert_many", {"events": events})
        assert (await Client(worker).call("items"))[0] == events[-1], "the window has them"
        store.asked.clear()
        yield Served(worker, store.asked, store, [entry["cursor"] for entry in done["entries"]])


# Calls of the store.


@pytest.mark.parametrize("method", ["items", "history"])
async def test_a_query_that_the_window_answers_costs_one_read_of_the_head(
    served: Served, method: str
) -> None:
    found = await Client(served.worker).call(method, {"filter": {"user": [1, 2]}})
    assert len(found if method == "items" else found["entries"]) == 20
    assert served.asked == {"state": 1}


@pytest.mark.parametrize("method", ["items", "history"])
async def test_a_query_from_below_the_window_costs_one_read_more(
    served: Served, method: str
) -> None:
    size = {"end": 25} if method == "items" else {"limit": 25}
    found = await Client(served.worker).call(method, {"filter": {"user": 1}, **size})
    assert len(found if method == "items" else found["entries"]) == 25
    assert served.asked == {"state": 1, "newest": 1}


async def test_a_call_that_is_refused_costs_the_store_nothing(served: Served) -> None:
    for params in ({"filter": {"colour": 1}}, {"end": 5, "start": 6}, {"end": -1}, {"x": 1}):
        await Client(served.worker).fail("items", params)
    assert await Client(served.worker).call("items", {"end": 0}) == []
    assert served.asked == {}


@pytest.mark.parametrize("method", ["items", "history"])
async def test_a_hundred_queries_at_once_share_two_reads_of_the_head(
    served: Served, method: str
) -> None:
    answers = await served.at_once(100, method, {"filter": {"user": 3}})
    assert all("result" in answer for answer in answers)
    # The first is sent as soon as one asks; whoever comes after that shares the second.
    assert served.asked["state"] in (1, 2)
    assert served.asked.total() == served.asked["state"]


async def test_a_subscribe_that_the_window_answers_costs_no_call(served: Served) -> None:
    for backfill in (0, 20):
        await Client(served.worker).call("subscribe", {"filter": {"user": 1}, "backfill": backfill})
    assert served.asked == {}


async def test_a_push_costs_no_call_but_the_append(served: Served) -> None:
    readers = [Client(served.worker) for _ in range(50)]
    for number, reader in enumerate(readers):
        await reader.call("subscribe", {"filter": {"user": [number % 3, 77]}, "backfill": 0})
    for _ in range(20):
        await Client(served.worker).call("insert", {"event": {"user": 77}})
    for reader in readers:
        await reader.transport.until(lambda r=reader: len(r.transport.events()) == 20)
    assert served.asked == {"append": 20}


async def test_a_thousand_who_come_back_with_cursors_of_the_window_cost_no_call(
    served: Served,
) -> None:
    peers = [Client(served.worker) for _ in range(1_000)]
    for number, peer in enumerate(peers):
        after = served.cursors[-1 - number % WINDOW]
        peer.ask("subscribe", {"filter": {"user": number % USERS}, "after": after})
    for number, peer in enumerate(peers):
        missed = [n % USERS for n in range(EVENTS - number % WINDOW, EVENTS)].count(number % USERS)
        await peer.transport.until(lambda p=peer, m=missed: len(p.transport.events()) == m)
        assert (await peer.answer("call 1"))["result"]["resumed"] is True
    assert served.asked == {}


async def test_a_thousand_who_come_back_with_cursors_of_a_lost_log_share_two_reads(
    served: Served,
) -> None:
    other = memory()
    after = (await other.open()).chain.cursor(1)
    answers = await served.at_once(1_000, "subscribe", {"after": after, "backfill": 0})
    assert {answer["result"]["resumed"] for answer in answers} == {False}
    assert served.asked["state"] in (1, 2)
    assert served.asked.total() == served.asked["state"]


async def test_one_who_comes_back_from_below_the_window_costs_one_read(served: Served) -> None:
    peer = Client(served.worker)
    await peer.call("subscribe", {"filter": {"user": 1}, "after": served.cursors[50]})
    await peer.transport.until(lambda: peer.transport.sent("progress"))
    assert len(peer.transport.events()) == 25
    assert served.asked == {"after": 1}


async def test_inserts_that_wait_together_are_one_append(served: Served) -> None:
    peer = Client(served.worker)
    for number in range(100):
        peer.send(call(number, "insert", event={"user": number}))
    await peer.answer(99)
    assert served.asked == {"append": 1}


# Encodings.


class Codec(NamedTuple):
    """What was made JSON of, and how many texts were read, since the test began."""

    dumped: list[Any]
    loaded: list[bytes]


@pytest.fixture
def codec(monkeypatch: pytest.MonkeyPatch) -> Codec:
    counted = Codec([], [])
    dumps, loads = orjson.dumps, orjson.loads
    monkeypatch.setattr(orjson, "dumps", lambda v, *a, **k: counted.dumped.append(v) or dumps(v, *a, **k))  # fmt: skip
    monkeypatch.setattr(orjson, "loads", lambda text: counted.loaded.append(text) or loads(text))
    return counted


async def test_what_is_in_the_store_is_pushed_without_being_encoded_or_read(codec: Codec) -> None:
    async with rig() as r:
        readers = [r.join() for _ in range(50)]
        for number, (_, peer) in enumerate(readers):
            r.subscribe(peer, {"user": [1, number + 2]})
        drafts = [draft({"user": 1, "n": number}) for number in range(100)]
        codec.dumped.clear()
        for number, made in enumerate(drafts):
            await r.store.append([[made]], str(number))
            await r.view.fresh()
        await turns()
        assert codec == ([], [])
        assert {len(transport.events()) for transport, _ in readers} == {100}


async def test_an_event_is_read_once_and_encoded_once_on_its_whole_way(codec: Codec) -> None:
    async with serving() as worker:
        readers = [Client(worker) for _ in range(50)]
        for reader in readers:
            await reader.call("subscribe", {"filter": {"user": 1}, "backfill": 0})
        events = [{"user": 1, "n": number} for number in range(100)]
        messages = [orjson.dumps(call("x", "insert", event=event)) for event in events]
        codec.dumped.clear()
        codec.loaded.clear()
        for message in messages:
            readers[0].send(message)
            await turns()
        assert codec.loaded == messages
        assert [value for value in codec.dumped if value != "x"] == events
        assert {len(reader.transport.events()) for reader in readers} == {100}


# Idle connections, over real sockets.

IDLE = 200
"""Connections to count; as many before them make what is made once."""
FRIENDS = 200
PEOPLE = 2_000
"""Each is the friend of 20, like 100,000 are to 9,000 connections."""


class Held(NamedTuple):
    """What a process holds."""

    size: int
    """Bytes that its Python objects take."""
    tracked: int
    """Objects that the garbage collector looks at."""
    tasks: int
    timers: int
    """0 where the loop does not tell: uvloop."""


async def held() -> Held:
    await turns()
    gc.collect()
    timers = getattr(asyncio.get_running_loop(), "_scheduled", ())
    return Held(
        tracemalloc.get_traced_memory()[0],
        len(gc.get_objects()),
        len(asyncio.all_tasks()),
        sum(not timer.cancelled() for timer in timers),
    )


async def idle(hello: Callable[[Peer], Awaitable[object]]) -> Held:
    """Return what idle connections cost: bytes and objects of one, tasks and timers of all."""

    async def connect() -> socket.socket:
        """Return what keeps the connection open: of the peer nothing else is left."""
        sock = socket.create_connection((server.host, server.port))
        sock.setblocking(False)
        peer = Peer(sock)
        await peer.send(upgrade())
        assert (await peer.response()).status == 101
        await hello(peer)
        return sock

    async with running() as server:
        sockets = [await connect() for _ in range(IDLE)]
        before = await held()
        sockets += [await connect() for _ in range(IDLE)]
        after = await held()
        for sock in sockets:
            sock.close()
    size, tracked, tasks, timers = (b - a for a, b in zip(before, after, strict=True))
    return Held(size // IDLE, tracked // IDLE, tasks, timers)


@pytest.mark.parametrize("alike", [True, False], ids=["terms of all", "terms of its own"])
@pytest.mark.parametrize("tags", [0, 3, 64])
def test_what_a_window_counts_is_what_its_entries_take(tags: int, alike: bool) -> None:
    window, number = Window(), 2_000
    tracemalloc.start()
    try:
        for seq in range(1, number + 1):
            first = 0 if alike else seq * tags
            made = draft({"tags": [f"{first + tag:07}" for tag in range(tags)]})
            window.append(Entry(seq, seq << 32, made.terms, made.body))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.75 < window.size / taken < 1.25


def befriend() -> Callable[[Peer], Awaitable[object]]:
    """Return a way to subscribe to friends, others each time."""
    rng = random.Random(5)

    async def subscribe(peer: Peer) -> None:
        friends = rng.sample(range(PEOPLE), FRIENDS)
        await peer.call("subscribe", {"filter": {"user": friends}})

    return subscribe


LOOPS = pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


def cost(loop: Callable[[], asyncio.AbstractEventLoop], hello: Any) -> Held:
    tracemalloc.start()
    try:
        with asyncio.Runner(loop_factory=loop) as runner:
            return runner.run(idle(hello))
    finally:
        tracemalloc.stop()


@LOOPS
def test_an_idle_connection_is_small_and_has_no_task_and_no_timer(loop: Any) -> None:
    spent = cost(loop, lambda peer: peer.call("ping"))
    assert spent.size < 5_000
    assert spent.tracked <= 32
    assert (spent.tasks, spent.timers) == (0, 0)


@LOOPS
def test_a_subscription_to_200_friends_is_small_and_has_no_task_and_no_timer(loop: Any) -> None:
    spent = cost(loop, befriend())
    assert spent.size < 10_000
    assert spent.tracked <= 48
    assert (spent.tasks, spent.timers) == (0, 0)
