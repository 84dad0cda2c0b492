"""What can happen to a database file, and what the store makes of it."""

import asyncio
import contextlib
import gc
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from streamd.cursor import parse_cursor
from streamd.errors import StartupError, StoreUnavailable, UnknownOutcome
from streamd.filters import EVERYTHING
from streamd.stores.base import Store
from streamd.stores.sql.sqlite import SqliteDialect
from tests.harness import DEADLINE, until
from tests.stores.faults import Writer, make, pulse, refusal
from tests.stores.process import run
from tests.stores.worlds import (
    PLENTY,
    draft,
    follow,
    numbered,
    places,
    put,
    put_one,
    read_all,
    wanted,
)

Connect = Callable[..., Any]
SOMEBODY_ELSE = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database file that is not there yet."""
    return tmp_path / "feed.db"


@pytest.fixture
async def connect(path: Path) -> AsyncIterator[Connect]:
    """Open stores on the file."""
    async with AsyncExitStack() as stack:

        async def connect(where: Path = path, **limits: float) -> Store:
            return await stack.enter_async_context(make(f"sqlite:///{where}", **limits))

        yield connect


def ask(path: Path, *statements: str) -> list[Any]:
    """Do some statements as another program would; return the answer to the last."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        for statement in statements:
            answer = other.execute(statement).fetchall()
    return answer


