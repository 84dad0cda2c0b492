import asyncio
import random
import re
import signal
import sqlite3
from collections.abc import Callable

import orjson
import pytest

from streamd.event import Keys
from streamd.stores.base import Store
from tests.commands.cli import DEADLINE, Command, on_terminal
from tests.commands.streams import KEYS, NOWHERE, StreamAt, lines_of, said
from tests.promises.serving import daemon
from tests.services import RedisServer

NAMES = ("--keys", str(KEYS))
PARTING = (
    "streamd: cursors do not carry over: who comes with one of the old store is told, and begins anew; "
    "nor do insert ids: what was inserted there and is repeated here is a new event"
)


def numbered(count: int, first: int = 0) -> list[dict]:
    return [{"user": n % 50, "n": n, "text": "é" * (n % 200)} for n in range(first, first + count)]


async def contents(place: StreamAt) -> list[tuple[int, dict]]:
    return [(entry.time, orjson.loads(entry.body)) for entry in await place.entries()]


def told(lines: bytes) -> list[tuple[int, dict]]:
    return [(line["time"], line["event"]) for line in map(orjson.loads, lines.splitlines())]


async def grown(place: StreamAt, least: int) -> int:
    """Wait until a stream has so many entries."""
    async with asyncio.timeout(DEADLINE), place.opened() as store:
        while (head := (await store.state()).head) < least:
            await asyncio.sleep(0.01)
        return head


# To the end.


async def test_lines_become_entries_with_their_times(place):
    lines = lines_of(*numbered(2_345))
    result = await place.run("import", *NAMES, stdin=lines)
    assert (result.code, result.out) == (0, b"")
    first, parting = result.err.splitlines()
    assert re.fullmatch(r"streamd: 2,345 entries imported \([\d,]+/s\)", first)
    assert parting == PARTING
    assert await contents(place) == told(lines)


async def test_what_is_exported_is_imported_from_a_file(here, tmp_path):
    await here.fill(numbered(500))
    exported = (await here.run("export")).out
    file = tmp_path / "feed.ndjson"
    file.write_bytes(exported)
    other = StreamAt(here.url, "other")
    assert (await other.run("import", str(file), "--keys", "n,text")).code == 0
    again = (await other.run("export", "n=7,8")).lines
    assert [line["event"]["n"] for line in again] == [7, 8]
    assert told((await other.run("export")).out) == told(exported)


async def test_from_one_store_straight_into_another(here, stream_name):
    await here.fill(numbered(3_000))
    other = StreamAt(here.url, f"{stream_name}-2")
    export = await here.start("export")
    into = await other.start("import", *NAMES, stdin=asyncio.subprocess.PIPE)
    assert export.process.stdout
    assert into.process.stdin
    while chunk := await export.process.stdout.read(65_536):
        into.process.stdin.write(chunk)
        await into.process.stdin.drain()
    assert (await into.end()).code == 0
    assert (await export.end()).code == 0
    assert await contents(other) == await contents(here)


async def test_who_follows_the_stream_sees_it_come(here):
    async with daemon(*NAMES, *here.options) as server:
        tail = await Command.start("tail", "user=7", url=server.url)
        result = await here.run("import", stdin=lines_of(*numbered(200)))
        assert result.code == 0
        assert [(await tail.line())["n"] for _ in range(4)] == [7, 57, 107, 157]
        assert (await tail.end(signal.SIGINT)).code == 130


async def test_a_terminal_shows_how_far_it_is(here):
    result = await on_terminal("import", *NAMES, *here.options, url=NOWHERE, stdin=lines_of({}))
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", result.out.decode())
    assert result.code == 0
    assert re.search(r"1 entries +[\d,]+/s", shown)
    assert re.search(r"streamd: 1 entries imported \([\d,]+/s\)", shown)


