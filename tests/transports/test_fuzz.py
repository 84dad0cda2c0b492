"""Peers that say anything and go away anywhere: no error is logged, and nothing is left of them."""

import asyncio
import contextlib
import logging
import os
from random import Random

import pytest

from streamd.server import RunningServer
from tests.harness import (
    BROWSER,
    CONT,
    PING,
    TEXT,
    Peer,
    call,
    deflate,
    frame,
    get,
    post,
    running,
    until,
    upgrade,
)

CALLS = (
    call("insert", {"event": {"user": 1, "tags": ["a", None]}, "id": "x"}),
    call("insert_many", {"events": [{"user": 1}], "ids": [None]}),
    call("items", {"filter": {"user": [1, "2"]}, "end": 3}),
    call("history", {"limit": 2, "before": "start"}),
    call("subscribe", {"filter": {"user": 1}, "after": "start"}),
    b"[" + call("ping") + b"," + call("unsubscribe", [1], None) + b",[]]",
)
SALT = (b"\r\n", b"\0", b"[[[", b'"', b"\xff", b"-1e9", b"9" * 30, b"Expect: 100-continue\r\n")


def spoilt(rng: Random, data: bytes) -> bytes:
    """Return some bytes, often with a few of them lost and others between."""
    for _ in range(rng.choice((0, 0, 1, 4))):
        at = rng.randrange(len(data) + 1)
        data = data[:at] + rng.choice((*SALT, rng.randbytes(2))) + data[at + rng.randrange(3) :]
    return data


def message(rng: Random) -> bytes:
    text = spoilt(rng, rng.choice(CALLS))
    fragments = frame(TEXT, text[:9], fin=False) + frame(PING, b"x") + frame(CONT, text[9:])
    whole = rng.choice((frame(TEXT, text), fragments, frame(TEXT, deflate(text), reserved=4)))
    return spoilt(rng, whole) if rng.random() < 0.1 else whole


def request(rng: Random) -> bytes:
    path = rng.choice(("/", "/metrics", "/%zz", "/health/ready"))
    return spoilt(rng, rng.choice((get(path), post(rng.choice(CALLS)))))


def conversation(rng: Random) -> list[bytes]:
    kind = rng.choice(("noise", "http", "websocket", "websocket"))
    if kind == "noise":
        return [rng.randbytes(300)]
    if kind == "http":
        return [request(rng) for _ in range(4)]
    return [spoilt(rng, upgrade(BROWSER)), *(message(rng) for _ in range(8))]


async def visit(server: RunningServer, rng: Random) -> None:
    pieces = conversation(rng)
    if rng.random() < 0.5:
        pieces = [b"".join(pieces)]
    async with Peer.connect(server) as peer:
        with contextlib.suppress(OSError):  # The server may have hung up.
            for piece in pieces[: rng.randrange(1, 10)]:
                await peer.send(piece)
                await asyncio.sleep(rng.choice((0, 0.001)))
            rng.choice((peer.reset, peer.send_end, lambda: None))()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_whatever_a_peer_says_and_wherever_it_stops(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(compression=True) as server:
        gate = server.application.gate
        assert gate is not None
        # With its first connection uvloop opens a file that it keeps.
        await visit(server, Random(0))
        await until(lambda: not gate.census.connections)
        tasks, files = len(asyncio.all_tasks()), open_files()
        rngs = [Random(seed) for seed in range(10)]
        for _ in range(40):
            await asyncio.gather(*[visit(server, rng) for rng in rngs])
        async with Peer.connect(server) as peer:
            await peer.send(post(call("ping")))
            assert (await peer.response()).json["result"] == "pong"
        await until(lambda: open_files() <= files and len(asyncio.all_tasks()) <= tasks)
        assert not len(gate.keepalive)
    assert [each.message for each in caplog.records if each.levelno >= logging.ERROR] == []
