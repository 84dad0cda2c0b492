"""One feed, many subscribers: the server's CPU time per delivered event, against a plain server."""

import asyncio
import base64
import os
import secrets
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import orjson
from websockets.frames import Frame, Opcode

from benchmarks.inner import Row

SUBSCRIBERS = 1_000
BURST = 8
BURSTS = 40
ROUNDS = 3
SETTLE = 60.0
EVENT = {"kind": "watch", "user": 291, "repo": 2842, "note": "x" * 150}


def text(message: object) -> bytes:
    """Return one text message as a client sends it."""
    return Frame(Opcode.TEXT, orjson.dumps(message)).serialize(mask=True)


class Subscriber(asyncio.Protocol):
    """Count bytes: each event's frame has as many as the next."""

    def __init__(self) -> None:
        self.received = 0
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        transport.write(
            (
                "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            ).encode()
        )

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if not self.ready.done() and b'"result"' in data:
            self.ready.set_result(None)


async def measure(port: int, pid: int, *, plain: bool) -> list[float]:
    """Return CPU seconds per delivery, a figure a round."""
    loop = asyncio.get_running_loop()
    peers: list[Subscriber] = []
    for number in range(SUBSCRIBERS + 1):
        _, peer = await loop.create_connection(Subscriber, "127.0.0.1", port)
        if number < SUBSCRIBERS:
            call = {
                "jsonrpc": "2.0",
                "id": 0,
                "method": "subscribe",
                "params": {"filter": {"user": 291}},
            }
            peer.transport.write(text(call))
            await peer.ready
            peers.append(peer)
        else:
            producer = peer
    notification = {
        "jsonrpc": "2.0",
        "method": "event",
        "params": {"subscription": 1, "event": EVENT},
    }
    insert = {"jsonrpc": "2.0", "method": "insert", "params": {"event": EVENT}}
    frame = text(notification if plain else insert)
    rounds = []
    size = await one_burst(producer, peers, frame, 0) // (SUBSCRIBERS * BURST)
    for _ in range(ROUNDS):
        begin = cpu_seconds(pid)
        for _ in range(BURSTS):
            await one_burst(producer, peers, frame, size)
        rounds.append((cpu_seconds(pid) - begin) / (SUBSCRIBERS * BURST * BURSTS))
    for peer in (*peers, producer):
        peer.transport.abort()
    return rounds


async def one_burst(producer: Subscriber, peers: list[Subscriber], frame: bytes, size: int) -> int:
    """Send a burst and wait until all of it has come to everybody; return the bytes it took."""
    before = sum(peer.received for peer in peers)
    producer.transport.write(frame * BURST)
    end = time.monotonic() + SETTLE
    while True:
        taken = sum(peer.received for peer in peers) - before
        if (size and taken >= size * SUBSCRIBERS * BURST) or time.monotonic() > end:
            return taken
        if not size and taken and time.monotonic() > end - SETTLE + 2:
            return taken  # The first: nobody knows yet how much it will be.
        await asyncio.sleep(0.001)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_server(command: list[str], port: int, *, plain: bool) -> list[float]:
    """Start a server, measure it, end it."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            wait_for(port)
            return asyncio.run(measure(port, server.pid, plain=plain))
        finally:
            server.terminate()


def wait_for(port: int) -> None:
    """Wait until somebody listens."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("the server did not start")


def fanout() -> list[Row]:
    """Measure both servers with the same load."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ours = [sys.executable, "-m", "streamd", "serve", "--port", str(port), "--store", "memory:"]
    theirs = [sys.executable, "-m", "benchmarks.plain_server", str(port)]
    rows: list[Row] = []
    medians = []
    for name, command in (("streamd", ours), ("websockets.asyncio + broadcast()", theirs)):
        rounds = run_server(command, port, plain=command is theirs)
        medians.append(statistics.median(rounds))
        rows.append(
            {
                "name": f"one delivery, {name}",
                "unit": "µs CPU",
                "value": medians[-1] * 1e6,
                "least": min(rounds) * 1e6,
                "most": max(rounds) * 1e6,
            }
        )
    rows.append({"name": "plain server ÷ streamd", "unit": "", "value": medians[1] / medians[0]})
    return rows
