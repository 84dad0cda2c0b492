"""What somebody else writes into the tables of streamd: it is told in words, and passes."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from streamd.errors import StartupError, StoreUnavailable
from streamd.filters import EVERYTHING
from streamd.limits import Limits
from streamd.stores import open_store
from streamd.stores.base import Stream
from tests.stores.worlds import KEYS, PLENTY, follow, numbered, places, put, put_one, read_all

TOLD = "SQLite.* is damaged"
OTHERS: list[object] = ["hush", b"\xff", (1 << 63) - 1]


def tamper(path: Path, statement: str, *values: Any) -> list[Any]:
    """Do what the database lets anybody do."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        return other.execute(statement, values).fetchall()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("epoch", b"\xff\xfe"),
        *((column, value) for column in ("head", "floor", "time") for value in OTHERS),
        *((column, value) for column in ("head", "floor") for value in (2.5, -5)),
    ],
)
async def test_a_head_row_that_is_not_ours_is_not_built_upon(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, column: str, value: object
) -> None:
    path = tmp_path / "feed.db"
    stream = Stream("s", KEYS, Limits(store_deadline=1.0))
    async with open_store(f"sqlite:///{path}", stream) as store, follow(store) as followed:
        await put(store, numbered([1, 2]))
        await followed.reach(2)
        ((before,),) = tamper(path, f"SELECT {column} FROM streamd_streams")
        tamper(path, f"UPDATE streamd_streams SET {column} = ?", value)
        for call in (put_one(store, user=3), store.state(), read_all(store)):
            with pytest.raises(StoreUnavailable, match=TOLD):
                await call
        other = open_store(f"sqlite:///{path}", stream)
        with pytest.raises(StartupError, match=TOLD):
            await other.open()
        await other.aclose()
        tamper(path, f"UPDATE streamd_streams SET {column} = ?", before)
        assert (await put_one(store, user=3)).seq == 3
        await followed.reach(3)
        assert places(followed.entries) == [1, 2, 3]
    assert "hush" not in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("time", "hush"),
        ("time", 2.5),
        ("terms", "hush"),
        ("terms", 2.5),
        ("terms", b"\xff\xfe"),
        ("body", "hush"),
        ("body", 2.5),
    ],
)
async def test_an_entry_that_is_not_ours_is_told_of_and_passes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, column: str, value: object
) -> None:
    path = tmp_path / "feed.db"
    stream = Stream("s", KEYS, Limits(store_deadline=1.0))
    async with open_store(f"sqlite:///{path}", stream) as store:
        await put(store, numbered([1, 2]))
        ((before,),) = tamper(path, f"SELECT {column} FROM streamd_log ORDER BY id DESC LIMIT 1")
        last = "WHERE id = (SELECT max(id) FROM streamd_log)"
        tamper(path, f"UPDATE streamd_log SET {column} = ? {last}", value)
        async with follow(store, 0) as followed:
            with pytest.raises(StoreUnavailable, match=TOLD):
                await read_all(store)
            with pytest.raises(StoreUnavailable, match=TOLD):
                await store.newest(EVERYTHING, PLENTY)
            assert not followed.task.done()
            tamper(path, f"UPDATE streamd_log SET {column} = ? {last}", before)
            await followed.reach(2)
            assert places(followed.entries) == [1, 2]
    assert "hush" not in caplog.text
    assert "Traceback" not in caplog.text
