"""streamd.moving: a log is the same in another store, entry for entry, however often it was interrupted."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamd.cursor import Chain, parse_cursor
from streamd.errors import StoreUnavailable, UnknownOutcome, UpkeepError
from streamd.event import Keys
from streamd.filters import EVERYTHING, Filter
from streamd.limits import Limits
from streamd.log import Entry
from streamd.moving import Import, export_line
from streamd.stores.base import Store, Stream
from streamd.stores.memory import MemoryStore
from streamd.walk import Patience, Walk
from tests.services import RedisServer
from tests.stores.tampering import tamper_with
from tests.stores.worlds import (
    KEYS,
    LIMITS,
    STORES,
    Kind,
    Streams,
    draft,
    follow,
    numbered,
    places,
    put,
    put_one,
    read_all,
    wanted,
)

PATIENCE = Patience(0.5, lambda error: None, pause=0.01)
TIME = 1_442_016_000_000


async def exported(store: Store, what: Filter = EVERYTHING) -> list[bytes]:
    return [
        export_line(run.state.chain, entry)
        async for run in Walk(store, what, PATIENCE).runs()
        for entry in run.entries
    ]


def numbered_lines(lines: Sequence[bytes | None], first: int = 1) -> list[tuple[int, bytes | None]]:
    return list(enumerate(lines, first))


async def imported(store: Store, lines: Sequence[bytes | None], limits: Limits = LIMITS) -> Import:
    moving = Import(store, limits, PATIENCE)
    await moving.begin()
    await moving.load(numbered_lines(lines))
    await moving.finish()
    return moving


def line(time: Any = TIME, **event: Any) -> bytes:
    return orjson.dumps({"time": time, "event": event})


def contents(entries: Sequence[Entry]) -> list[tuple[int, tuple[str, ...], bytes]]:
    """What of entries does not depend on where they are."""
    return [(entry.time, entry.terms, entry.body) for entry in entries]


# Lines.


def test_a_line_has_the_cursor_the_time_and_the_event_as_it_is() -> None:
    chain = Chain("A" * 8, (("B" * 8, 4),))
    body = '{"b":"\u2028","a":1.50}'.encode()
    told = export_line(chain, Entry(4, TIME, (), body))
    assert told.endswith(b'"event":' + body + b"}\n")
    value = orjson.loads(told)
    assert list(value) == ["cursor", "time", "event"]
    assert value["time"] == TIME
    assert parse_cursor(value["cursor"], "cursor") == ("B" * 8, 4)


# There and back.


@pytest.fixture(params=STORES)
async def target(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Any]]:
    """Open further stores, of any kind, each on a stream of its own."""
    name = request.param
    kind = Kind(name, "memory:" if name == "memory" else request.getfixturevalue(f"{name}_url"))
    async with AsyncExitStack() as stack:

        async def open_one(**options: Any) -> Store:
            return await stack.enter_async_context(Streams(kind).new(**options))

        yield open_one


async def test_a_log_is_the_same_in_another_store(store: Store, target: Callable[..., Any]) -> None:
    odd = {"user": "Ünï:{}*\n\"' \u2028 x", "kind": True, "tags": ["b", 1.5, 1e22, -0.0]}
    await put(store, [draft(odd), draft({"n": 2**64 - 1}), draft({"n": -(2**63), "user": 2**63})])
    await put(store, numbered(range(2_500), kind="k", text="x" * 500))
    other = await target()
    moving = await imported(other, await exported(store))
    assert (moving.known, moving.stored) == (0, 2_503)
    assert await read_all(other) == await read_all(store)
    what = wanted({"user": [7, 2_000], "kind": "k"})
    assert await read_all(other, what) == await read_all(store, what)
    assert (await put_one(other, user=1)).seq == 2_504


async def test_what_a_filter_selects_or_retention_left_begins_at_one(
    open_new: Callable[..., Any], target: Callable[..., Any]
) -> None:
    store, other = await open_new(max_events=60), await target()
    await put(store, [draft({"user": n % 5, "kind": n}) for n in range(100)])
    lines = await exported(store, wanted({"user": [1, 3]}))
    await imported(other, lines)
    kept = await read_all(store, wanted({"user": [1, 3]}))
    assert contents(await read_all(other)) == contents(kept)
    assert places(await read_all(other)) == list(range(1, 25))


async def test_keys_may_change_on_the_way(store: Store, target: Callable[..., Any]) -> None:
    await put(store, [draft({"user": n, "page": {"name": n % 2}}) for n in range(10)])
    other = await target(keys=Keys.parse("name=page.name"))
    await imported(other, await exported(store))
    assert [entry.terms for entry in await read_all(other)] == [("name:0",), ("name:1",)] * 5
    odd = Filter(((frozenset({"name:1"}),),))
    assert places(await read_all(other, odd)) == [2, 4, 6, 8, 10]


async def test_who_follows_the_stream_gets_what_is_imported(store: Store) -> None:
    async with follow(store) as followed:
        lines = [line(TIME + n, user=n) for n in range(1_500)]
        await imported(store, lines)
        await followed.reach(1_500)
        assert followed.entries == await read_all(store)


async def test_nothing_is_imported_from_nothing(store: Store) -> None:
    moving = await imported(store, [])
    assert (moving.known, moving.stored) == (0, 0)


# Interrupted.


@pytest.mark.parametrize("reached", [1, 999, 1_000, 1_001, 2_499, 2_500])
async def test_an_interrupted_import_goes_on(store: Store, reached: int) -> None:
    lines = [line(TIME + n // 7, user=n, text="é" * n) for n in range(2_500)]
    await imported(store, lines[:reached])
    moving = await imported(store, lines)
    assert (moving.known, moving.stored) == (reached, 2_500 - reached)
    assert contents(await read_all(store)) == [
        (TIME + n // 7, (f"user:{n}",), orjson.dumps({"user": n, "text": "é" * n}))
        for n in range(2_500)
    ]


async def test_an_import_that_is_done_adds_nothing(store: Store) -> None:
    lines = [line(user=n) for n in range(10)]
    await imported(store, lines)
    before = await read_all(store)
    moving = await imported(store, lines)
    assert (moving.known, moving.stored) == (10, 0)
    assert await read_all(store) == before


@pytest.mark.parametrize(
    "last", [line(TIME + 1, user=2), line(user=3), line(user=2, x=1), line(TIME - 1, user=2)]
)
async def test_what_is_there_must_be_of_this_input(store: Store, last: bytes) -> None:
    await imported(store, [line(user=1), line(user=2)])
    before = await read_all(store)
    with pytest.raises(UpkeepError, match=r"not empty.* line 2: import into an empty stream"):
        await imported(store, [line(TIME - 1, user=1), last, line(TIME + 9, user=9)])
    assert await read_all(store) == before


async def test_an_input_that_is_shorter_than_the_stream_is_refused(store: Store) -> None:
    await imported(store, [line(user=n) for n in range(3)])
    with pytest.raises(UpkeepError, match=r"has 3 entries already, and the input only 2:"):
        await imported(store, [line(user=n) for n in range(2)])
    with pytest.raises(UpkeepError, match="the input only 0"):
        await imported(store, [])
    assert len(await read_all(store)) == 3


async def test_a_stream_whose_newest_entry_is_gone_is_refused(store: Store) -> None:
    lines = [line(user=n) for n in range(4)]
    await imported(store, lines[:3])
    await tamper_with(store).erase(3)
    with pytest.raises(UpkeepError, match="newest entry is gone"):
        await imported(store, lines)
    assert (await store.state()).head == 3


# Lines that are none.


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[1]", "not an object: a list"),
        (b"1e400", "not JSON"),
        (None, "too long"),
        (b'{"event":{}}', 'no "time"'),
        (b'{"time":%d}' % TIME, 'no "event"'),
        (line("1"), "a whole number of milliseconds, got a string"),
        (line(None), "got null"),
        (line(True), "got a boolean"),
        (line(TIME + 0.5), "got a number"),
        (b'{"time":1e3,"event":{}}', "got a number"),
        (line(-1), "since 1970"),
        (line(TIME * 1_000), "before the year 10000"),
        (b'{"time":99999999999999999999,"event":{}}', "a number out of range"),
        (line(TIME - 1), "before that of the line above"),
        (b'{"time":%d,"event":[]}' % TIME, "an event must be an object, got a list"),
        (line(user={"secret": 1}), "the value of key 'user' must be a string"),
        (line(text="secret" * 20_000), "event_bytes is limited to 65536, got 1"),
        (line(user="secret" * 100), "value_bytes is limited to 512, got 600"),
        (line(tags=list(range(65))), "event_terms is limited to 64, got 65"),
        (b'{"time":%d,"event":{"n":18446744073709551616}}' % TIME, "an integer outside"),
        (b'{"time":%d,"event":%b1%b}' % (TIME, b'{"a":' * 65, b"}" * 65), "nesting is limited"),
    ],
)
async def test_a_bad_line_ends_the_import_and_mended_it_goes_on(
    bad: bytes | None, reason: str
) -> None:
    stream = Stream("s", KEYS, LIMITS)
    good = [line(TIME, user=n) for n in range(7)]
    async with MemoryStore("memory:", stream) as store:
        with pytest.raises(UpkeepError) as refused:
            await imported(store, [*good[:5], bad, *good[5:]])
        assert str(refused.value).startswith("line 6: ")
        assert reason in str(refused.value)
        assert "secret" not in str(refused.value)
        assert (await store.state()).head == 5
        moving = await imported(store, good)
        assert (moving.known, moving.stored) == (5, 2)


async def test_limits_are_those_that_are_given(store: Store) -> None:
    await imported(store, [line(text="x" * 100_000)], Limits(event_bytes=200_000))
    with pytest.raises(UpkeepError, match="event_bytes is limited to 10, got"):
        await imported(store, [line(text="x" * 100_000)] * 2, Limits(event_bytes=10))


async def test_other_members_of_a_line_are_passed_over(store: Store) -> None:
    await imported(store, [b' {"cursor":7,"event":{"user": 1},"more":[],"time":5} '])
    ((time, terms, body),) = contents(await read_all(store))
    assert (time, terms, body) == (5, ("user:1",), b'{"user":1}')


# With others, and with a store that fails.


async def test_a_stream_that_somebody_else_writes_into_is_refused(store: Store) -> None:
    moving = Import(store, LIMITS, PATIENCE)
    await moving.begin()
    await moving.load(numbered_lines([line(user=n) for n in range(1_500)]))
    assert moving.stored == 1_000
    await put_one(store, user="other")
    with pytest.raises(UpkeepError, match=r"somebody else .* behind entry 1,000: "):
        await moving.finish()
    assert (await store.state()).head == 1_001
    with pytest.raises(UpkeepError, match="not that of line 1001"):
        await imported(store, [line(user=n) for n in range(1_500)])


@pytest.mark.redis
async def test_a_store_that_lost_entries_is_told_of_and_goes_on_with_the_rest(
    new_redis: Callable[..., RedisServer],
) -> None:
    server = new_redis()
    async with Streams(Kind("redis", server.url)).new() as store:
        lines = [line(user=n) for n in range(2_500)]
        moving = Import(store, LIMITS, PATIENCE)
        await moving.begin()
        await moving.load(numbered_lines(lines[:1_500]))
        server.client.flushall()
        with pytest.raises(UpkeepError, match=r"has lost entries .* goes on behind those"):
            await moving.load(numbered_lines(lines[1_500:], 1_501))
        moving = await imported(store, lines)
        assert (moving.known, moving.stored) == (0, 2_500)
        assert len(await read_all(store)) == 2_500


class Faulty(MemoryStore):
    """A memory store that fails again and again, before or after what it was to do."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("memory:", Stream("s", KEYS, LIMITS))
        self.faults = faults

    def restore(self, entries: Sequence[Entry]) -> bool:
        fault = self.faults.pop() if self.faults else "none"
        if fault == "unavailable":
            raise StoreUnavailable
        if fault == "lost":
            raise UnknownOutcome
        stored = super().restore(entries)
        if fault == "silent":
            raise UnknownOutcome
        return stored


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    faults=st.lists(st.sampled_from(["unavailable", "lost", "silent", "none"]), max_size=12),
    count=st.integers(0, 3_500),
)
async def test_whatever_the_store_fails_at_each_line_is_there_once(
    faults: list[str], count: int
) -> None:
    store = Faulty(faults)
    patience = Patience(5.0, lambda error: None, pause=0.0)
    moving = Import(store, LIMITS, patience)
    await moving.begin()
    await moving.load(numbered_lines([line(TIME + n, user=n) for n in range(count)]))
    await moving.finish()
    assert moving.stored == count
    assert [entry.time - TIME for entry in await read_all(store)] == list(range(count))


