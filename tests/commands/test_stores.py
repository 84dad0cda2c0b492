"""Which stream the commands go to, and what they say where there is none."""

import re

import pytest

from tests.commands.cli import Command, streamd
from tests.commands.streams import NOWHERE, StreamAt

TOOLS = pytest.mark.parametrize("command", ["export", "import", "check"])


async def test_flags_come_before_the_file_and_the_file_before_the_default(tmp_path):
    place = StreamAt(f"sqlite:///{tmp_path}/feed.db", "feed")
    await place.fill([{"user": 1}])
    settings = tmp_path / "streamd.toml"
    settings.write_text(f'store = "{place.url}"\nstream = "other"\nkeys = "nobody,asks"\n')
    options = ("--config", str(settings))
    assert "no stream 'other'" in (await streamd("export", *options, url=NOWHERE)).err
    result = await streamd("export", *options, "--stream", "feed", url=NOWHERE)
    assert [line["event"] for line in result.lines] == [{"user": 1}]
    nowhere = await Command.start("export", url=NOWHERE, cwd=tmp_path)
    assert f"no stream 'streamd' in SQLite at {tmp_path}/streamd.db" in (await nowhere.end()).err


async def test_a_stream_that_is_not_there_is_not_created(place):
    for _ in range(2):
        result = await place.run("export")
        assert (result.code, result.out) == (1, b"")
        assert result.err.startswith(f"streamd: there is no stream {place.name!r} in ")


async def test_no_file_is_created(tmp_path):
    assert (await StreamAt(f"sqlite:///{tmp_path}/none.db", "s").run("export")).code == 1
    assert list(tmp_path.iterdir()) == []


@TOOLS
async def test_memory_is_only_its_servers(command):
    result = await streamd(command, "--store", "memory:", url=NOWHERE)
    assert (result.code, result.out) == (2, b"")
    assert "name another store with" in re.sub(r"[│\s]+", " ", result.err)


@TOOLS
async def test_a_store_that_is_away_is_named_without_its_password(command, tmp_path):
    settings = tmp_path / "streamd.toml"
    settings.write_text(
        'store = "redis://me:hush@127.0.0.1:1/"\nkeys = "user"\nstore_deadline = 0.3'
    )
    result = await streamd(command, "--config", str(settings), url=NOWHERE)
    assert (result.code, result.out) == (1, b"")
    assert result.err.startswith("streamd: Redis at 127.0.0.1:1 can't be reached")
    assert "hush" not in result.err
    assert result.err.count("\n") == 1


@TOOLS
async def test_settings_that_cannot_be_are_told(command):
    result = await streamd(command, "--stream", "a b", url=NOWHERE)
    assert (result.code, result.out) == (1, b"")
    assert "stream (--stream, STREAMD_STREAM) must be" in result.err
