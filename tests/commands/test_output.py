import asyncio
import os
import sys

import pytest

from streamd.commands.output import Stdout, while_read
from tests.commands.cli import Command, environment


async def test_a_slow_reader_does_not_stop_the_loop():
    reading, writing = os.pipe()
    data = os.urandom(1_000_000)
    task = asyncio.create_task(Stdout(writing).write(data))
    await asyncio.sleep(0)
    assert not task.done()
    received = await asyncio.to_thread(read_so_much, reading, len(data))
    await task
    assert received == data
    os.close(reading)
    os.close(writing)


def read_so_much(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(fd, 65536)
    return data


async def test_a_block_ends_when_the_reader_goes():
    reading, writing = os.pipe()

    async def wait_for_nothing() -> None:
        async with while_read(Stdout(writing)):
            os.close(reading)
            await asyncio.Event().wait()

    with pytest.raises(BrokenPipeError):
        await asyncio.wait_for(wait_for_nothing(), 10)
    os.close(writing)


async def test_a_block_in_a_file_ends_by_itself(tmp_path):
    with (tmp_path / "out").open("wb") as file:
        stdout = Stdout(file.fileno())
        async with while_read(stdout):
            await stdout.write(b"x" * 10_000)
    assert (tmp_path / "out").stat().st_size == 10_000


async def test_head_is_quiet(url):
    shell = 'for n in 1 2 3; do echo "{\\"n\\":$n}"; done | "$0" -m streamd insert && '
    for words in ("items", "tail"):
        command = await shell_command(f'{shell} "$0" -m streamd {words} | head -n 1', url)
        assert await command.line()
        result = await command.end()
        assert (result.code, result.err) == (0, "")


async def shell_command(script: str, url: str) -> Command:
    return Command(
        await asyncio.create_subprocess_exec(
            *("sh", "-c", script, sys.executable),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(url),
        )
    )
