"""streamd.ledger: rows that outlive their workers, with real processes."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import pytest

from streamd.cells import CELLS
from streamd.errors import StartupError
from streamd.ledger import OwnLedger, Row, SharedLedger
from tests.harness import DEADLINE

SPAWN = multiprocessing.get_context("spawn")
"""So does uvicorn start its workers."""


def work(ledger: SharedLedger, pipe: Connection) -> None:
    """Take a row; then add to its first cell what is said, and answer with what all rows say."""
    row = ledger.take()
    pipe.send("taken")
    while number := pipe.recv():
        row[0] += number
        pipe.send(first_cells(ledger))


def first_cells(ledger: SharedLedger) -> list[tuple[float, bool]]:
    return [(row.cells[0], row.alive) for row in ledger.read()]


class Worker:
    """A process with a row."""

    def __init__(self, ledger: SharedLedger) -> None:
        self.pipe, theirs = SPAWN.Pipe()
        self.process: BaseProcess = SPAWN.Process(target=work, args=(ledger, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def count(self, number: float) -> list[tuple[float, bool]]:
        self.pipe.send(number)
        return self.answer()

    def answer(self) -> list[tuple[float, bool]]:
        assert self.pipe.poll(DEADLINE)
        answer: list[tuple[float, bool]] = self.pipe.recv()
        return answer

    def kill(self) -> None:
        self.process.kill()
        self.process.join(DEADLINE)
        self.pipe.close()


@contextmanager
def workers(ledger: SharedLedger) -> Iterator[Callable[[], Worker]]:
    started: list[Worker] = []

    def start() -> Worker:
        started.append(Worker(ledger))
        started[-1].answer()
        return started[-1]

    try:
        yield start
    finally:
        for worker in started:
            worker.kill()


def test_a_process_alone_has_one_row() -> None:
    ledger = OwnLedger()
    ledger.take()[5] = 7
    assert ledger.take()[5] == 7
    ((cells, alive),) = ledger.read()
    assert (len(cells), cells[5], alive) == (CELLS, 7, True)


def test_a_row_outlives_its_worker_and_goes_to_the_next() -> None:
    ledger = SharedLedger()
    assert ledger.read() == []
    with workers(ledger) as start:
        one, two = start(), start()
        assert one.count(3) == [(3, True), (0, True)]
        assert two.count(4) == [(3, True), (4, True)]
        one.kill()
        assert two.count(1) == [(3, False), (5, True)]
        assert first_cells(ledger) == [(3, False), (5, True)], "whoever has none may read too"
        three = start()
        assert three.count(10) == [(13, True), (5, True)]
        assert two.count(1) == [(13, True), (6, True)]
    assert first_cells(ledger) == [(13, False), (6, False)]


def test_looking_at_a_row_does_not_take_it_from_its_worker() -> None:
    ledger = SharedLedger()
    with workers(ledger) as start:
        start()
        for _ in range(3):
            assert first_cells(ledger) == [(0, True)]
        mine = ledger.take()
        assert ledger.take() == mine
        mine[0] = 9
        other = start()
        assert other.count(1) == [(0, True), (9, True), (1, True)]
        for _ in range(3):
            assert first_cells(ledger) == [(0, True), (9, True), (1, True)]
        assert other.count(1) == [(0, True), (9, True), (2, True)]


def test_without_files_in_memory_it_has_one_that_leaves_no_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ledger = SharedLedger()
    assert os.listdir(str(tmp_path)) == []
    with workers(ledger) as start:
        assert start().count(2) == [(2, True)]
    assert isinstance(ledger.read()[0], Row)


def test_more_workers_than_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = SharedLedger()
    monkeypatch.setattr("streamd.ledger._ROWS", 1)
    with workers(ledger) as start:
        start()
        with pytest.raises(StartupError, match="more than 1 worker processes"):
            ledger.take()


def test_what_the_others_have_that_are_alive() -> None:
    ledger = SharedLedger()
    ledger.take()[0] = 7
    assert not ledger.others_have(0, 7)
    with workers(ledger) as start:
        one, two = start(), start()
        one.count(3)
        two.count(5)
        assert [ledger.others_have(0, most) for most in (2, 3, 4)] == [False, True, True]
        one.kill()
        assert [ledger.others_have(0, most) for most in (4, 5)] == [False, True]
    assert not OwnLedger().others_have(0, 7)
