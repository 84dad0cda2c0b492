from tests.commands.cli import on_terminal, streamd
from tests.story import STORY, story_lines


async def test_the_story_of_awesomestream(url):
    result = await streamd("insert", url=url, stdin=story_lines())
    assert (result.code, result.out, result.err) == (0, b"", "")
    newest = STORY[::-1]

    async def items(*words):
        return (await streamd("items", *words, url=url)).lines

    assert await items() == newest
    assert await items("kind=friend") == newest[:2]
    assert await items("kind=friend", "user=23") == newest[:1]
    assert await items("user=23,291") == newest
    assert await items("user=23,291", "--start", "1", "--end", "3") == newest[1:3]
    assert await items("user=") == []
    assert await items("--start", "3", "--end", "3") == []
    assert await items("--start", "2", "--end", "99") == newest[2:]
    entries = await items("--entries", "--end", "2")
    assert [entry["event"] for entry in entries] == newest[:2]
    assert all(set(entry) == {"cursor", "time", "event"} for entry in entries)


async def test_end_may_be_far_back(url):
    events = b"".join(b'{"n":%d}\n' % n for n in range(2_500))
    assert (await streamd("insert", url=url, stdin=events)).code == 0
    found = (await streamd("items", "--start", "1200", "--end", "2400", url=url)).lines
    assert [event["n"] for event in found] == list(range(2_499 - 1_200, 2_499 - 2_400, -1))


async def test_an_event_comes_out_as_it_went_in(url):
    event = '{"z":1,"a":{"ü":"\\u0007"},"f":1.5,"i":18446744073709551615}'.encode()
    await streamd("insert", event.decode(), url=url)
    assert (await streamd("items", url=url)).out == event.replace(b"\\u0007", b"\\u0007") + b"\n"


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


async def test_wrong_usage(url):
    for words in (
        ["user"],
        ["--start", "-1"],
        ["--start", "3", "--end", "2"],
        ["--url", "ftp://x/"],
    ):
        result = await streamd("items", *words, url=url)
        assert (result.code, result.out) == (2, b""), words
        assert "Traceback" not in result.err


async def test_what_the_server_refuses_is_a_sentence(url):
    result = await streamd("items", "colour=red", url=url)
    assert (result.code, result.out) == (1, b"")
    assert result.err == (
        "streamd: a filter can only use declared keys: user, kind, repo (-32602)\n"
    )
