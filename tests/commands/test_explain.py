"""`streamd explain`: for people and for programs."""

import orjson
import pytest
from typer.testing import CliRunner

from streamd.cli import make_app
from tests.commands.cli import on_terminal, streamd

EVENT = '{"kind":"watch\\u009b","user":291}'


async def placed(url: str) -> str:
    """Insert the event and return its cursor."""
    assert (await streamd("insert", EVENT, url=url)).code == 0
    (entry,) = (await streamd("items", "--entries", url=url)).lines
    cursor: str = entry["cursor"]
    return cursor


async def test_a_program_gets_a_line_of_json(url):
    cursor = await placed(url)
    result = await streamd("explain", "user=23,291", "kind=friend", "--cursor", cursor, url=url)
    assert (result.code, result.err, result.out.count(b"\n")) == (0, "", 1)
    (told,) = result.lines
    assert told["keys"] == [
        {"key": "user", "wanted": 2, "matched": True, "values": ["291"]},
        {"key": "kind", "wanted": 1, "matched": False, "values": ["watch\x9b"]},
    ]
    assert (told["found"], told["matches"], told["grants"]) == (True, False, None)
    assert told["entry"]["event"] == orjson.loads(EVENT)


async def test_a_person_is_told_in_words(url):
    cursor = await placed(url)
    result = await on_terminal("explain", "user=23,291", "kind=friend", "--cursor", cursor, url=url)
    shown = result.out.decode().replace("\r\n", "\n")
    assert result.code == 0
    for said in ("it does not match", "2 values wanted, the event has 291", "1 value wanted, the"):
        assert said in shown
    assert shown.index("yes") < shown.index("user") < shown.index("no  ") < shown.index("kind")
    assert shown.count(r"watch\x9b") == 2
    assert shown.count("\n") == 4
    result = await on_terminal("explain", "user=", "--event", "{}", url=url)
    assert "0 values wanted, the event has none" in result.out.decode()


async def test_what_is_not_there_is_said(url):
    cursor = await placed(url)
    other = await streamd("explain", "--event", '{"user":[1,2]}', "user=2", url=url)
    assert other.lines[0]["matches"] is True
    result = await streamd("explain", "--cursor", "nonsense", url=url)
    assert (result.code, result.out) == (1, b"")
    assert result.err == "streamd: cursor is not a cursor of this server (-32602)\n"
    assert cursor not in result.err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["user=1"],
        ["--cursor", "a", "--event", "{}"],
        ["--event", "{"],
        ["--event", "[]"],
        ["--event", "{}", "user"],
    ],
)
def test_wrong_usage(words):
    result = CliRunner().invoke(make_app("explain"), ["explain", *words])
    assert (result.exit_code, result.stdout) == (2, "")