@pytest.mark.parametrize(("fault", "stored"), [("lost", 0), ("silent", 10)])
async def test_an_import_that_gives_up_says_that_it_can_go_on(fault: str, stored: int) -> None:
    store = Faulty([fault] * 1_000)
    lines = [line(user=n) for n in range(10)]
    with pytest.raises(UpkeepError, match="it goes on where it stopped"):
        await imported(store, lines)
    store.faults = []
    moving = await imported(store, lines)
    assert (moving.known, moving.stored) == (stored, 10 - stored)


async def test_batches_are_bounded_by_number_and_size() -> None:
    sizes: list[tuple[int, int]] = []

    class Measured(MemoryStore):
        def restore(self, entries: Sequence[Entry]) -> bool:
            sizes.append((len(entries), sum(len(entry.body) for entry in entries)))
            return super().restore(entries)

    store = Measured("memory:", Stream("s", KEYS, LIMITS))
    await imported(store, [line(user=n) for n in range(2_100)])
    assert [number for number, _ in sizes] == [1_000, 1_000, 100]
    sizes.clear()
    store = Measured("memory:", Stream("s", KEYS, LIMITS))
    await imported(store, [line(text="x" * 60_000)] * 300)
    assert len(sizes) == 3
    assert max(size for _, size in sizes) < (8 << 20) + 65_536
