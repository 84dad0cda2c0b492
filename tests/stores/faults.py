"""What tests of stores in trouble share: refusals, the event loop's longest step, and stubborn writers."""

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streamd.errors import StartupError, StoreUnavailable, UnknownOutcome
from streamd.event import Keys
from streamd.limits import Limits
from streamd.stores import open_store
from streamd.stores.base import Store, Stream
from tests.harness import until
from tests.services import PostgresServer, RedisServer
from tests.stores.worlds import KEYS, batch_id, draft, numbered, places, put, read_all


def make(url: str, name: str = "s", keys: Keys | None = KEYS, **limits: float) -> Store:
    """Return a store that is not yet open."""
    return open_store(url, Stream(name, keys, Limits(**limits)))


async def refusal(url: str, name: str = "s", keys: Keys | None = KEYS, **limits: float) -> str:
    """Return the sentence with which a store refuses to open; fail if it opens, or shows its insides."""
    with pytest.raises(StartupError) as refused:
        async with make(url, name, keys, **limits):
            pass
    sentence = str(refused.value)
    for word in ("Error", "Traceback", "sqlalche", "asyncpg", "aiosqlite", "hush", "\n"):
        assert word not in sentence
    assert "hush" not in "".join(traceback.format_exception(refused.value))
    return sentence


class Pulse:
    """How long the event loop was kept from going on."""

    def __init__(self) -> None:
        self.longest = 0.0


@asynccontextmanager
async def pulse() -> AsyncIterator[Pulse]:
    """Watch the event loop while the block lasts."""
    found = Pulse()

    async def beat() -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.005)
            now = time.monotonic()
            found.longest, last = max(found.longest, now - last), now

    beating = asyncio.create_task(beat())
    try:
        yield found
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


class Writer:
    """Append one batch after another, and repeat each until it is known to be stored."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.stored: dict[str, int] = {}
        """The place of each event that was acknowledged, by what it says."""
        self.failures: list[str] = []
        self._number = 0

    async def write(self, store: Store, batches: int) -> None:
        """Append some batches, one by one."""
        for _ in range(batches):
            texts = [f"{self._name}.{self._number + n}" for n in range(3)]
            self._number += 3
            calls, batch = [[draft({"user": text, "kind": "w"}) for text in texts]], batch_id()
            while True:
                try:
                    (verdict,) = (await store.append(calls, batch)).verdicts
                except (StoreUnavailable, UnknownOutcome) as error:
                    self.failures.append(error.message)
                    await asyncio.sleep(0.01)
                else:
                    assert isinstance(verdict, list)
                    assert not any(placed.duplicate for placed in verdict)
                    self.stored |= dict(zip(texts, [p.seq for p in verdict], strict=True))
                    break


async def assert_outages_of_retention_are_told_once(
    sweeper: Any, server: RedisServer | PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Fail unless retention tells once that it waits, however often it tries, and once that it goes on."""
    caplog.set_level(logging.INFO)
    failed, sweep = 0, sweeper.sweep

    async def sweep_and_count() -> Any:
        nonlocal failed
        try:
            return await sweep()
        except StoreUnavailable:
            failed += 1
            raise

    def told() -> list[str]:
        lines = [record.message for record in caplog.records if "retention" in record.message]
        return [line.partition(": ")[0] for line in lines]

    sweeper.sweep, sweeper._pause = sweep_and_count, 0.01
    serving = asyncio.create_task(sweeper.serve())
    try:
        for outage in (1, 2):
            server.pause()
            await until(lambda enough=2 * outage: failed >= enough)
            server.resume()
            await until(lambda lines=2 * outage: len(told()) >= lines)
    finally:
        serving.cancel()
        await asyncio.wait([serving])
    waits = told()[0]
    assert waits.startswith("retention waits for ")
    assert told() == [waits, "retention goes on"] * 2


async def assert_a_short_stop_is_waited_for(
    store: Store, server: RedisServer | PostgresServer
) -> None:
    """Fail unless what was asked while an empty log's server stood still is done when it goes on."""
    server.pause()
    asyncio.get_running_loop().call_later(1.3, server.resume)
    placed, state = await asyncio.gather(put(store, numbered([1, 2])), store.state())
    assert [(p.seq, p.duplicate) for p in placed[0]] == [(1, False), (2, False)]
    assert state.head in (0, 2)
    assert places(await read_all(store)) == [1, 2]


async def assert_stored_once(store: Store, writers: Iterable[Writer]) -> None:
    """Fail unless the log is just what the writers were told, without holes."""
    entries = await read_all(store)
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    found = {entry.terms[0].removeprefix("user:"): entry.seq for entry in entries}
    assert len(found) == len(entries)
    assert found == {text: seq for writer in writers for text, seq in writer.stored.items()}
