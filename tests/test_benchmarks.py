"""The benchmarks run and say what they measured; how fast anything is, no test says."""

import os
import subprocess
import sys
import time
from array import array
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.__main__ import MEASUREMENTS, main
from benchmarks.clients import Client
from benchmarks.connections import USERS
from benchmarks.dialects import NCHAN, STREAMD, event
from benchmarks.figures import Figure, Scale, ratios, repeat
from benchmarks.lists import lists_of_friends, single_steps
from benchmarks.load import _Frames
from benchmarks.paced import Lateness, author
from benchmarks.storm import Readers
from tests.documents import ROOT

WIRE = ("feed", "lists", "workers", "peers")
INNER = ("matcher", "reading", "inserting")
CLIENTS = ("idle", "handshakes", "storm", "latency", "slow")
DEADLINE = 150
"""Seconds for the longest: it takes some 40 on two cores that do nothing else, most of them waiting."""


def figure(*rounds: float, **goal: float) -> Figure:
    return Figure(name="a.b", what="a thing", unit="µs", rounds=list(rounds), **goal)


def test_a_figure_is_the_median_of_its_rounds():
    assert figure(3.0, 1.0, 200.0).median == 3.0
    assert figure(3.0, 1.0, 200.0).to_json() == {
        "name": "a.b", "what": "a thing", "unit": "µs", "rounds": [3.0, 1.0, 200.0],
        "at_least": None, "at_most": None, "headline": False, "median": 3.0, "least": 1.0, "most": 200.0, "holds": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("goal", "holds", "text"),
    [
        ({"at_least": 2.0}, True, "≥ 2"),
        ({"at_least": 2.1}, False, "≥ 2.1"),
        ({"at_most": 2.0}, True, "≤ 2"),
        ({"at_most": 1.9}, False, "≤ 1.9"),
        ({}, None, ""),
    ],
)
def test_a_goal_is_held_against_the_median(goal: dict[str, float], holds: bool | None, text: str):
    assert figure(1.0, 2.0, 3.0, **goal).holds is holds
    assert figure(1.0, 2.0, 3.0, **goal).goal == text


def test_the_first_round_warms_up_and_ratios_are_taken_round_by_round():
    said = iter(range(100))
    assert repeat(Scale(), lambda: float(next(said))) == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert ratios([6.0, 8.0], [2.0, 4.0]) == [3.0, 2.0]


def test_every_measurement_is_where_it_is_said_to_be():
    for name, module in MEASUREMENTS.items():
        assert callable(getattr(import_module(f"benchmarks.{module}"), name)), name


def test_a_measurement_that_fails_is_told_and_the_others_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(MEASUREMENTS, "broken", "nowhere")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    said = tmp_path / "said.json"
    assert main(["broken", "workers", "--json", str(said)]) == 1
    written = orjson.loads(said.read_bytes())
    assert [failed["name"] for failed in written["failed"]] == ["broken"]
    assert [skipped["name"] for skipped in written["skipped"]] == ["workers"]
    assert "nowhere" in capsys.readouterr().out


def test_an_unknown_measurement_is_refused():
    with pytest.raises(SystemExit, match="2"):
        main(["colour"])


def test_an_event_has_200_bytes_and_every_delivery_the_same():
    assert {len(event(user)) for user in (291, 100_000, 199_999)} == {200}
    assert NCHAN.delivery(event(291)) == STREAMD.delivery(event(100_000))


def test_frames_are_counted_without_their_headers_however_they_are_cut():
    payloads = [b"x" * 3, b"", b"x" * 200, b"x" * 70_000]
    headers = [
        b"\x82\x03",
        b"\x82\x00",
        b"\x82\x7e\x00\xc8",
        b"\x82\x7f" + (70_000).to_bytes(8, "big"),
    ]
    stream = b"".join(head + load for head, load in zip(headers, payloads, strict=True))
    for size in (1, 2, 7, 1000, len(stream)):
        frames = _Frames()
        parts = (memoryview(stream[at : at + size]) for at in range(0, len(stream), size))
        assert sum(map(frames.payload, parts)) == sum(map(len, payloads))


def test_readers_of_own_lists_are_those_who_have_the_actor_as_a_friend():
    friends = lists_of_friends(50)
    assert {len(set(each)) for each in friends} == {200}
    steps = single_steps(friends, 200)
    assert any(step.readers[0] for step in steps)
    for step in steps:
        actor = orjson.loads(step.events[0])["user"]
        assert list(step.readers[0]) == [n for n in range(50) if actor in friends[n]]


