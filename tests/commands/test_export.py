import asyncio
from pathlib import Path

import orjson
import pytest

from streamd.cursor import Chain
from tests.commands.cli import DEADLINE, on_terminal, streamd
from tests.commands.streams import NOWHERE, said
from tests.promises.serving import daemon

FULL = Path("/dev/full")


async def test_entries_are_written_whole_the_oldest_first(place):
    odd = {"user": "Ü\u2028", "n": [1.5, -0.0, None, 2**64 - 1]}
    await place.fill([odd, *({"user": n % 3} for n in range(2_500))])
    result = await place.run("export")
    assert (result.code, result.err) == (0, "")
    assert all(list(line) == ["cursor", "time", "event"] for line in result.lines)
    async with place.opened() as store:
        chain: Chain = (await store.state()).chain
        entries = await place.entries()
    told = [(line["time"], line["event"]) for line in result.lines]
    assert told == [(entry.time, orjson.loads(entry.body)) for entry in entries]
    assert result.lines[0]["cursor"] == chain.cursor(1)
    assert result.out.splitlines()[0].endswith(b'"event":' + entries[0].body + b"}")


async def test_a_filter_selects(here):
    await here.fill([{"user": n % 5, "kind": "ab"[n % 2], "n": n} for n in range(100)])
    result = await here.run("export", "user=1,3", "kind=a")
    assert [line["event"]["n"] for line in result.lines] == [
        n for n in range(100) if n % 5 in (1, 3) and n % 2 == 0
    ]
    assert (await here.run("export", "user=nobody")).out == b""
    result = await here.run("export", "colour=red")
    assert (result.code, result.out) == (1, b"")
    assert "'colour' is not a declared key: a filter can use user, kind, tag" in result.err


async def test_a_server_may_run_and_insert(here):
    async with daemon("--keys", "user,kind,tag=tags", *here.options) as server:
        events = b"".join(b'{"user":%d}\n' % n for n in range(3_000))
        assert (await streamd("insert", url=server.url, stdin=events)).code == 0
        more = asyncio.create_task(streamd("insert", url=server.url, stdin=events))
        results = [await here.run("export") for _ in range(3)]
        assert (await more).code == 0
        results.append(await here.run("export"))
        assert (await server.stop()) == 0
    for result in results:
        users = [line["event"]["user"] for line in result.lines]
        assert users == [n % 3_000 for n in range(len(users))]
        assert len(users) >= 3_000
        assert len({line["cursor"] for line in result.lines}) == len(users)
    assert len(results[-1].lines) == 6_000


async def test_nothing_is_written_to_a_terminal():
    result = await on_terminal("export", "--store", "redis://127.0.0.1:1", url=NOWHERE)
    assert result.code == 2
    assert b"> FILE" in result.out


async def test_a_reader_that_has_enough_is_no_failure(here):
    await here.fill([{"user": n, "text": "x" * 500} for n in range(2_000)])
    export = await here.start("export")
    assert (await export.line())["event"]["user"] == 0
    assert export.process.stdout
    export.process.stdout._transport.close()
    code = await asyncio.wait_for(export.process.wait(), DEADLINE)
    assert code == 0


@pytest.fixture
def full():
    if not FULL.exists():
        pytest.skip(f"there is no {FULL} here")
    with FULL.open("wb") as file:
        yield file


async def test_a_disk_without_room_is_told(here, full):
    await here.fill([{"user": n} for n in range(10)])
    result = await (await here.start("export", stdout=full)).end()
    assert (result.code, said(result.err)) == (1, "streamd: No space left on device\n")


async def test_a_file_takes_it_as_well(here, tmp_path):
    await here.fill([{"user": n} for n in range(1_000)])
    with (tmp_path / "out").open("wb") as file:
        result = await (await here.start("export", stdout=file)).end()
    assert (result.code, said(result.err)) == (0, "")
    assert (tmp_path / "out").read_bytes() == (await here.run("export")).out
