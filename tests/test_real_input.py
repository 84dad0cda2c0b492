"""Real events, through the command line into each store, while 500 of their users are followed.

The file that STREAMD_TEST_EVENTS names (NDJSON, gzipped) is taken, with edits of a wiki; else events
like those are generated.
"""

import asyncio
import gzip
import os
import random
import secrets
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from streamd_client import Client, Entry, Feed, connect

from tests.commands.cli import Command, streamd
from tests.commands.streams import StreamAt
from tests.promises.serving import Daemon, daemon

KEYS = ("--keys", "user,channel,namespace,page")
FOLLOWED = 500
FEEDS = 50
GENERATED = 2_500
DEADLINE = 60.0

Event = dict[str, Any]


def generate(count: int) -> list[Event]:
    """Return edits as a wiki has them: few users do most, titles have every sign there is."""
    dice = random.Random(20150912)
    words = ["Ürümqi", "猫", "O'Neill", "C, D & E", "a\\b", "مصر", "100%", "x=y", '"Q"', "🎻"]
    edits = []
    for number in range(count):
        robot = dice.random() < 0.4
        namespace = dice.choice(["Main", "Main", "Talk", "User talk", "Wikipédia"])
        edits.append(
            {
                "time": f"2015-09-12T00:00:{number % 60:02d}.000Z",
                "channel": f"#{dice.choice(['en', 'fr', 'vi', 'ca', 'ru'])}.wikipedia",
                "cityName": None,
                "comment": " ".join(dice.choices(words, k=dice.randrange(20))),
                "isRobot": robot,
                "namespace": namespace,
                "page": f"{namespace}:{' '.join(dice.choices(words, k=2))}",
                "user": f"Bot {dice.randrange(20)}" if robot else f"10.0.0.{dice.randrange(900)}",
                "delta": dice.randrange(-5_000, 5_000),
            }
        )
    return edits


@pytest.fixture(scope="module")
def events() -> list[Event]:
    """The events, the oldest first."""
    path = os.environ.get("STREAMD_TEST_EVENTS")
    if not path:
        return generate(GENERATED)
    with gzip.open(path) as lines:
        return [orjson.loads(line) for line in lines]


def followed(events: list[Event]) -> list[str]:
    """Return users to follow: the busiest, and some of all the others."""
    users = [user for user, _ in Counter(event["user"] for event in events).most_common()]
    others = random.Random(1).sample(users[20:], FOLLOWED - 20)
    return users[:20] + others


class Reader:
    """Takes everything from a feed as it comes."""

    def __init__(self, feed: Feed) -> None:
        self.entries: list[Entry] = []
        self.task = asyncio.create_task(self._read(feed))

    async def _read(self, feed: Feed) -> None:
        async with feed:
            async for entry in feed:
                self.entries.append(entry)

    async def has(self, expected: list[Entry]) -> None:
        """Fail unless just these have come, in this order."""
        async with asyncio.timeout(DEADLINE):
            while len(self.entries) < len(expected) and not self.task.done():
                await asyncio.sleep(0.02)
        if self.task.done():
            await self.task
        assert len(self.entries) == len(expected)
        assert self.entries == expected


async def query(client: Client, **keys: Any) -> list[Entry]:
    """Return all that matches, the oldest first, page by page."""
    entries: list[Entry] = []
    page = await client.history(limit=1_000, **keys)
    entries += page.entries
    while page.before is not None:
        page = await client.history(limit=1_000, before=page.before, **keys)
        entries += page.entries
    return entries[::-1]


async def load(server: Daemon, path: Path, *options: str) -> tuple[float, str]:
    """Insert a file with `streamd insert`; return the seconds it took and what it told."""
    started = time.perf_counter()
    with path.open("rb") as file:
        command = await Command.start("insert", "-", *options, url=server.url, stdin=file)
        result = await asyncio.wait_for(command.end(), DEADLINE)
    assert result.code == 0, result.err
    return time.perf_counter() - started, result.err