# Interrupted.


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)],
)
async def test_an_interrupted_import_goes_on(here, number, code):
    lines = lines_of(*numbered(3_500))
    half = lines[: lines.index(b"\n", len(lines) // 2) - 9]  # in the middle of a line
    command = await here.start("import", *NAMES)
    assert command.process.stdin
    command.process.stdin.write(half)
    reached = await grown(here, 1_000)
    command.process.send_signal(number)
    # Only then its input may end.
    await asyncio.wait_for(command.process.wait(), DEADLINE)
    result = await command.end()
    assert result.code == code
    if number != signal.SIGKILL:
        assert re.fullmatch(
            r"streamd: at least [\d,]+ entries are in the stream and stay; the same command goes on behind them\n",
            said(result.err),
        )
    result = await here.run("import", *NAMES, stdin=lines)
    assert result.code == 0
    assert result.err.splitlines()[0].endswith(f", {reached:,} were there already")
    assert await contents(here) == told(lines)
    assert (await here.run("check")).code == 0


async def test_killed_at_any_moment_it_has_each_line_once(place, tmp_path):
    lines = lines_of(*numbered(12_000))
    file = tmp_path / "feed.ndjson"
    file.write_bytes(lines)
    dice = random.Random(3)
    reached, kills = 0, 0
    async with place.opened() as store:
        while reached < 12_000 and kills < 3:
            command = await place.start("import", str(file), *NAMES)
            await _moves(store, reached + dice.randrange(1, 3_000), command)
            await asyncio.sleep(dice.uniform(0, 0.1))
            if command.process.returncode is None:
                command.process.kill()
                kills += 1
            await command.end()
            reached = (await store.state()).head
    assert kills
    assert (await place.run("import", str(file), *NAMES)).code == 0
    assert await contents(place) == told(lines)
    assert (await place.run("check")).code == 0


async def _moves(store: Store, least: int, command: Command) -> None:
    async with asyncio.timeout(DEADLINE):
        while (await store.state()).head < least and command.process.returncode is None:
            await asyncio.sleep(0.01)


@pytest.mark.redis
async def test_a_store_that_restarts_is_waited_for(new_redis: Callable[..., RedisServer]):
    server = new_redis(appendonly="yes", appendfsync="always")
    place = StreamAt(server.url, "feed")
    lines = lines_of(*numbered(4_500))
    command = await place.start("import", *NAMES)
    assert command.process.stdin
    command.process.stdin.write(lines[: len(lines) // 2])
    await grown(place, 2_000)
    server.kill()
    command.process.stdin.write(lines[len(lines) // 2 :])
    assert "trying again for 30 s" in await command.told()
    server.start()
    assert (await command.end()).code == 0
    assert await contents(place) == told(lines)


@pytest.mark.postgres
async def test_a_store_that_crashes_is_waited_for(new_postgres):
    server = new_postgres()
    place = StreamAt(server.url(), "feed")
    lines = lines_of(*numbered(4_500))
    command = await place.start("import", *NAMES)
    assert command.process.stdin
    command.process.stdin.write(lines[: len(lines) // 2])
    await grown(place, 2_000)
    server.kill()
    command.process.stdin.write(lines[len(lines) // 2 :])
    while "trying again for 30 s" not in await command.told():
        pass
    server.start()
    assert (await command.end()).code == 0
    assert await contents(place) == told(lines)


async def test_a_store_that_is_locked_is_waited_for(here, tmp_path):
    lines = lines_of(*numbered(2_500))
    await here.run("import", *NAMES, stdin=b"")
    settings = tmp_path / "streamd.toml"
    settings.write_text("store_deadline = 1\n")
    command = await here.start("import", "--config", str(settings))
    assert command.process.stdin
    command.process.stdin.write(lines[: len(lines) // 2])
    await grown(here, 1_000)
    other = sqlite3.connect(here.url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    command.process.stdin.write(lines[len(lines) // 2 :])
    assert "is locked by another program; trying again for 30 s" in await command.told()
    other.execute("ROLLBACK")
    other.close()
    assert (await command.end()).code == 0
    assert await contents(here) == told(lines)


# Refused.


async def test_a_bad_line_is_told_and_the_mended_input_goes_on(here):
    lines = lines_of(*numbered(1_200))
    bad = lines.replace(b'"n":1100', b'"n":11OO')
    result = await here.run("import", *NAMES, stdin=bad)
    assert (result.code, result.out) == (1, b"")
    assert result.err == (
        "streamd: 1,100 entries are in the stream and stay; the same command goes on behind them\n"
        "streamd: line 1101: not JSON\n"
    )
    assert (await here.run("import", *NAMES, stdin=lines)).code == 0
    assert await contents(here) == told(lines)


async def test_blank_lines_are_none_but_count(here):
    lines = b"\n \n" + lines_of({"user": 1}) + b"\n" + lines_of({"user": 2}) + b"[]"
    result = await here.run("import", *NAMES, stdin=lines)
    assert result.err.splitlines()[-1] == "streamd: line 6: not an object: a list"
    assert [event for _, event in await contents(here)] == [{"user": 1}, {"user": 2}]


async def test_a_stream_that_is_not_empty_is_refused(here):
    await here.fill([{"user": 1}])
    result = await here.run("import", *NAMES, stdin=lines_of(*numbered(5)))
    assert result.code == 1
    assert "the stream is not empty" in result.err
    assert [event for _, event in await contents(here)] == [{"user": 1}]


async def test_keys_are_needed_for_a_stream_that_is_not_there(here):
    result = await here.run("import", stdin=lines_of({"user": 1}))
    assert result.code == 1
    assert "without keys none is created" in result.err
    assert (await here.run("import", *NAMES, stdin=b"")).code == 0
    assert (await here.run("import", stdin=lines_of({"user": 1}))).code == 0
    result = await here.run("import", "--keys", "colour", stdin=lines_of({"user": 1}))
    assert result.code == 1
    assert "has the keys user,kind,tag=tags, not colour" in result.err


async def test_keys_and_limits_are_those_of_the_file(here, tmp_path):
    settings = tmp_path / "streamd.toml"
    settings.write_text('keys = "name=page.name"\nevent_bytes = "100KiB"\nmax_events = 1\n')
    event = {"page": {"name": "x"}, "text": "x" * 90_000}
    options = ("import", "--config", str(settings))
    result = await here.run(*options, stdin=lines_of(event, event))
    assert result.code == 0, result.err
    (first, second) = await here.entries(Keys.parse("name=page.name"))
    assert first.terms == second.terms == ("name:x",)


async def test_a_file_that_is_not_there_is_wrong_usage(here, tmp_path):
    result = await here.run("import", f"{tmp_path}/none", *NAMES)
    assert (result.code, result.out) == (2, b"")
    assert "No such file" in result.err


async def test_a_folder_is_no_file(here, tmp_path):
    result = await here.run("import", str(tmp_path), *NAMES)
    assert result.code == 1
    assert result.err.splitlines()[-1] == "streamd: Is a directory"
