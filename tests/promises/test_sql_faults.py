"""What users see while a database has its troubles: delay, or a word about it; never silence."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.promises.serving import Daemon, daemon
from tests.promises.wire import Heard, Wire
from tests.services import PostgresServer

pytestmark = pytest.mark.timeout(120)

NewPostgres = Callable[..., PostgresServer]
UNKNOWN, UNAVAILABLE = -32010, -32011


async def refused(store: str, folder: Path) -> str:
    """Return what a server says that does not start."""
    server = Daemon(1, ("--store", store, "--store-deadline", "1"), str(folder))
    with pytest.raises(AssertionError):
        await server.start()
    assert server.process
    assert await server.process.wait() == 1
    text = server.output.decode()
    assert len(text.strip().splitlines()) <= 2
    for word in ("Traceback", "Error", "hush"):
        assert word not in text
    return text


async def inserted(wire: Wire, number: int) -> dict[str, Any]:
    """Insert an event, however often that takes; return the answer."""
    async with asyncio.timeout(20):
        while True:
            answer = await wire.post("insert", event={"n": number}, id=f"id-{number}")
            if "result" in answer:
                result: dict[str, Any] = answer["result"]
                return result
            assert answer["error"]["code"] in (UNKNOWN, UNAVAILABLE), answer
            await asyncio.sleep(0.05)


async def ready(server: Daemon, expected: bool) -> None:
    """Wait until the server calls itself ready, or not."""
    async with asyncio.timeout(20):
        while await server.is_ready() != expected:
            await asyncio.sleep(0.05)


async def test_a_database_that_cannot_be_had_keeps_the_server_from_starting_with_a_sentence(
    tmp_path: Path,
) -> None:
    assert f"{tmp_path}/nowhere" in await refused(f"sqlite:///{tmp_path}/nowhere/feed.db", tmp_path)
    (tmp_path / "junk").write_bytes(b"junk" * 1_000)
    assert f"{tmp_path}/junk" in await refused(f"sqlite:///{tmp_path}/junk", tmp_path)
    assert "127.0.0.1:1" in await refused("postgresql://me:hush@127.0.0.1:1/feeds", tmp_path)


@pytest.mark.postgres
async def test_a_password_is_never_printed(postgres_server: PostgresServer, tmp_path: Path) -> None:
    assert "password" in await refused(postgres_server.url(password="hush"), tmp_path)
    async with daemon("--store", postgres_server.url()) as server:
        wire = await Wire.connect(server.url)
        await inserted(wire, 1)
        await wire.close()
        await server.stop()
        assert b"hush" not in server.output


async def test_a_locked_file_refuses_inserts_and_nothing_else(sqlite_url: str) -> None:
    async with daemon("--store", sqlite_url, "--store-deadline", "1") as server:
        heard = Heard()
        wire = await Wire.connect(server.url, heard)
        await wire.call("subscribe")
        await inserted(wire, 0)
        with contextlib.closing(
            sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
        ) as other:
            other.execute("BEGIN EXCLUSIVE")
            answers = await asyncio.gather(
                *[wire.post("insert", event={"n": n}, id=f"id-{n}") for n in range(1, 4)]
            )
            assert {answer["error"]["code"] for answer in answers} == {UNAVAILABLE}
            assert await wire.call("items") == [{"n": 0}]
            assert (await wire.call("subscribe", backfill=1))["entries"][0]["event"] == {"n": 0}
            assert await server.is_ready()
            other.execute("COMMIT")
        for number in range(1, 4):
            assert (await inserted(wire, number))["duplicate"] is False
        await heard.until(lambda: len(heard.events()) == 7)  # There are two subscriptions by now.
        assert [p["event"]["n"] for p in heard.of("event") if p["subscription"] == 1] == [
            0,
            1,
            2,
            3,
        ]
        await wire.close()


@pytest.mark.postgres
async def test_a_server_whose_database_crashes_says_so_and_goes_on_when_it_is_back(
    new_postgres: NewPostgres,
) -> None:
    postgres = new_postgres()
    async with daemon("--store", postgres.url(), "--store-deadline", "1") as server:
        heard = Heard()
        wire = await Wire.connect(server.url, heard)
        await wire.call("subscribe")
        await inserted(wire, 0)
        for number, (break_it, mend_it) in enumerate(
            [
                (postgres.kill, postgres.start),
                (postgres.pause, postgres.resume),
                (postgres.stop, postgres.start),
            ]
        ):
            await asyncio.to_thread(break_it)
            answers = await asyncio.gather(
                wire.post("insert", event={"n": number + 1}, id=f"id-{number + 1}"),
                wire.post("items"),
            )
            assert answers[0]["error"]["code"] in (UNKNOWN, UNAVAILABLE)
            assert answers[1]["error"]["code"] == UNAVAILABLE
            await ready(server, False)
            assert await wire.call("ping") == "pong"
            await asyncio.to_thread(mend_it)
            await inserted(wire, number + 1)
            await ready(server, True)
        await heard.until(lambda: len(heard.events()) == 4)
        assert heard.events() == [{"n": 0}, {"n": 1}, {"n": 2}, {"n": 3}]
        assert await wire.call("items") == [{"n": 3}, {"n": 2}, {"n": 1}, {"n": 0}]
        # A restart of the database resets nobody.
        assert not heard.of("closed")
        await wire.close()


@pytest.mark.postgres
async def test_a_database_that_turns_read_only_refuses_inserts_and_is_read(
    postgres_server: PostgresServer, stream_name: str
) -> None:
    url = postgres_server.new_database(stream_name)
    set_to = f'ALTER DATABASE "{stream_name}" SET default_transaction_read_only ='
    async with daemon("--store", url, "--store-deadline", "1") as server:
        heard = Heard()
        wire = await Wire.connect(server.url, heard)
        await wire.call("subscribe")
        await inserted(wire, 0)
        postgres_server.sql(f"{set_to} on")
        postgres_server.terminate(f"datname = '{stream_name}'")
        answer = await wire.post("insert", event={"n": 1}, id="id-1")
        assert answer["error"]["code"] == UNAVAILABLE
        assert "read-only" in answer["error"]["message"]
        assert await wire.call("items") == [{"n": 0}]
        postgres_server.sql(f"{set_to} off")
        postgres_server.terminate(f"datname = '{stream_name}'")
        assert (await inserted(wire, 1))["duplicate"] is False
        await heard.until(lambda: heard.events() == [{"n": 0}, {"n": 1}])
        await wire.close()


@pytest.mark.postgres
async def test_subscribers_of_what_a_restored_copy_lacks_are_told(
    new_postgres: NewPostgres,
) -> None:
    postgres = new_postgres()
    async with daemon("--store", postgres.url(), "--store-deadline", "2") as server:
        heard = Heard()
        wire = await Wire.connect(server.url, heard)
        await wire.call("subscribe")
        kept = await inserted(wire, 0)
        copy = await asyncio.to_thread(postgres.copy)
        lost = await inserted(wire, 1)
        await heard.until(lambda: heard.events() == [{"n": 0}, {"n": 1}])
        await asyncio.to_thread(postgres.kill)
        await asyncio.to_thread(postgres.put_back, copy)
        await asyncio.to_thread(postgres.start)
        await heard.until(lambda: bool(heard.of("closed")))
        (closed,) = heard.of("closed")
        assert (closed["code"], closed["data"]) == (-32007, {"reason": "epoch"})
        assert (await wire.call("subscribe", after=kept["cursor"]))["resumed"] is True
        assert (await wire.call("subscribe", after=lost["cursor"]))["reason"] == "epoch"
        assert (await inserted(wire, 2))["cursor"] != lost["cursor"]
        assert await wire.call("items") == [{"n": 2}, {"n": 0}]
        await wire.close()
