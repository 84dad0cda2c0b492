import os

import pytest

from tests.commands.cli import Command, streamd
from tests.keys import SECRET, token

WRITERS = (
    "items", "tail", "explain user=1 --event {{}}", "insert {{}}", "export {store}", "check {store}",
    "config default", "config env", "config check", "token make --sub ann --secret-file {secret}",
    "token explain", "--version", "--help", "serve --help", "items --help", "config --help",
)  # fmt: skip


@pytest.mark.parametrize("words", WRITERS, ids=lambda words: words.partition(" {")[0])
async def test_who_writes_to_nobody_ends_quietly(words, url, here, tmp_path):
    await here.fill([{"user": 1}])
    assert (await streamd("insert", '{"user":1}', url=url)).code == 0
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    given = words.format(store=" ".join(here.options), secret=secret).split()
    stdin = token().encode() if words == "token explain" else b""
    reading, writing = os.pipe()
    os.close(reading)
    command = await Command.start(*given, url=url, stdout=writing)
    os.close(writing)
    result = await command.end(stdin=stdin)
    assert (result.code, result.err) == (0, "")


async def test_wrong_usage_stays_wrong_where_nobody_reads(url):
    reading, writing = os.pipe()
    os.close(reading)
    command = await Command.start("token", "explain", "x", url=url, stdout=writing)
    os.close(writing)
    assert (await command.end()).code == 1