async def follow_and_load(server: Daemon, events: list[Event], path: Path) -> None:
    users = followed(events)
    parts = [users, *(users[n::FEEDS] for n in range(FEEDS))]
    readers: list[Reader] = []
    try:
        async with connect(server.url) as one, connect(server.url) as many:
            feeds = [
                client.subscribe(user=part, backfill=0)
                for client, part in zip([one, *[many] * FEEDS], parts, strict=True)
            ]
            readers += [Reader(feed) for feed in feeds]
            async with asyncio.timeout(DEADLINE):
                while not all(feed.live for feed in feeds):
                    await asyncio.sleep(0.01)
            seconds, _ = await load(server, path, "--id", "edits")
            print(f"{len(events) / seconds:,.0f} events/s in {seconds:.1f} s")  # noqa: T201 - to be looked at
            everything = await query(one)
            assert [entry.event for entry in everything] == events
            for reader, part in zip(readers, parts, strict=True):
                await reader.has(await query(one, user=part))
            wanted = set(users)
            expected = [entry for entry in everything if entry.event["user"] in wanted]
            # Whatever was too much has come before the answers.
            await asyncio.gather(one.ping(), many.ping())
            assert readers[0].entries == expected
            assert sum(len(reader.entries) for reader in readers[1:]) == len(expected)
    finally:
        await asyncio.gather(*(reader.task for reader in readers), return_exceptions=True)


async def check_commands(server: Daemon, events: list[Event], path: Path) -> None:
    _, told = await load(server, path, "--id", "edits")
    assert f", {len(events):,} known already" in told
    # A title as a user of the command line has to write it.
    title = next(event["page"] for event in reversed(events) if "," in event["page"])
    written = title.replace("\\", "\\\\").replace(",", "\\,")
    shown = await streamd("items", f"page={written}", "--end", "9999", url=server.url)
    assert shown.lines == [event for event in reversed(events) if event["page"] == title]


async def check(events: list[Event], folder: Path, *options: str) -> None:
    path = folder / "edits.ndjson"
    path.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in events))
    async with daemon(*KEYS, *options) as server:
        await follow_and_load(server, events, path)
        await check_commands(server, events, path)


@pytest.mark.timeout(180)
async def test_real_events_in_memory(events, tmp_path):
    await check(events, tmp_path, "--store", "memory:")


@pytest.mark.redis
@pytest.mark.timeout(180)
async def test_real_events_on_redis(events, tmp_path, redis_url):
    await check(events, tmp_path, "--store", redis_url, "--stream", secrets.token_hex(8))


# Moved.


async def timed(place: StreamAt, command: str, *words: str, **pipes: Any) -> bytes:
    """Run a command on a stream, and print how long it took."""
    started = time.perf_counter()
    result = await asyncio.wait_for((await place.start(command, *words, **pipes)).end(), DEADLINE)
    seconds = time.perf_counter() - started
    assert result.code == 0, result.err
    print(f"{command} {place.url.partition(':')[0]}: {seconds:.1f} s")  # noqa: T201 - to be looked at
    return result.out


@pytest.mark.redis
@pytest.mark.postgres
@pytest.mark.timeout(300)
async def test_real_events_move_from_store_to_store(
    events, tmp_path, sqlite_url, postgres_url, redis_url, stream_name
):
    first = tmp_path / "0.ndjson"
    lines = [{"time": 1_442_016_000_000 + n // 3, "event": event} for n, event in enumerate(events)]
    first.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    for number, url in enumerate((sqlite_url, postgres_url, redis_url), 1):
        place = StreamAt(url, stream_name)
        await timed(place, "import", f"{tmp_path}/{number - 1}.ndjson", *KEYS)
        (tmp_path / f"{number}.ndjson").write_bytes(await timed(place, "export"))
        numbers = orjson.loads(await timed(place, "check"))
        assert (numbers["entries"], numbers["found"]) == (len(events), {})
    texts = [(tmp_path / f"{number}.ndjson").read_bytes() for number in range(4)]
    for text in texts[1:]:
        # Everything but the cursors, byte for byte.
        assert [line.partition(b',"time":')[2] for line in text.splitlines()] == [
            line.partition(b'"time":')[2] for line in texts[0].splitlines()
        ]
