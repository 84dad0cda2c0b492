"""streamd.stores.sql: what both of its databases have in common, and is not seen from outside."""

import re
import secrets
from collections.abc import AsyncIterator
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text

from streamd.errors import StartupError, StoreUnavailable
from streamd.filters import EVERYTHING, Filter
from streamd.stores import open_store
from streamd.stores.base import Bounds, Stream
from streamd.stores.failure import Failure
from streamd.stores.sql import schema
from streamd.stores.sql.merging import Merge
from streamd.stores.sql.sqlite import SqliteDialect
from streamd.stores.sql.store import SqlStore
from tests.services import PostgresServer
from tests.stores.worlds import (
    KEYS,
    LIMITS,
    PLENTY,
    POSTGRES,
    SQLITE,
    Kind,
    Streams,
    draft,
    eventually,
    follow,
    places,
    put,
    read_all,
    wanted,
)

SQL = [SQLITE, POSTGRES]


@pytest.fixture
def streams(kind: Kind) -> Streams:
    return Streams(kind)


@pytest.fixture
async def store(streams: Streams) -> AsyncIterator[SqlStore]:
    async with streams.new() as opened:
        assert isinstance(opened, SqlStore)
        yield opened


@pytest.fixture
def database(kind: Kind, request: pytest.FixtureRequest) -> Kind:
    """A database that no other test has."""
    if kind.name == "sqlite":
        return kind
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return Kind(kind.name, server.new_database("d" + secrets.token_hex(6)))


# Merging.


class Lists:
    """Posting lists, and how much of them was read."""

    def __init__(self, lists: dict[str, list[int]], sign: int) -> None:
        self.lists = lists
        self.sign = sign
        self.rows = 0
        self.most = 0
        """Rows of one read, at most."""

    async def read(self, lists: list[tuple[str, int]], count: int) -> dict[str, list[int]]:
        assert len(dict(lists)) == len(lists) > 0
        assert count > 0
        found = {}
        for term, start in lists:
            ahead = [seq for seq in self.lists[term] if (seq - start) * self.sign > 0]
            found[term] = sorted(ahead, key=lambda seq: seq * self.sign)[:count]
            self.rows += len(found[term])
        self.most = max(self.most, sum(map(len, found.values())))
        return {term: seqs for term, seqs in found.items() if seqs}


@settings(deadline=None, max_examples=300)
@given(
    lists=st.dictionaries(
        st.text("ab", min_size=1, max_size=4), st.lists(st.integers(1, 60), unique=True), max_size=8
    ),
    sign=st.sampled_from([-1, 1]),
    start=st.integers(0, 61),
    counts=st.lists(st.integers(1, 25), min_size=1, max_size=6),
    estimated=st.booleans(),
    split=st.integers(0, 8),
)
async def test_a_merge_is_the_union_in_order(
    lists: dict[str, list[int]],
    sign: int,
    start: int,
    counts: list[int],
    estimated: bool,
    split: int,
) -> None:
    source, terms = Lists(lists, sign), list(lists)
    parts = [Merge(source.read, some, start, sign) for some in (terms[:split], terms[split:])]
    if estimated:
        for part in parts:
            assert await part.estimate(60) >= 0
    merge = Merge(source.read, (), start, sign).join(parts)
    union = {seq for seqs in lists.values() for seq in seqs if (seq - start) * sign > 0}
    expected = sorted(union, key=lambda seq: seq * sign)
    for count in counts:
        taken, expected = expected[:count], expected[count:]
        assert await merge.take(count) == taken


async def test_a_merge_reads_little_of_long_lists() -> None:
    lists = {f"u{n}": list(range(n, 100_000, 500)) for n in range(500)}
    source = Lists(lists, -1)
    merge = Merge(source.read, lists, 100_000, -1)
    assert await merge.take(20) == list(range(99_999, 99_979, -1))
    assert source.rows < 1_000


async def test_a_merge_reads_a_bounded_part_at_a_time() -> None:
    # Every entry is in twenty of a thousand lists.
    lists: dict[str, list[int]] = {f"u{n}": [] for n in range(1_000)}
    for seq in range(1, 5_001):
        for step in range(20):
            lists[f"u{(seq * 7 + step * 50) % 1_000}"].append(seq)
    source = Lists(lists, -1)
    merge = Merge(source.read, lists, 5_001, -1)
    expected = list(range(5_000, 0, -1))
    for first in range(0, 3_000, 1_000):
        assert await merge.take(1_000) == expected[first : first + 1_000]
    assert source.most <= 4_000
    assert source.rows <= 3_000 * 20 * 2


