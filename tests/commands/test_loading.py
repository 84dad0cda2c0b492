import orjson
import pytest
from streamd_client import connect

from streamd.commands.lines import Line
from streamd.commands.loading import Loader, Tally, check_event
from tests.harness import running


def test_an_event_is_sent_as_it_is():
    text = b'{"a": 18446744073709551616}'
    assert orjson.dumps([check_event(text)]) == b"[" + text + b"]"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "not JSON: unexpected end of data at column 2"),
        (b"[]", "not an object: a list"),
        (b"null", "not an object: null"),
    ],
)
def test_what_is_no_event_says_why(text, reason):
    with pytest.raises(ValueError) as info:
        check_event(text)
    assert str(info.value) == reason


async def test_ids_count_as_they_are_written():
    async with running(message_bytes=20_000) as server:
        async with connect(server.url, message_bytes=None) as client:
            limits = (await client.info()).limits
            loader = Loader(client, limits, "ä\n" * 40, lambda *told: None)
            await loader.load([Line(number, b"{}") for number in range(1, 300)])
    assert loader.tally == Tally(inserted=299)


async def test_calls_are_cut_to_the_servers_limits():
    async with running(insert_many=3, message_bytes=2_000) as server:
        async with connect(server.url, message_bytes=None) as client:
            refused = []
            limits = (await client.info()).limits
            loader = Loader(client, limits, "x", lambda *told: refused.append(told))
            sizes = [10] * 8 + [loader.longest, 600, 600, 10]
            lines = [
                Line(number, b'{"p":"%b"}' % (b"x" * (size - 8)))
                for number, size in enumerate(sizes, 1)
            ]
            await loader.load([*lines, Line(13, None)])
            events = await client.items(end=20)
    assert [len(event["p"]) + 8 for event in events[::-1]] == sizes
    assert loader.tally == Tally(inserted=12, refused=1)
    assert refused == [(13, f"longer than {loader.longest} bytes")]
