"""What clients/PROTOCOL.md shows of a feed is what is said."""

import asyncio
import json
import re
from typing import Any

from streamd_client import connect as client_of
from websockets.asyncio.client import connect

from tests.harness import DEADLINE, running
from tests.test_documents import PROTOCOL
from tests.vectors.matching import fill, match_all

LINES: list[tuple[str, str]] = re.findall(r"^    ([→←(]) ?(.*)$", PROTOCOL, re.M)


def pattern(line: str) -> Any:
    """Return what the line stands for: a cursor in it is any, but always the same, and a time too."""

    def read(members: dict[str, Any]) -> dict[str, Any]:
        cursors = {key: {"$cursor": members[key]} for key in {"cursor", "after"} & set(members)}
        return members | cursors | ({"time": {"$int": True}} if "time" in members else {})

    return json.loads(line, object_hook=read)


def connections() -> list[list[tuple[str, list[Any]]]]:
    """Return for each connection what is sent, and the patterns of what comes then."""
    told: list[list[tuple[str, list[Any]]]] = [[]]
    for mark, line in LINES:
        if mark == "(":
            told.append([])
        elif mark == "→":
            told[-1].append((line, []))
        else:
            told[-1][-1][1].append(pattern(line))
    return told


async def test_the_talk_in_the_protocol_is_what_is_said():
    first, second = connections()
    (missed,) = (re.search(r"\{.*\}", line) for mark, line in LINES if mark == "(")
    assert missed
    cursors: dict[str, str] = {}
    async with running() as server:
        for steps in (first, second):
            async with connect(server.ws_url) as socket:
                for sent, patterns in steps:
                    await socket.send(json.dumps(fill(pattern(sent), cursors)))
                    async with asyncio.timeout(DEADLINE):
                        came = [json.loads(await socket.recv()) for _ in patterns]
                    assert match_all(patterns, came, cursors), came
            async with client_of(server.ws_url) as client:
                await client.insert(json.loads(missed[0]))
    assert sorted(cursors) == ["c0", "c1", "c2"]
