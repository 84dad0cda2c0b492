import asyncio
import os
import random

import pytest

from streamd.commands.lines import Lines, read_chunks


def cut(text: bytes, sizes: list[int], longest: int = 100) -> list[tuple[int, bytes | None]]:
    """Feed a text in chunks of these sizes, the last as long as it takes."""
    lines, found = Lines(longest), []
    for size in sizes:
        found += lines.cut(text[:size])
        text = text[size:]
    found += lines.cut(text)
    return [(number, line) for number, line in found + lines.finish()]


def test_blank_lines_count_and_are_left_out():
    assert cut(b"a\n\n \r\nb\r\nc", []) == [(1, b"a"), (4, b"b"), (5, b"c")]
    assert cut(b"", []) == []
    assert cut(b"\n", []) == []


def test_a_line_that_is_too_long_is_told_by_its_number():
    assert cut(b"a\n123456\nb", [3, 3], longest=5) == [(1, b"a"), (2, None), (3, b"b")]
    assert cut(b"12345\n123456", [], longest=5) == [(1, b"12345"), (2, None)]


def test_chunks_make_no_difference():
    dice = random.Random(1)
    for _ in range(300):
        text = bytes(dice.choice(b"ab\n") for _ in range(40))
        sizes = [dice.randrange(6) for _ in range(20)]
        assert cut(text, sizes, longest=4) == cut(text, [], longest=4)


async def test_what_is_there_is_read_at_once():
    reading, writing = os.pipe()
    chunks = read_chunks(reading)
    for text in (b"one\n", b"two\n"):
        os.write(writing, text)
        assert await asyncio.wait_for(anext(chunks), 10) == text
    os.close(writing)
    assert [chunk async for chunk in chunks] == []
    os.close(reading)


async def test_a_reader_that_waits_is_not_waited_for():
    reading, writing = os.pipe()
    chunks = read_chunks(reading)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(chunks), 0.05)
    os.close(writing)


async def test_what_cannot_be_read_is_an_error(tmp_path):
    folder = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(IsADirectoryError):
        await anext(read_chunks(folder))
    os.close(folder)