@pytest.mark.redis
@pytest.mark.timeout(DEADLINE + 10)
def test_every_measurement_of_the_wire_runs(tmp_path: Path):
    said = tmp_path / "said.json"
    # `workers` is skipped on few cores; that it works can be seen on any.
    program = "import os, sys; os.cpu_count = lambda: 4; from benchmarks.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "--quick", "--json", str(said), *WIRE]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=DEADLINE)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    written: dict[str, Any] = orjson.loads(said.read_bytes())
    assert written["failed"] == []
    names = {each["name"] for each in written["figures"]}
    assert {
        "feed.bursts.ratio", "feed.inserts.ratio", "feed.single.ratio", "lists.ratio", "workers.ratio",
        "peers.bursts.ratio.websockets", "peers.full.rate.streamd",
    } <= names  # fmt: skip
    assert len(names) == len(written["figures"]), "a figure's name is unique"


@pytest.mark.redis
@pytest.mark.timeout(DEADLINE + 10)
def test_every_measurement_of_matching_reading_and_inserting_runs(tmp_path: Path):
    said = tmp_path / "said.json"
    assert main(["--quick", "--json", str(said), *INNER]) == 0
    written: dict[str, Any] = orjson.loads(said.read_bytes())
    assert (written["failed"], written["skipped"]) == ([], [])
    names = {each["name"] for each in written["figures"]}
    assert {
        "matcher.core.ratio", "window.10000.friends", "redis.100000.kind.ratio", "redis.10000.length.ratio",
        "inserting.insert", "inserting.insert_many.redis", "awesomestream.insert",
    } <= names  # fmt: skip
    assert len(names) == len(written["figures"]), "a figure's name is unique"


def test_the_measurement_of_sql_runs(tmp_path: Path):
    said = tmp_path / "said.json"
    assert main(["--quick", "--json", str(said), "sql"]) == 0
    written: dict[str, Any] = orjson.loads(said.read_bytes())
    names = {each["name"] for each in written["figures"]}
    assert {"sqlite.append.100", "sqlite.friends.ratio"} <= names
    assert "postgresql.friends.ratio" in names or written["skipped"]


@pytest.mark.redis
@pytest.mark.timeout(DEADLINE + 10)
def test_every_measurement_of_connections_and_latency_runs(tmp_path: Path):
    said = tmp_path / "said.json"
    # As a program of its own: the processes that it starts import it anew.
    command = [sys.executable, "-m", "benchmarks", "--quick", "--json", str(said), *CLIENTS]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=DEADLINE)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    written: dict[str, Any] = orjson.loads(said.read_bytes())
    assert (written["failed"], written["skipped"]) == ([], [])
    names = {each["name"] for each in written["figures"]}
    assert {
        "idle.bare", "idle.subscribed", "handshakes.cpu", "storm.calls", "storm.delay", "latency.p99",
        "latency.step", "slow.ratio", "slow.held",
    } <= names  # fmt: skip
    assert len(names) == len(written["figures"]), "a figure's name is unique"


def test_a_storm_that_loses_repeats_or_swaps_an_event_fails():
    readers = Readers(0, 1)
    (reader,) = readers.readers
    theirs = [number for number in range(5_000) if author(number, USERS) in set(reader.friends)]
    assert len(theirs) > 2
    first, *others = theirs
    for wrong in (others, [first, *theirs], [*others, first]):
        reader.numbers = array("q", wrong)
        with pytest.raises(SystemExit, match="client 0"):
            readers.check(5_000)
    reader.numbers = array("q", theirs)
    readers.check(5_000)


def test_an_event_is_late_from_the_moment_it_was_planned_for():
    lateness = Lateness()
    client = Client(0, b"")
    planned = round((time.monotonic() - 2) * 1e9)
    frame = b'{"cursor":"c","time":1,"event":{"user":1,"at":%d,"n":7}}}' % planned
    for part in (frame + frame[:20], frame[20:]):
        client.received += part
        lateness.take(client)
    client.socket.close()
    assert lateness.between(planned / 1e9, planned / 1e9 + 1) == pytest.approx([2, 2], abs=0.5)
    assert lateness.between(0, planned / 1e9 - 1) == []
