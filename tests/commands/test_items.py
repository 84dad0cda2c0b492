import pytest
from typer.testing import CliRunner

from streamd.cli import make_app
from tests.commands.cli import on_terminal, streamd
from tests.story import STORY, story_lines


async def test_it_shows_the_newest_first(url):
    result = await streamd("insert", url=url, stdin=story_lines())
    assert (result.code, result.out, result.err) == (0, b"", "")
    found = await streamd("items", "user=23,291", "kind=friend,watch", "--start", "1", url=url)
    assert found.lines == STORY[3:1:-1]
    nothing = await streamd("items", "user=", url=url)
    assert (nothing.code, nothing.out) == (0, b"")
    entries = (await streamd("items", "--entries", "--end", "2", url=url)).lines
    assert [entry["event"] for entry in entries] == STORY[:2:-1]
    assert all(set(entry) == {"cursor", "time", "event"} for entry in entries)


async def test_end_may_be_far_back(url):
    events = b"".join(b'{"n":%d}\n' % n for n in range(2_500))
    assert (await streamd("insert", url=url, stdin=events)).code == 0
    for start, end in ((1_200, 2_400), (2_400, 9_999), (1_000, 1_000)):
        found = await streamd("items", "--start", str(start), "--end", str(end), url=url)
        assert [event["n"] for event in found.lines] == list(range(2_500))[::-1][start:end]


async def test_an_event_comes_out_as_it_went_in(url):
    event = '{"z":1,"a":{"ü":"\\u0007"},"f":1.5,"i":18446744073709551615}'.encode()
    await streamd("insert", event.decode(), url=url)
    assert (await streamd("items", url=url)).out == event + b"\n"


async def test_a_person_sees_a_line_each(url):
    event = '{"kind":"friend","user":23,"text":"[red]\\u001b[2J\\u009b"}'
    await streamd("insert", event, url=url)
    result = await on_terminal("items", url=url)
    assert result.code == 0
    shown = result.out.decode()
    assert "s ago" in shown
    assert "friend" in shown
    assert r'{"text":"[red]\u001b[2J\x9b"}' in shown
    assert shown.count("\n") == 1


async def test_a_line_is_cut_to_the_width_of_the_terminal(url):
    await streamd("insert", '{"kind":"edit","comment":"%s"}' % ("many words " * 50), url=url)
    shown = (await on_terminal("items", url=url)).out.decode()
    assert "…" in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [["user"], ["--start", "-1"], ["--start", "3", "--end", "2"], ["--url", "ftp://x/"]],
)
def test_wrong_usage(words):
    result = CliRunner().invoke(make_app("items"), ["items", *words])
    assert (result.exit_code, result.stdout) == (2, "")


async def test_what_the_server_refuses_is_a_sentence(url):
    result = await streamd("items", "colour=red", url=url)
    assert (result.code, result.out) == (1, b"")
    sentence = "'colour' is not a declared key: a filter can use user, kind, repo"
    assert result.err == f"streamd: {sentence} (-32602)\n"
