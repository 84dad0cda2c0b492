import re
import signal

import orjson

from streamd.stores.base import Posting
from tests.commands.cli import Command, on_terminal, streamd
from tests.commands.streams import KEYS, NOWHERE
from tests.promises.serving import daemon
from tests.stores.tampering import tamper_with

EVENTS = [{"user": n % 10, "kind": "secret", "tags": [n % 3, "all"]} for n in range(1, 101)]
GONE = [Posting("tag:all", 7), Posting("user:1", 1)]
SURPLUS = [Posting("user:secret", 4), Posting("tag:all", 101)]


async def harm(place) -> None:
    async with place.opened() as store:
        await tamper_with(store).unpost(GONE)
        await tamper_with(store).post(SURPLUS)


async def test_a_sound_stream(place):
    await place.fill(EVENTS)
    result = await place.run("check")
    assert (result.code, result.lines) == (
        0,
        [{"entries": 100, "postings": 400, "found": {}, "left": {}}],
    )
    assert result.err == "streamd: 100 entries and 400 postings were looked at: all is right\n"


async def test_an_index_is_found_wrong_and_repaired(place):
    await place.fill(EVENTS)
    await harm(place)
    result = await place.run("check")
    *findings, numbers = result.lines
    assert result.code == 1
    assert sorted(map(orjson.dumps, findings)) == sorted(
        orjson.dumps({"kind": kind, "place": place, "key": key, "message": message})
        for kind, place, key, message in [
            ("missing", 1, "user", "the index lacks a value of key 'user' at place 1"),
            ("missing", 7, "tag", "the index lacks a value of key 'tag' at place 7"),
            (
                *("surplus", 4, "user"),
                "the index has a value of key 'user' at place 4 that is not there in the log",
            ),
            (
                *("surplus", 101, "tag"),
                "the index has a value of key 'tag' at place 101 that is not there in the log",
            ),
        ]
    )
    counts = {"missing": 2, "surplus": 2}
    assert numbers == {"entries": 100, "postings": 400, "found": counts, "left": counts}
    assert result.err == (
        "streamd: 100 entries and 400 postings were looked at; "
        "the index lacked 2 and had 2 too many; --repair makes it agree with the log\n"
    )
    result = await place.run("check", "--repair")
    assert result.code == 0
    assert result.lines[-1] | {"postings": 0} == {
        "entries": 100,
        "postings": 0,
        "found": counts,
        "left": {},
    }
    assert result.err.endswith("the index lacked 2 and had 2 too many; it is repaired\n")
    assert (await place.run("check")).code == 0


async def test_the_log_stays_as_it_is(here):
    await here.fill(EVENTS)
    async with here.opened() as store:
        await tamper_with(store).erase(50)
    result = await here.run("check", "--repair")
    assert result.code == 1
    assert result.lines[-1]["found"] == {"empty": 1, "surplus": 4}
    assert result.lines[-1]["left"] == {"empty": 1}
    assert result.err.endswith("it is repaired; the log has 1 faults, which nothing can repair\n")
    assert b"secret" not in result.out + result.err.encode()


async def test_of_many_findings_the_first_are_told(here):
    await here.fill(EVENTS)
    async with here.opened() as store:
        await tamper_with(store).unpost([Posting("tag:all", seq) for seq in range(1, 81)])
    result = await here.run("check")
    *findings, numbers = result.lines
    assert [finding["place"] for finding in findings] == list(range(1, 21))
    assert numbers["found"] == {"missing": 80}
    shown = await on_terminal("check", *here.options, url=NOWHERE)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.out.decode())
    assert shown.code == 1
    assert text.count("the index lacks a value of key 'tag' at place ") == 20
    assert "… and 60 more" in text
    assert "the index lacked 80 and had 0 too many" in text
    assert "{" not in text


async def test_a_server_that_runs_is_not_disturbed(place):
    await place.fill(EVENTS)
    await harm(place)
    async with daemon("--keys", str(KEYS), *place.options) as server:
        insert = await Command.start("insert", url=server.url)
        assert insert.process.stdin
        insert.process.stdin.write(b"".join(b'{"user":%d}\n' % n for n in range(2_000)))
        for _ in range(2):
            repaired = await place.run("check", "--repair")
            assert repaired.code == 0, repaired.out
        assert (await insert.end()).code == 0
        result = await place.run("check")
        assert (result.code, result.lines[-1]["entries"]) == (0, 2_100)
        items = await streamd("items", "user=1", "tag=all", url=server.url)
        assert len(items.lines) == 10
        assert await server.stop(signal.SIGTERM) == 0


async def test_a_stream_that_is_not_there(here):
    result = await here.run("check")
    assert (result.code, result.out) == (1, b"")
    assert "there is no stream" in result.err
