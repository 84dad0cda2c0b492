import re

from tests.commands.cli import on_terminal
from tests.story import story_lines


async def test_a_terminal_shows_the_summary_and_the_bad_lines(url):
    result = await on_terminal("insert", "-", url=url, stdin=story_lines() + b"[1]\n")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", result.out.decode())
    assert result.code == 1
    assert "line 6: not an object: a list" in shown
    assert re.search(r"5 events +[\d,]+/s", shown)
    assert re.search(r"streamd: 5 inserted in \d+\.\d s \([\d,]+/s\), 1 refused", shown)
