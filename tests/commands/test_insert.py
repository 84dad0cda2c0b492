import os
import random
import signal

import pytest
from typer.testing import CliRunner

from streamd.cli import make_app
from streamd.commands.insert import summary
from streamd.commands.loading import Tally
from tests.commands.cli import Command, streamd
from tests.story import STORY, story_lines


async def stored(url: str, *words: str) -> list[dict]:
    """Every event, the oldest first."""
    return (await streamd("items", "--end", "100000", *words, url=url)).lines[::-1]


async def test_one_event_from_the_argument(url):
    result = await streamd("insert", '{"kind": "watch", "user": 291, "repo": 2842}', url=url)
    assert (result.code, result.err) == (0, "")
    (answer,) = result.lines
    assert set(answer) == {"cursor", "time", "duplicate"}
    assert await stored(url) == [{"kind": "watch", "user": 291, "repo": 2842}]


async def test_the_same_id_adds_nothing(url):
    first, second = [
        await streamd("insert", '{"user": 1}', "--id", "mine", url=url) for _ in range(2)
    ]
    assert first.lines[0] | {"duplicate": True} == second.lines[0]
    assert await stored(url) == [{"user": 1}]


async def test_a_repeated_load_goes_on_where_it_ended(url):
    options = ("insert", "-", "--id", "load")
    lines = story_lines().splitlines(keepends=True)
    result = await streamd(*options, url=url, stdin=b"".join(lines[:2]))
    assert (result.code, result.err) == (0, "")
    result = await streamd(*options, url=url, stdin=b"".join(lines))
    assert result.code == 0
    assert result.err.startswith("streamd: 3 inserted in ")
    assert result.err.endswith(", 2 known already\n")
    assert await stored(url) == STORY


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", '{"a":1} x', '{"a":NaN}', "\udcff"])
def test_an_argument_that_is_no_event_is_wrong_usage(text):
    result = CliRunner().invoke(make_app("insert"), ["insert", text])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the event is not " in result.stderr


async def test_nothing_to_insert_is_wrong_usage(url):
    ours, theirs = os.openpty()
    result = await (await Command.start("insert", url=url, stdin=theirs)).end()
    assert (result.code, result.out) == (2, b"")
    assert "give an event" in result.err
    os.close(ours)
    os.close(theirs)


async def test_an_event_that_the_server_refuses(url):
    result = await streamd("insert", '{"user": {}}', url=url)
    assert (result.code, result.out) == (1, b"")
    assert result.err.startswith("streamd: the value of key 'user' must be ")


async def test_bad_lines_are_told_by_number_and_the_others_go_on(url):
    lines = [
        b'{"n": 1, "user": 1}',
        b"",
        b"{",
        b"[1]",
        b'{"user": {}}',
        b'{"big": 18446744073709551616}',
        b'{"n": 2}',
        b"\xff",
        b'{"pad": "' + b"x" * 70_000 + b'"}',
        b'{"pad": "' + b"x" * 2_000_000 + b'"}',
        b'{"n": 3}',
    ]
    result = await streamd("insert", url=url, stdin=b"\n".join(lines))
    told = result.err.splitlines()
    assert result.code == 1
    numbers = [int(line.partition(":")[0].removeprefix("line ")) for line in told[:-1]]
    assert sorted(numbers) == [3, 4, 5, 6, 8, 9, 10]
    assert "3 inserted in " in told[-1]
    assert told[-1].endswith(", 7 refused")
    assert await stored(url) == [{"n": 1, "user": 1}, {"n": 2}, {"n": 3}]


async def test_the_log_has_the_order_of_the_lines_even_where_some_are_refused(url):
    dice = random.Random(7)
    bad = set(dice.sample(range(5_000), 50))
    lines = [b'{"user": {}}\n' if n in bad else b'{"n": %d}\n' % n for n in range(5_000)]
    result = await streamd("insert", url=url, stdin=b"".join(lines))
    assert result.code == 1
    assert await stored(url) == [{"n": n} for n in range(5_000) if n not in bad]


async def test_a_line_is_inserted_when_it_is_there(url):
    tail = await Command.start("tail", url=url)
    insert = await Command.start("insert", url=url)
    assert insert.process.stdin
    for n in range(3):
        insert.process.stdin.write(b'{"n": %d}\n' % n)
        assert await tail.line() == {"n": n}
    assert (await insert.end()).code == 0
    await tail.end(signal.SIGINT)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_an_interrupted_load_says_how_to_go_on(url, number, code):
    insert = await Command.start("insert", "--id", "load", url=url)
    tail = await Command.start("tail", url=url)
    assert insert.process.stdin
    insert.process.stdin.write(b'{"n": 0}\n{"n": 1}\n{"n"')
    assert [await tail.line(), await tail.line()] == [{"n": 0}, {"n": 1}]
    insert.process.send_signal(number)
    assert await insert.told() == (
        "streamd: to go on, without repeats: the same input with --id load "
        "(the server remembers each event's for 600 s)"
    )
    await insert.process.wait()
    assert insert.process.returncode == code
    again = await streamd("insert", "--id", "load", url=url, stdin=b'{"n":0}\n{"n":1}\n{"n":2}')
    assert (again.code, await tail.line()) == (0, {"n": 2})
    assert len(await stored(url)) == 3
    await tail.end(signal.SIGINT)


@pytest.mark.redis
async def test_a_load_goes_through_a_restart_of_the_server(server, new_redis):
    await server.stop()
    server.options = ("--store", new_redis().url, "--drain", "1")
    await server.start()
    insert = await Command.start("insert", url=server.url)
    tail = await Command.start("tail", url=server.url)
    assert insert.process.stdin
    insert.process.stdin.write(b'{"n": 0}\n')
    assert await tail.line() == {"n": 0}
    await server.stop()
    insert.process.stdin.write(b'{"n": 1}\n')
    await server.start()
    assert await tail.line() == {"n": 1}
    assert (await insert.end()).code == 0
    assert await stored(server.url) == [{"n": 0}, {"n": 1}]
    assert (await tail.end(signal.SIGINT)).code == 130


def test_a_summary_has_only_what_there_is():
    assert summary(Tally(39_244), 2.0) == "39,244 inserted in 2.0 s (19,622/s)"
    assert summary(Tally(1, 2, 3), 0).endswith("(1,000/s), 2 known already, 3 refused")