def open_files(folder: Path) -> list[str]:
    """Return the files of a folder that this process has open."""
    gc.collect()  # What an error's traceback holds may be in a circle.
    links = [Path(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    found = [os.readlink(link) for link in links if link.is_symlink()]
    return [name for name in found if name.startswith(f"{folder}/")]


# Opening.


async def test_who_gives_up_opening_leaves_no_thread_behind(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()
    connect = sqlite3.connect

    def slowly(*words: Any, **options: Any) -> sqlite3.Connection:
        begun.set()
        may_end.wait(DEADLINE)
        return connect(*words, **options)

    monkeypatch.setattr(sqlite3, "connect", slowly)
    engine = SqliteDialect(f"sqlite:///{path}").engine()
    before = set(threading.enumerate())
    task = asyncio.create_task(engine.connect().start())
    await until(begun.is_set)
    (thread,) = set(threading.enumerate()) - before
    task.cancel()
    await asyncio.wait({task}, timeout=0.1)
    assert not task.done(), "its thread would find the event loop gone"
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert open_files(path.parent) == []
    await engine.dispose()


# Which file.


@pytest.mark.parametrize(
    "url",
    ["sqlite:", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://host/file", "sqlite:///x?mode=memory"],
)  # fmt: skip
async def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    assert "sqlite:///" in (sentence := await refusal(url)) or "memory:" in sentence


@pytest.mark.parametrize(
    "name",
    [
        "plain.db",
        "with space.db",
        "fünf 中文 🙂.db",
        "50%.db",
        "a+b&c=d;e.db",
        "%41.db",
        "#1",
        "?",
        "@:",
    ],
)
async def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    url = f"sqlite:///{tmp_path}/{quote(name)}"
    for seq in (1, 2):
        async with make(url) as store:
            assert (await put_one(store, user=1)).seq == seq
        assert ask(tmp_path / name, "SELECT head FROM streamd_streams") == [(seq,)]


async def test_a_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    async with make("sqlite:///sub/feed.db") as store:
        await put_one(store, user=1)
        # It stays the same file, wherever the process goes.
        monkeypatch.chdir("/")
        await asyncio.gather(*(store.newest(EVERYTHING, PLENTY) for _ in range(20)))
        await put_one(store, user=2)
    assert ask(tmp_path / "sub/feed.db", "SELECT head FROM streamd_streams") == [(2,)]


async def test_a_database_of_another_program_is_shared(path: Path, connect: Connect) -> None:
    ask(
        path, "CREATE TABLE theirs (a)", "INSERT INTO theirs VALUES (1)", "PRAGMA user_version = 77"
    )
    store = await connect()
    await put_one(store, user=1)
    assert ask(path, "SELECT a FROM theirs") == [(1,)]
    assert ask(path, "PRAGMA user_version") == [(77,)]


# Files that can't be had.


async def test_a_file_that_cannot_be_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    threads = set(threading.enumerate())
    for where in ("nowhere/feed.db", "", "file/feed.db", "x" * 300):
        sentence = await refusal(f"sqlite:///{tmp_path}/{where}")
        assert f"{tmp_path}/{where}".removesuffix("/feed.db").rstrip("/") in sentence
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
    # The driver tells its threads to end, and does not wait for it.
    await until(lambda: set(threading.enumerate()) <= threads)


@contextmanager
def somebody_else() -> Iterator[None]:
    """Be a user to whom rights on files apply."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(SOMEBODY_ELSE)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may read."""
    folder = Path(tempfile.mkdtemp(prefix="streamd-public-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("there", [False, True])
async def test_a_file_that_may_not_be_written_is_refused(public: Path, there: bool) -> None:
    # Also brings in what is imported late: somebody else may not be able to.
    async with make(f"sqlite:///{public}/feed.db") as store:
        await put_one(store, user=1)
    if not there:
        (public / "feed.db").unlink()
    for file in public.iterdir():
        file.chmod(0o444)
    public.chmod(0o555)
    with somebody_else():
        sentence = await refusal(f"sqlite:///{public}/feed.db")
    assert f"{public}/feed.db" in sentence


async def test_a_file_in_a_folder_that_may_not_be_written_is_refused(public: Path) -> None:
    async with make(f"sqlite:///{public}/feed.db") as store:
        await put_one(store, user=1)
    for file in public.iterdir():
        if file.name != "feed.db":
            file.unlink()
    (public / "feed.db").chmod(0o666)
    public.chmod(0o555)
    with somebody_else():
        assert f"{public}/feed.db" in await refusal(f"sqlite:///{public}/feed.db")
    public.chmod(0o777)
    with somebody_else():
        async with make(f"sqlite:///{public}/feed.db") as store:
            assert (await put_one(store, user=2)).seq == 2


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    for content in (b"x" * 100, os.urandom(20_000), b"SQLite format 3\0" + os.urandom(9_000)):
        path.write_bytes(content)
        assert str(path) in await refusal(f"sqlite:///{path}")
        assert path.read_bytes() == content


# Damage.


def filled(path: Path) -> None:
    """Let a file have some hundred pages of events, as one that was closed."""

    async def fill() -> None:
        async with make(f"sqlite:///{path}") as store:
            for start in range(0, 3_000, 1_000):
                drafts = [
                    draft({"user": n, "kind": n % 5, "pad": "x" * 200})
                    for n in range(start, start + 1_000)
                ]
                await put(store, drafts)

    asyncio.run(fill())


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with 3,000 events."""
    path = tmp_path_factory.mktemp("good") / "feed.db"
    filled(path)
    return path


def break_pages(path: Path, rng: random.Random) -> None:
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for _ in range(30):
            file.seek(rng.randrange(4_096, size))
            file.write(rng.randbytes(rng.choice([1, 100, 4_000])))


def cut(path: Path, rng: random.Random) -> None:
    os.truncate(path, rng.randrange(100, path.stat().st_size))


async def try_everything(store: Store) -> int:
    """Use a store in all ways; return how many of them it refused. Nothing but its own errors is allowed."""
    refused = 0

    async def attempt(call: Any) -> None:
        nonlocal refused
        outcome = (await asyncio.gather(call, return_exceptions=True))[0]
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, (StoreUnavailable, UnknownOutcome)), repr(outcome)
            assert "Error" not in str(outcome)
            refused += 1

    await attempt(store.state())
    for what in (EVERYTHING, wanted({"kind": 1}), wanted({"user": [5, 2_000]})):
        await attempt(store.newest(what, PLENTY))
        for since in (0, 1_000, 2_000):
            await attempt(store.after(since, what, PLENTY))
    for n in range(20):
        await attempt(put(store, [draft({"user": n * 100, "kind": n}, f"id-{n}")] * 3))
    return refused


@pytest.mark.parametrize("damage", [break_pages, cut])
@pytest.mark.parametrize("number", range(5))
async def test_damage_is_told_in_words(
    good: Path, path: Path, damage: Callable[..., None], number: int
) -> None:
    shutil.copy(good, path)
    damage(path, random.Random(number))
    store = make(f"sqlite:///{path}", store_deadline=1.0)
    outcome = (await asyncio.gather(store.open(), return_exceptions=True))[0]
    if isinstance(outcome, BaseException):
        assert isinstance(outcome, StartupError), repr(outcome)
        assert str(path) in str(outcome)
    else:
        await try_everything(store)
    await store.aclose()


async def test_damage_under_a_running_store_is_told_in_words(good: Path, path: Path) -> None:
    shutil.copy(good, path)
    async with make(f"sqlite:///{path}", store_deadline=1.0) as store:
        assert (await store.state()).head == 3_000
        subprocess.run(
            [
                "dd",
                "if=/dev/urandom",
                f"of={path}",
                "bs=4096",
                "seek=1",
                "count=200",
                "conv=notrunc",
            ],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        assert await try_everything(store)


# Locks.


async def test_a_lock_held_for_long_fails_inserts_in_time_and_holds_up_nobody(
    path: Path, connect: Connect
) -> None:
    store = await connect(store_deadline=0.5)
    await put(store, numbered(range(5)))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        async with follow(store, 0) as followed, pulse() as loop:
            other.execute("BEGIN EXCLUSIVE")
            clock = asyncio.get_running_loop().time
            for n in range(2):
                begun = clock()
                with pytest.raises(StoreUnavailable, match="locked"):
                    await put(store, [draft({"user": 5}, "five")])
                assert 0.4 < clock() - begun < 1.5
                # Who only reads does not wait.
                begun = clock()
                assert (await store.state()).head == 5
                assert places((await store.newest(wanted({"user": n}), PLENTY)).entries) == [n + 1]
                assert len((await store.after(0, EVERYTHING, PLENTY)).entries) == 5
                assert clock() - begun < 0.4
            waiting = asyncio.create_task(put(store, [draft({"user": 5}, "five")]))
            await asyncio.sleep(0.2)  # SQLite tells nobody who waits for a lock.
            other.execute("COMMIT")
            assert (await waiting)[0][0][::2] == (6, False)
            assert (await put(store, [draft({"user": 5}, "five")]))[0][0][::2] == (6, True)
            await followed.reach(6)
        assert places(followed.entries) == [1, 2, 3, 4, 5, 6]
        assert loop.longest < 0.3


async def test_many_callers_wait_for_a_lock_without_shutting_readers_out(
    path: Path, connect: Connect
) -> None:
    store = await connect(store_deadline=1.0)
    await put_one(store, user=0)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with pulse() as loop:
            writing = [asyncio.create_task(put_one(store, user=n)) for n in range(50)]
            await asyncio.sleep(0.1)
            for _ in range(5):
                assert (await asyncio.wait_for(store.state(), 0.5)).head == 1
            outcomes = await asyncio.gather(*writing, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
        assert loop.longest < 0.5
        other.execute("ROLLBACK")
    assert (await put_one(store, user=1)).seq == 2


async def test_a_file_that_another_program_keeps_for_itself_is_refused(path: Path) -> None:
    async with make(f"sqlite:///{path}"):
        pass
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE streamd_schema SET version = version")
        begun = asyncio.get_running_loop().time()
        assert "locked" in await refusal(f"sqlite:///{path}", store_deadline=0.5)
        assert asyncio.get_running_loop().time() - begun < 2
        other.execute("COMMIT")
    async with make(f"sqlite:///{path}") as store:
        assert (await put_one(store, user=1)).seq == 1


async def test_a_short_lock_is_waited_for_at_the_start(path: Path) -> None:
    async with make(f"sqlite:///{path}"):
        pass
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    asyncio.get_running_loop().call_later(0.4, other.execute, "COMMIT")
    async with make(f"sqlite:///{path}", store_deadline=5.0) as store:
        assert (await put_one(store, user=1)).seq == 1
    other.close()


async def test_a_reader_of_another_program_that_stays_is_no_hindrance(
    path: Path, connect: Connect
) -> None:
    store = await connect()
    await put_one(store, user=0)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        assert other.execute("SELECT head FROM streamd_streams").fetchone() == (1,)
        for n in range(1, 200):
            await put(store, [draft({"user": n, "pad": "x" * 5_000})] * 5)
        assert other.execute("SELECT head FROM streamd_streams").fetchone() == (1,)
    assert len(await read_all(store)) == 996


# No room.


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of three megabytes."""
    folder = Path(tempfile.mkdtemp(prefix="streamd-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, stderr=subprocess.DEVNULL).returncode != 0:
        folder.rmdir()
        pytest.skip("mounting is not allowed here")
    yield folder
    # Also if somebody has still a file open there: that is for the tests to see.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
    folder.rmdir()


async def fill(store: Store) -> int:
    """Append until there is no more room; return the number of events that were stored."""
    stored = 0
    for n in range(2_000):
        try:
            await put(store, [draft({"user": n, "kind": "f", "pad": "x" * 2_000})] * 5)
        except StoreUnavailable:
            return stored
        except UnknownOutcome:
            head = (await store.state()).head
            assert head in (stored, stored + 5)
            return head
        stored += 5
    raise AssertionError("there was room for all")


async def check_filled(store: Store, stored: int) -> None:
    """Fail unless just the acknowledged events are there, log and index."""
    assert (await store.state()).head == stored
    assert places(await read_all(store)) == list(range(1, stored + 1))
    assert len(await read_all(store, wanted({"kind": "f"}))) == stored


async def test_a_full_disk_stores_nothing_by_halves_and_goes_on_when_there_is_room(
    small_disk: Path, connect: Connect
) -> None:
    store = await connect(small_disk / "feed.db", store_deadline=1.0)
    stored = await fill(store)
    assert stored > 0
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="room"):
            await put(store, [draft({"pad": "x" * 60_000})] * 20)
        await check_filled(store, stored)
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert (await put(store, [draft({"kind": "f"}, "a")]))[0][0].seq == stored + 1
    await check_filled(store, stored + 1)


async def test_a_disk_that_was_full_opens_again(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk}/feed.db"
    async with make(url, store_deadline=1.0) as store:
        stored = await fill(store)
    full = make(url, store_deadline=1.0)
    outcome = (await asyncio.gather(full.open(), return_exceptions=True))[0]
    if isinstance(outcome, BaseException):
        assert isinstance(outcome, StartupError), repr(outcome)
        assert "room" in str(outcome)
    else:
        await check_filled(full, stored)
    await full.aclose()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    async with make(url) as store:
        await check_filled(store, stored)
        assert (await put_one(store, kind="f")).seq == stored + 1


async def test_a_disk_without_room_is_refused_at_the_start(small_disk: Path) -> None:
    with contextlib.suppress(OSError), (small_disk / "other").open("wb") as file:
        while True:
            file.write(b"x" * 4_096)
    sentence = await refusal(f"sqlite:///{small_disk}/feed.db", store_deadline=1.0)
    assert str(small_disk) in sentence
    assert not open_files(small_disk)


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """Let no file grow over a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_disk_that_fails_stores_nothing_by_halves_and_goes_on_when_it_works(
    path: Path, connect: Connect
) -> None:
    store = await connect(store_deadline=1.0)
    with small_files(300_000):
        stored = await fill(store)
        assert stored > 0
        for _ in range(3):
            with pytest.raises((StoreUnavailable, UnknownOutcome)):
                await put(store, [draft({"pad": "x" * 60_000})] * 20)
            await check_filled(store, stored)
    assert (await put_one(store, kind="f")).seq == stored + 1
    await check_filled(store, stored + 1)


# Files that are taken away.


async def test_a_file_that_is_moved_takes_no_more_events_until_it_is_back(
    path: Path, connect: Connect
) -> None:
    store = await connect()
    await put(store, numbered([1, 2, 3]))
    async with follow(store, 0) as followed:
        await followed.reach(3)
        path.rename(path.with_name("elsewhere"))
        for call in (put_one(store, user=4), store.state(), store.newest(EVERYTHING, PLENTY)):
            with pytest.raises(StoreUnavailable, match="moved"):
                await call
        assert not path.exists()
        path.with_name("elsewhere").rename(path)
        assert (await put_one(store, user=4)).seq == 4
        await followed.reach(4)
        assert not followed.turns
    assert ask(path, "SELECT head FROM streamd_streams") == [(4,)]


async def test_an_older_copy_put_in_place_of_the_file_is_left_alone_until_a_restart(
    path: Path,
) -> None:
    url = f"sqlite:///{path}"
    async with make(url) as store:
        await put(store, numbered([1, 2, 3]))
        # A copy as another program takes it meanwhile, by the means of SQLite.
        ask(path, f"VACUUM INTO '{path}-copy'")
        await put(store, numbered([4, 5]))
        old = await store.state()
        os.replace(f"{path}-copy", path)
        with pytest.raises(StoreUnavailable, match="replaced"):
            await put_one(store, user=40)
    for left in ("-wal", "-shm"):
        path.with_name(path.name + left).unlink(missing_ok=True)
    async with make(url) as store:
        assert [p.seq for p in (await put(store, numbered([40, 50])))[0]] == [4, 5]
        new = await store.state()
    assert new.chain.cursor(3) == old.chain.cursor(3)
    assert new.chain.cursor(4) != old.chain.cursor(4)


# Several processes.


async def test_several_processes_on_one_file_are_one_log(path: Path) -> None:
    url = f"sqlite:///{path}"
    async with AsyncExitStack() as stack:
        names = ["a", "b", "c"]
        running = [await stack.enter_async_context(run(url, n, 60, 540)) for n in names]
        outputs = [(await process.communicate())[0].splitlines() for process in running]
        assert [process.returncode for process in running] == [0, 0, 0]
    *batches, first = map(json.loads, outputs[0])
    for output in outputs[1:]:
        assert json.loads(output[-1]) == first
        batches += map(json.loads, output[:-1])
    assert [seq for seq, _ in first] == list(range(1, 541))
    stored = {text: seq for batch in batches for text, seq in batch.items()}
    assert {term.removeprefix("user:"): seq for seq, term in first} == stored
    assert [sorted(batch.values())[2] - sorted(batch.values())[0] for batch in batches] == [2] * 180


async def test_a_process_that_is_killed_is_no_hindrance_to_the_others(
    path: Path, connect: Connect
) -> None:
    store = await connect()
    url, writer = f"sqlite:///{path}", Writer("mine")
    stored: dict[str, int] = {}
    for number in range(4):
        async with run(url, f"p{number}", 10_000) as process:
            assert process.stdout
            for _ in range(3 * number):
                stored |= json.loads(await process.stdout.readline())
            process.kill()
            await writer.write(store, 5)
            stored |= {k: v for line in await rest(process) for k, v in json.loads(line).items()}
    entries = await read_all(store)
    assert places(entries) == list(range(1, len(entries) + 1))
    found = {entry.terms[0].removeprefix("user:"): entry.seq for entry in entries}
    assert len(found) == len(entries)
    assert (stored | writer.stored).items() <= found.items()


async def rest(process: asyncio.subprocess.Process) -> list[bytes]:
    """Return the whole lines that a process which was killed has left."""
    assert process.stdout
    return [
        line
        for line in (await process.stdout.read(-1)).splitlines(keepends=True)
        if line.endswith(b"\n")
    ]


async def test_a_copy_of_what_lies_on_the_disk_has_all_that_was_acknowledged(
    path: Path, tmp_path: Path
) -> None:
    rng = random.Random(1)
    acknowledged: dict[str, int] = {}
    async with run(f"sqlite:///{path}", "w", 10_000) as process:
        assert process.stdout
        for number in range(4):
            for _ in range(rng.randrange(1, 60)):
                acknowledged |= json.loads(await process.stdout.readline())
            # Nobody can tell such a copy from what a power cut would leave.
            process.send_signal(signal.SIGSTOP)
            folder = tmp_path / f"copy-{number}"
            folder.mkdir()
            for name in ("feed.db", "feed.db-wal"):
                shutil.copy(path.with_name(name), folder)
            process.send_signal(signal.SIGCONT)
            async with make(f"sqlite:///{folder}/feed.db") as store:
                entries = await read_all(store)
                assert places(entries) == list(range(1, len(entries) + 1))
                found = {entry.terms[0].removeprefix("user:"): entry.seq for entry in entries}
                assert acknowledged.items() <= found.items()
                assert (await put_one(store, user=1)).seq == len(entries) + 1


# Older copies.


async def test_an_older_copy_put_back_begins_a_new_epoch(path: Path) -> None:
    url = f"sqlite:///{path}"
    async with make(url) as store:
        await put(store, numbered([1, 2, 3]))
        first = await store.state()
    shutil.copy(path, path.with_name("copy"))
    async with make(url) as store:
        await put(store, [draft({"user": 4}, "four"), draft({"user": 5})])
        old = await store.state()
    shutil.copy(path.with_name("copy"), path)
    async with make(url) as store, follow(store, 3) as followed:
        placed = await put(store, [draft({"user": 40}), draft({"user": 4}, "four")])
        assert [(p.seq, p.duplicate) for p in placed[0]] == [(4, False), (5, False)]
        await followed.reach(5)
        new = await store.state()
        cursors = [new.chain.cursor(seq) for seq in range(6)]
        assert cursors[:4] == [first.chain.cursor(seq) for seq in range(4)]
        assert not set(cursors[4:]) & {old.chain.cursor(4), old.chain.cursor(5)}
        holds = [new.chain.holds(parse_cursor(old.chain.cursor(n), "after")) for n in range(6)]
        assert holds == [True] * 4 + [False] * 2


async def test_a_restart_resets_nobody(path: Path) -> None:
    url = f"sqlite:///{path}"
    cursors = []
    for start in range(0, 30, 10):
        async with make(url) as store:
            state = await store.state()
            assert [state.chain.cursor(seq) for seq in range(start + 1)] == cursors[
                : start + 1
            ] or not start
            await put(store, numbered(range(10)))
            state = await store.state()
            cursors = [state.chain.cursor(seq) for seq in range(start + 11)]
            assert all(state.chain.holds(parse_cursor(cursor, "after")) for cursor in cursors)


async def test_restarts_without_news_let_the_chain_be_short(path: Path) -> None:
    for n in range(6):
        async with make(f"sqlite:///{path}") as store:
            # The first epoch names place 0, and stays.
            assert len((await store.state()).chain.closed) <= 1 + (n > 3)
            if n == 3:
                await put_one(store, user=1)
