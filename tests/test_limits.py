"""streamd.limits: each limit at its value and one over."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from streamd.access import parse_grants
from streamd.errors import LimitExceeded, StartupError, StoreUnavailable
from streamd.event import Keys
from streamd.filters import EVERYTHING
from streamd.limits import Limits
from streamd.stores.base import Stream
from streamd.stores.memory import MemoryStore
from streamd.view import View
from tests.harness import (
    CONT,
    TEXT,
    Peer,
    call,
    deflate,
    frame,
    get,
    post,
    running,
    until,
    upgrade,
    websocket,
)
from tests.keys import SECRET, token
from tests.parts import KEYS, PLENTY, Client, draft, serving
from tests.test_guard import ALL, world
from tests.transports.test_keepalive import Connection

Call = tuple[str, Any]


@dataclass(frozen=True)
class Case:
    """Calls that are just within a limit, and one that is one over."""

    value: int
    within: list[Call]
    over: Call
    settings: dict[str, Any] = field(default_factory=dict)
    got: int | None = None
    """What the error says was given: one more than the limit, if nothing else."""


def event(size: int) -> dict[str, str]:
    """Return an event that takes so many bytes as JSON."""
    return {"x": "y" * (size - len(orjson.dumps({"x": ""})))}


ONE = ("insert", {"event": event(100)})

CALLS = {
    "event_bytes": Case(100, [("insert", {"event": event(100)})], ("insert", {"event": event(101)})),
    "nesting": Case(
        4, [("insert", {"event": {"a": [[{}]]}})], ("insert", {"event": {"a": [[{"b": []}]]}})
    ),
    "event_terms": Case(
        4,
        [("insert", {"event": {"user": 1, "tags": [1, 2, 3, 3, None]}})],
        ("insert", {"event": {"user": 1, "tags": [1, 2, 3, 4]}}),
    ),
    "value_bytes": Case(
        6, [("insert", {"event": {"user": "éé12"}})], ("insert", {"event": {"user": "ééé1"}})
    ),
    "insert_id_bytes": Case(
        4, [("insert", {"event": {}, "id": "éé"})], ("insert", {"event": {}, "id": "éé1"})
    ),
    "insert_many": Case(
        3, [("insert_many", {"events": [{}] * 3})], ("insert_many", {"events": [{}] * 4})
    ),
    "filter_values": Case(
        3,
        [("items", {"filter": {"user": [1, 2], "kind": "a"}})],
        ("items", {"filter": {"user": [1, 2, 3], "kind": "a"}}),
    ),
    "connection_filter_values": Case(
        5,
        [("subscribe", {"filter": {"user": [1, 2, 3]}}), ("subscribe", {"filter": {"user": [1, 2]}})],
        ("subscribe", {"filter": {"kind": "a"}}),
    ),
    "subscriptions": Case(2, [("subscribe", {}), ("subscribe", {})], ("subscribe", {})),
    "backfill": Case(3, [("subscribe", {"backfill": 3})], ("subscribe", {"backfill": 4})),
    "limit": Case(3, [("history", {"limit": 3})], ("history", {"limit": 4})),
    "slice": Case(
        3, [("items", {"start": 7, "end": 10})], ("items", {"start": 7, "end": 11})
    ),
    "end": Case(9, [("items", {"start": 1, "end": 9})], ("items", {"start": 1, "end": 10})),
    "answer_bytes": Case(
        # {"jsonrpc":"2.0","result":[…],"id":"call 3"} around three events
        3 * 100 + 2 + len(b'{"jsonrpc":"2.0","result":[],"id":"call 4"}'),
        [ONE, ONE, ONE, ("items", {"end": 3})],
        ("items", {"end": 30}),
        got=-1,
    ),
    "query_work": Case(
        3,
        [
            *[("insert", {"event": {"user": n % 2, "kind": "a"}}) for n in range(6)],
            ("items", {"filter": {"user": [0, 2], "kind": ["b", "c"]}}),
            ("items", {"filter": {"user": 1, "kind": "a"}, "end": 3}),
        ],
        ("items", {"filter": {"user": [0, 1], "kind": ["a", "b"]}, "end": 4}),
    ),
}  # fmt: skip
"""The limits that an answer tells of."""


async def batches() -> None:
    ping = {"jsonrpc": "2.0", "method": "ping", "id": 1}
    async with serving(batch=3) as worker:
        client = Client(worker)
        assert len(await client.reply([ping] * 3)) == 3
        answer = await client.reply([ping] * 4)
        assert answer["id"] is None
        assert answer["error"]["data"] == {"limit": "batch", "max": 3, "got": 4}


async def keys() -> None:
    assert len(Keys.parse("a,b", Limits(keys=2))) == 2
    with pytest.raises(StartupError):
        Keys.parse("a,b,c", Limits(keys=2))


async def calls_in_flight() -> None:
    gate = asyncio.Event()

    class Slow(MemoryStore):
        async def append(self, *args: Any) -> Any:
            await gate.wait()
            return await super().append(*args)

    async with serving(
        Slow("memory:", Stream("test", KEYS, Limits())), calls_in_flight=3
    ) as worker:
        client = Client(worker)
        asked = [client.ask("insert", {"event": {}}) for _ in range(3)]
        assert client.reading == []
        asked.append(client.ask("insert", {"event": {}}))
        assert client.reading == [False]
        assert client.session.in_flight == 3
        gate.set()
        for ident in asked:
            assert "result" in await client.answer(ident)


async def at_a_rate(name: str, calls: list[Call], over: Call) -> None:
    """See that what a rate allows within a burst is done, and the next is not: three in 1,000 s."""
    async with serving(**{name: 0.003}, burst=1_000) as worker:
        for client in (Client(worker), Client(worker)):
            for call in calls:
                await client.call(*call)
            error = await client.fail(*over)
            assert error["code"] == -32005
            assert 300_000 < error["data"].pop("retry_after_ms") <= 1_000_000
            assert error["data"] == {"limit": name, "max": 0.003}
            assert client.ended == []


INSERT: Call = ("insert", {"event": {}})


async def calls_per_second() -> None:
    await at_a_rate("calls_per_second", [INSERT, ("ping", None), INSERT], ("info", None))


async def events_per_second() -> None:
    two: Call = ("insert_many", {"events": [{}, {}]})
    await at_a_rate("events_per_second", [two, ("ping", None), INSERT], INSERT)
    await at_a_rate("events_per_second", [INSERT, INSERT], two)


async def burst() -> None:
    for seconds, number in ((1, 1), (1_000, 3), (2_000, 6)):
        async with serving(calls_per_second=0.003, burst=seconds) as worker:
            client = Client(worker)
            for _ in range(number):
                await client.call("ping")
            await client.fail("ping")


async def refusals() -> None:
    async with serving(calls_per_second=0.001, burst=1_000, refusals=3) as worker:
        client = Client(worker)
        await client.call("ping")
        for _ in range(3):
            assert (await client.fail("ping"))["code"] == -32005
        assert client.ended == []
        assert (await client.fail("ping"))["code"] == -32005
        assert client.ended == [(4029, "too many calls")]


async def places(name: str) -> None:
    """See that two connections are let in and a third is not, but is when another has left."""
    async with running(**{name: 2}) as server:
        census = server.application.gate.census
        async with websocket(server), websocket(server):
            async with Peer.connect(server) as third:
                await third.send(upgrade())
                response = await third.response()
                assert response.status == {"connections": 503}.get(name, 429)
                assert int(response.headers["retry-after"]) > 0
        await until(lambda: census.connections == 0)
        async with websocket(server) as another:
            assert (await another.call("info"))["limits"][name] == 2


async def connections() -> None:
    await places("connections")


async def address_connections() -> None:
    await places("address_connections")


async def connects_per_second() -> None:
    async with running(connects_per_second=0.003, burst=1_000) as server:
        for _ in range(3):
            async with websocket(server):
                pass
        async with Peer.connect(server) as peer:
            await peer.send(upgrade())
            response = await peer.response()
            assert response.status == 429
            assert 300 < int(response.headers["retry-after"]) <= 334


async def outbox_bytes() -> None:
    async with running(outbox_bytes=100_000) as server:
        keepalive = server.application.gate.keepalive
        async with websocket(server, receive_buffer=4096) as peer, websocket(server) as other:
            await peer.call("subscribe")
            connection = next(each for each in keepalive if each.number == 1)
            most = 0
            for _ in range(200):
                await other.call("insert_many", {"events": [event(1_000)] * 20})
                most = max(most, connection._transport.get_write_buffer_size())
            assert 25_000 < most <= 100_000
            received = 0
            while received < 4_000:
                received += (await peer.message())["method"] == "event"


async def windows(**limits: Any) -> View:
    async with MemoryStore("memory:", Stream("test", KEYS, Limits())) as store:
        view = View(store, Limits(**limits))
        await view.load()
        tail = view.follow()
        for number in range(10):
            await store.append([[draft({"user": number, "text": "x" * 500})]], str(number))
            view.advance(await anext(tail))
        await tail.aclose()
        page = await view.newest(EVERYTHING, PLENTY)
        assert len(page.entries) == 10, "the store has what the window has not"
        return view


async def window() -> None:
    assert len((await windows(window=4)).window) == 4
    assert len((await windows(window=10)).window) == 10


async def window_bytes() -> None:
    size = (await windows()).window.size
    assert len((await windows(window_bytes=size)).window) == 10
    assert len((await windows(window_bytes=size - 1)).window) == 9


async def max_events() -> None:
    limits = Limits(max_events=3)
    async with MemoryStore("memory:", Stream("test", KEYS, limits)) as store:
        for number in range(4):
            await store.append([[draft({"user": number})]], str(number))
            state = await store.state()
            assert state.head - state.floor + 1 == min(number + 1, 3)


async def store_deadline() -> None:
    class Deaf(MemoryStore):
        heard = True

        async def state(self) -> Any:
            if not self.heard:
                await asyncio.Event().wait()
            return await super().state()

    async with Deaf("memory:", Stream("test", KEYS, Limits())) as store:
        view = View(store, Limits(store_deadline=0.01))
        await view.load()
        store.heard = False
        with pytest.raises(StoreUnavailable):
            await view.fresh()
        await view.aclose()


async def message_bytes() -> None:
    limit = 1_000
    async with running(message_bytes=limit, compression=True) as server:
        for size in (limit, limit + 1):
            text = call("ping").ljust(size)
            first, *others = (bytes([byte]) for byte in text)
            pieces = [frame(TEXT, first, fin=False)]
            pieces += [frame(CONT, each, fin=False) for each in others]
            pieces.append(frame(CONT))
            for frames in (
                frame(TEXT, text),
                frame(TEXT, deflate(text), reserved=4),
                b"".join(pieces),
            ):
                async with websocket(server) as peer:
                    await peer.send(frames)
                    if size > limit:
                        assert await peer.close_code() == 1009
                    else:
                        assert (await peer.message())["result"] == "pong"
            chunked = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
            for request in (post(text), chunked + b"%x\r\n%b\r\n0\r\n\r\n" % (size, text)):
                async with Peer.connect(server) as peer:
                    await peer.send(request)
                    response = await peer.response()
                    assert response.status == (413 if size > limit else 200)
        data = response.json["error"]["data"]
        assert data == {"limit": "message_bytes", "max": limit, "got": limit + 1}


async def grants() -> None:
    for limit in (2, 3):
        for name in ("read", "write"):
            parse_grants({name: [{}] * limit}, KEYS, Limits(grants=limit))
            with pytest.raises(LimitExceeded) as caught:
                parse_grants({name: [{}] * (limit + 1)}, KEYS, Limits(grants=limit))
            assert caught.value.data == {"limit": "grants", "max": limit, "got": limit + 1}


async def token_bytes() -> None:
    made = token(ALL)
    for limit, code in ((len(made), None), (len(made) - 1, 4501)):
        async with running(token_secret=SECRET, token_bytes=limit) as server:
            async with websocket(server) as peer:
                await peer.send(frame(TEXT, call("authenticate", {"token": made})))
                answer = await peer.message()
                if code is None:
                    assert "result" in answer
                else:
                    assert str(limit) in answer["error"]["message"]
                    assert await peer.close_code() == code


async def authenticate_deadline() -> None:
    for seconds in (3, 20):
        async with world(authenticate_deadline=seconds) as w:
            late = w.client()
            w.pass_(seconds - 0.001)
            assert late.ended == []
            w.pass_(0.001)
            assert late.ended == [(4508, "no token in time")]


async def subject_connections() -> None:
    for limit in (1, 3):
        async with world(subject_connections=limit) as w:
            clients = [await w.known() for _ in range(limit)]
            other = w.client()
            error = await other.fail("authenticate", {"token": w.token()})
            data = {"limit": "subject_connections", "max": limit, "got": limit + 1}
            assert (error["code"], error["data"]) == (-32004, data)
            assert [code for code, _ in other.ended] == [4029]
            clients[0].session.close()
            assert (await w.known()).ended == []


async def header_bytes() -> None:
    for limit in (1_000, 3_000):
        async with running(header_bytes=limit) as server:
            for size, status in ((limit, 200), (limit + 1, 431)):
                async with Peer.connect(server) as peer:
                    await peer.send(get("/", "X: " + "y" * (size - len(get("/", "X: ")))))
                    assert (await peer.response()).status == status


async def header_deadline() -> None:
    async with running(header_deadline=0.6) as server, Peer.connect(server) as peer:
        clock = asyncio.get_running_loop().time
        began = clock()
        await peer.send(get()[:-2])
        assert (await peer.response()).status == 408
        assert 0.5 < clock() - began < 5


async def drain() -> None:
    for seconds in (0.3, 0.9):
        async with running(drain=seconds) as server, Peer.connect(server) as peer:
            gate = server.application.gate
            await peer.send(post(b"", length=100))  # Its body never comes.
            await until(lambda gate=gate: any(each.cycle for each in gate._others()))
            clock = asyncio.get_running_loop().time
            began = clock()
            gate.shutdown()
            await peer.rest()
            assert seconds - 0.05 < clock() - began < seconds + 5


def ticks(limits: Limits, backlog: int = 0) -> int:
    """Return for how many ticks after its ping a silent peer is not cut."""
    peer = Connection(limits)
    peer.backlog = backlog
    peer.turn_to_ping()
    count = 0
    while not peer.ended:
        peer.turn(1)
        count += 1
    return count


async def ping() -> None:
    for seconds in (11, 40):
        peer = Connection(Limits(ping=seconds))
        for _ in range(3):
            peer.turn_to_ping()
            peer.heard = peer.wheel.now
        assert peer.pings[2] - peer.pings[1] == seconds


async def pong() -> None:
    assert [ticks(Limits(pong=seconds)) for seconds in (9, 12)] == [9, 12]


async def write_deadline() -> None:
    waits = [ticks(Limits(write_deadline=seconds), backlog=100) for seconds in (30, 70)]
    assert waits == [8 + 30, 8 + 70]


async def max_age() -> None:
    now, looks = 1_000.0, 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return now

    stream = Stream("test", KEYS, Limits(max_age=0.05))
    async with MemoryStore("memory:", stream, clock=clock) as store:
        await store.append([[draft({"user": 1})]], "1")
        now += 0.05
        seen = looks
        await until(lambda: looks > seen + 2)
        assert (await store.state()).floor == 1
        now += 0.002  # One and what a float rounds off: times are in whole milliseconds.
        seen = looks
        await until(lambda: looks > seen + 2)
        assert (await store.state()).floor == 2


async def insert_id_lifetime() -> None:
    now = 1_000.0
    stream = Stream("test", KEYS, Limits(insert_id_lifetime=7))
    async with MemoryStore("memory:", stream, timer=lambda: now) as store:
        duplicates = []
        for number, seconds in enumerate((0, 6.999, 0.001)):
            now += seconds
            appended = await store.append([[draft({}, "id")]], str(number))
            duplicates += [verdict[0].duplicate for verdict in appended.verdicts]
        assert duplicates == [False, True, False]


OTHERWISE: dict[str, Callable[[], Awaitable[None]]] = {
    "batch": batches,
    "keys": keys,
    "calls_in_flight": calls_in_flight,
    "connections": connections,
    "address_connections": address_connections,
    "connects_per_second": connects_per_second,
    "calls_per_second": calls_per_second,
    "events_per_second": events_per_second,
    "burst": burst,
    "refusals": refusals,
    "outbox_bytes": outbox_bytes,
    "window": window,
    "window_bytes": window_bytes,
    "max_events": max_events,
    "store_deadline": store_deadline,
    "message_bytes": message_bytes,
    "grants": grants,
    "token_bytes": token_bytes,
    "authenticate_deadline": authenticate_deadline,
    "subject_connections": subject_connections,
    "header_bytes": header_bytes,
    "header_deadline": header_deadline,
    "drain": drain,
    "ping": ping,
    "pong": pong,
    "write_deadline": write_deadline,
    "max_age": max_age,
    "insert_id_lifetime": insert_id_lifetime,
}
"""The limits that show in another way."""

NAMES = {field.name for field in dataclasses.fields(Limits)}


def test_every_limit_has_its_test() -> None:
    assert sorted([*CALLS, *OTHERWISE]) == sorted(NAMES)


@pytest.mark.parametrize("name", CALLS)
async def test_at_its_value_a_limit_is_kept_and_one_over_is_said(name: str) -> None:
    case = CALLS[name]
    async with serving(**{name: case.value}, **case.settings) as worker:
        client = Client(worker)
        for method, params in case.within:
            answer = await client.answer(client.ask(method, params))
            assert "result" in answer, answer
        if name == "answer_bytes":
            await client.call(*ONE)
        before = client.session.peer.last_number
        error = await client.fail(*case.over)
        assert error["code"] == -32004
        data = error["data"]
        assert (data["limit"], data["max"]) == (name, case.value)
        if case.got is None:
            assert data["got"] == case.value + 1
        assert data["got"] > data["max"]
        assert await client.call("ping") == "pong"
        assert client.session.peer.last_number in (before, before + 1)


@pytest.mark.parametrize("name", OTHERWISE)
async def test_a_limit_shows(name: str) -> None:
    await OTHERWISE[name]()


def test_every_limit_is_explained_and_shown_by_its_name() -> None:
    for each in dataclasses.fields(Limits):
        assert each.metadata["help"]
    assert set(Limits().to_json()) == NAMES
    assert orjson.loads(orjson.dumps(Limits().to_json()))["filter_values"] == 10_000


def test_the_defaults_are_those_of_the_documents() -> None:
    assert Limits().to_json() == {
        "message_bytes": 1 << 20, "event_bytes": 64 << 10, "nesting": 64, "keys": 16, "event_terms": 64,
        "value_bytes": 512, "insert_id_bytes": 128, "grants": 64, "insert_many": 1_000, "batch": 100, "filter_values": 10_000,
        "connection_filter_values": 20_000, "subscriptions": 100, "backfill": 1_000, "limit": 1_000, "slice": 1_000,
        "end": 10_000, "answer_bytes": 4 << 20, "query_work": 200_000, "calls_in_flight": 128, "connections": 50_000,
        "address_connections": None, "subject_connections": None, "connects_per_second": None, "calls_per_second": None, "events_per_second": None, "burst": 10.0,
        "refusals": 1_000, "window": 100_000,
        "window_bytes": 256 << 20, "outbox_bytes": 256 << 10, "max_events": None, "max_age": None, "drain": 15.0,
        "write_deadline": 60.0, "ping": 25.0, "pong": 8.0, "token_bytes": 8 << 10,
        "authenticate_deadline": 10.0, "header_bytes": 16 << 10, "header_deadline": 10.0,
        "store_deadline": 5.0, "insert_id_lifetime": 600.0,
    }  # fmt: skip


@pytest.mark.parametrize("got", [0, 99, 100])
def test_check_lets_the_limit_itself_pass(got: int) -> None:
    Limits().check("batch", got)


def test_check_raises_one_over() -> None:
    with pytest.raises(LimitExceeded) as caught:
        Limits().check("batch", 101)
    assert caught.value.data == {"limit": "batch", "max": 100, "got": 101}


def test_no_limit_is_none() -> None:
    Limits().check("max_events", 10**12)