async def test_an_estimate_tells_rare_from_frequent() -> None:
    source = Lists({"rare": list(range(1, 100_000, 1_000)), "frequent": list(range(100_000))}, -1)
    rare, frequent = (Merge(source.read, [term], 100_000, -1) for term in source.lists)
    assert await rare.estimate(100_000) == pytest.approx(100, rel=0.3)
    assert await frequent.estimate(100_000) == pytest.approx(100_000, rel=0.3)


# Plans.


class Explained:
    """Record what a store asks its database, and let that explain how it finds the answer."""

    def __init__(self, store: SqlStore) -> None:
        self._engine = store._access.engine
        self._postgres = store._access.dialect.name == "PostgreSQL"
        self.asked: list[tuple[str, Any]] = []

    def __enter__(self) -> Self:
        event.listen(self._engine.sync_engine, "before_cursor_execute", self._record)
        return self

    def __exit__(self, *exc: object) -> None:
        event.remove(self._engine.sync_engine, "before_cursor_execute", self._record)

    def _record(self, c: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "streamd_log" in statement or "streamd_index" in statement:
            self.asked.append((statement, parameters))

    async def plans(self) -> AsyncIterator[str]:
        """Yield the plan of each statement, in PostgreSQL also the one it has for any parameters."""
        async with self._engine.connect() as connection:
            await connection.exec_driver_sql("ANALYZE")
            explain = "EXPLAIN" if self._postgres else "EXPLAIN QUERY PLAN"
            for mode in ("force_custom_plan", "force_generic_plan"):
                if self._postgres:
                    await connection.exec_driver_sql(f"SET plan_cache_mode = {mode}")
                for statement, parameters in self.asked:
                    rows = await connection.exec_driver_sql(f"{explain} {statement}", parameters)
                    yield "\n".join(str(row[-1]) for row in rows)


_HISTORY = re.compile(
    r"SCAN streamd_|USE TEMP B-TREE"  # SQLite: a whole table, a sort
    r"|Seq Scan on streamd_(?:log|index)|(?<!Merge )Sort(?! Key| Method)"
)
"""Words of a plan that reads or sorts what is in the log."""


@pytest.mark.parametrize("kind", SQL, indirect=True)
@pytest.mark.parametrize("what", [{}, {"user": list(range(500))}, {"user": [1, 2], "kind": 1}])
async def test_no_read_scans_or_sorts_the_history(store: SqlStore, what: dict[str, Any]) -> None:
    for start in range(0, 20_000, 2_000):
        numbers = range(start, start + 2_000)
        await put(store, [draft({"user": n % 2_000, "kind": n % 5}) for n in numbers])
    asked = Bounds(limit=5, work=200_000, size=1 << 20, skip=3)
    with Explained(store) as explained:
        assert len((await store.newest(wanted(what), asked)).entries) == 5
        assert len((await store.newest(wanted(what), asked, 15_000)).entries) == 5
        assert len((await store.after(1_000, wanted(what), asked)).entries) == 5
    assert len(explained.asked) >= 3
    seen = 0
    async for plan in explained.plans():
        assert not _HISTORY.search(plan), plan
        seen += "SEARCH" in plan or "Index" in plan
    assert seen >= 3


@pytest.mark.parametrize("kind", SQL, indirect=True)
async def test_a_plan_that_scans_is_seen(store: SqlStore) -> None:
    await put(store, [draft({"user": n}) for n in range(2_000)])
    with Explained(store) as explained:
        await _execute(store, "SELECT body FROM streamd_log WHERE time > 0 ORDER BY time LIMIT 1")
    async for plan in explained.plans():
        assert _HISTORY.search(plan), plan


# The schema.


@pytest.mark.parametrize("kind", SQL, indirect=True)
async def test_a_newer_schema_is_refused_with_a_sentence(kind: Kind, database: Kind) -> None:
    streams = Streams(database)
    async with streams.new() as store:
        await _execute(store, "UPDATE streamd_schema SET version = 99")
    with pytest.raises(StartupError, match="newer version of streamd"):
        await streams.new().open()


@pytest.mark.parametrize("kind", SQL, indirect=True)
async def test_an_older_schema_is_migrated_in_one_transaction(kind: Kind, database: Kind) -> None:
    streams = Streams(database)

    async def rename(connection: Any) -> None:
        await connection.execute(text("ALTER TABLE streamd_log ADD COLUMN added INTEGER"))

    async def fail(connection: Any) -> None:
        raise Failure("MIGRATION", "it does not work", repeat=False)

    newer = schema.VERSION + 2
    broken = {schema.VERSION: rename, schema.VERSION + 1: fail}
    whole = {schema.VERSION: rename, schema.VERSION + 1: _nothing}
    async with streams.new() as store:
        assert isinstance(store, SqlStore)
        await put(store, [draft({"user": 1})])

        async def migrate(migrations: dict[int, Any]) -> None:
            await store._access.write(
                lambda connection: schema.create(connection, version=newer, migrations=migrations)
            )

        with pytest.raises(StoreUnavailable, match="it does not work"):
            await migrate(broken)
        assert "added" not in await _columns(store)
        await migrate(whole)
        assert "added" in await _columns(store)
        assert len(await read_all(store)) == 1


async def _nothing(connection: Any) -> None:
    """Migrate nothing."""


async def _columns(store: SqlStore) -> list[str]:
    async def read(connection: Any) -> list[str]:
        return list((await connection.execute(text("SELECT * FROM streamd_log LIMIT 0"))).keys())

    return await store._access.read(read)


async def _execute(store: Any, statement: str) -> None:
    await store._access.write(lambda connection: connection.execute(text(statement)))


# Retention.


@pytest.mark.parametrize("kind", SQL, indirect=True)
async def test_what_is_below_the_floor_is_removed_from_log_and_index(streams: Streams) -> None:
    async with streams.new(max_events=10) as store:
        for start in range(0, 3_000, 500):
            drafts = [draft({"user": n % 7, "kind": n % 3}) for n in range(start, start + 500)]
            await put(store, drafts)
        counts = """SELECT (SELECT count(*) FROM streamd_log WHERE id BETWEEN :first AND :last),
            (SELECT count(*) FROM streamd_index WHERE stream = :stream)"""

        async def counted(connection: Any) -> tuple[int, int]:
            access = store._access
            where = {"stream": access.stream, "first": access.id(0), "last": access.id(1 << 40)}
            return tuple((await connection.execute(text(counts), where)).one())

        async def removed() -> bool:
            return await store._access.read(counted) == (10, 20)

        await eventually(removed)
        assert places(await read_all(store)) == list(range(2_991, 3_001))


@pytest.mark.parametrize("kind", SQL, indirect=True)
async def test_insert_ids_and_batches_are_removed_after_their_lifetime(streams: Streams) -> None:
    async with streams.new(insert_id_lifetime=0.2) as store:
        await put(store, [draft({"user": n}, f"id-{n}") for n in range(1_200)])

        async def removed() -> bool:
            async def count(connection: Any) -> int:
                found = text("SELECT count(*) FROM streamd_insert_ids WHERE stream = :stream")
                where = {"stream": store._access.stream}
                return (await connection.execute(found, where)).scalar_one()

            return await store._access.read(count) == 0

        await eventually(removed)


# Streams and URLs.


@pytest.mark.parametrize("kind", SQL, indirect=True)
async def test_streams_share_a_database_and_nothing_else(kind: Kind) -> None:
    async with Streams(kind).new() as one, Streams(kind).new() as other:
        await put(one, [draft({"user": 1}, "a"), draft({"user": 2})])
        await put(other, [draft({"user": 1}, "a")])
        assert places(await read_all(one)) == [1, 2]
        assert places(await read_all(other, wanted({"user": 1}))) == [1]
        assert (await other.newest(wanted({"user": 2}), PLENTY)).entries == []
        assert (await one.state()).chain != (await other.state()).chain


@pytest.mark.parametrize("kind", SQL, indirect=True)
async def test_other_keys_are_refused_with_a_sentence(streams: Streams) -> None:
    async with streams.new():
        pass
    other = Stream(streams.name, KEYS[:1], LIMITS)
    with pytest.raises(StartupError, match="has the keys user,kind,tag=tags, not"):
        await open_store(streams.kind.url, other).open()


@pytest.mark.parametrize("kind", SQL, indirect=True)
async def test_closing_and_opening_again_keeps_every_cursor(streams: Streams) -> None:
    cursors: dict[int, str] = {}
    for start in range(3):
        async with streams.new() as store:
            await put(store, [draft({"user": n}) for n in range(3)])
            chain = (await store.state()).chain
            cursors |= {seq: chain.cursor(seq) for seq in range(start * 3 + 4)} | cursors
            assert {seq: chain.cursor(seq) for seq in cursors} == cursors
            assert len(await read_all(store)) == start * 3 + 3


@pytest.mark.parametrize("kind", SQL, indirect=True)
async def test_a_filter_that_matches_nothing_costs_nothing(store: SqlStore) -> None:
    await put(store, [draft({"user": 1})])
    assert (await store.newest(Filter(()), PLENTY)) == (await store.state(), [], None, False)
    assert (await store.newest(EVERYTHING, PLENTY._replace(limit=0))).entries == []


# Hints.


async def test_a_store_tells_its_own_tails_of_what_it_stored(sqlite_url: str) -> None:
    dialect = SqliteDialect(sqlite_url, poll=3_600)
    dialect.check = 3_600
    async with SqlStore(dialect, Stream("s", KEYS, LIMITS)) as store, follow(store) as followed:
        for n in range(5):
            await put(store, [draft({"user": n})])
            # Retention reads the head after five seconds at the earliest, which is a hint as well.
            await followed.reach(n + 1, 3)
