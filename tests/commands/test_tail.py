import asyncio
import os
import re
import signal

import pytest

from tests.commands.cli import DEADLINE, Command, streamd
from tests.story import STORY, story_lines


async def insert(url: str, *lines: bytes) -> None:
    assert (await streamd("insert", url=url, stdin=b"\n".join(lines))).code == 0


async def test_it_follows_what_matches(url):
    await insert(url, story_lines())
    tail = await Command.start("tail", "user=23,291", "kind=friend", "--backfill", "1", url=url)
    assert await tail.line() == STORY[4]
    await insert(url, b'{"user": 7, "kind": "friend"}', b'{"user": 291, "kind": "friend"}')
    assert await tail.line() == {"user": 291, "kind": "friend"}
    await tail.end(signal.SIGINT)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_the_place_it_tells_is_where_to_go_on(url, number, code):
    await insert(url, story_lines())
    tail = await Command.start("tail", "--after", "start", "--entries", url=url)
    entries = [await tail.line() for _ in range(5)]
    assert [entry["event"] for entry in entries] == STORY
    result = await tail.end(number)
    assert (result.code, result.out) == (code, b"")
    cursor = entries[-1]["cursor"]
    assert result.err == f"streamd: to go on from here: --after {cursor}\n"
    await insert(url, b'{"n": 1}')
    tail = await Command.start("tail", "--after", cursor, url=url)
    assert await tail.line() == {"n": 1}
    await tail.end(signal.SIGINT)


async def test_a_lost_place_is_told_and_it_goes_on(server):
    await insert(server.url, story_lines())
    tail = await Command.start("tail", "-n", "1", url=server.url)
    strict = await Command.start("tail", "-n", "1", "--strict", url=server.url)
    assert await tail.line() == await strict.line() == STORY[4]
    await server.stop()
    await server.start()
    while not (await tail.told()).startswith("streamd: events may be missing here: "):
        pass  # Before that it may tell that the server was away.
    await insert(server.url, b'{"n": 1}')
    assert await tail.line() == {"n": 1}
    await tail.end(signal.SIGINT)
    result = await strict.end()
    assert result.code == 1
    assert "streamd: the place in the log is gone" in result.err


async def test_a_server_that_is_away_is_told_of_and_its_return_too(server):
    tail = await Command.start("tail", url=server.url)
    await insert(server.url, b'{"n": 0}')
    assert await tail.line() == {"n": 0}
    await server.stop()
    told = [await tail.told()]
    assert told == ["streamd: the server does not answer; trying again until it does"]
    await server.start()
    while told[-1] != "streamd: connected again":
        told.append(await tail.told())
    await tail.end(signal.SIGINT)


async def test_a_cursor_that_is_none_is_refused(url):
    result = await streamd("tail", "--after", "rubbish", url=url)
    assert (result.code, result.out) == (1, b"")
    assert result.err.startswith("streamd: ")
    assert result.err.count("\n") == 1


async def test_a_reader_that_stops_reading_can_still_be_left(url):
    tail = await Command.start("tail", "--after", "start", url=url)
    await insert(url, *[b'{"pad": "%b"}' % (b"x" * 10_000)] * 100)
    assert await tail.line()
    # Nobody reads: the pipe is full, and a signal is heard all the same.
    tail.process.send_signal(signal.SIGINT)
    assert (await tail.told()).startswith("streamd: to go on from here: --after ")
    await tail.end()
    assert tail.process.returncode == 130


async def test_a_person_sees_a_line_each(url):
    await insert(url, b'{"kind": "friend", "user": 23, "text": "\\u009b2J[red]"}')
    ours, theirs = os.openpty()
    tail = await Command.start("tail", url=url, stdout=theirs)
    os.close(theirs)
    line = await asyncio.wait_for(asyncio.to_thread(os.read, ours, 4096), DEADLINE)
    assert re.search(rb"\d\d:\d\d:\d\d.*friend.*user=.*23", line)
    assert rb'{"text":"\x9b2J[red]"}' in line
    await tail.end(signal.SIGINT)
    os.close(ours)
