"""A worker that can be asked what is not seen from outside: `python -m benchmarks.watched FD serve …`.

It is the server as it is, with a timer of a millisecond in its event loop. Between two turns of the timer the
loop has gone round at least once, and has taken every other step that was due: the CPU time of the
loop's thread between them is no less than that of the longest step, whichever loop it is.
"""

import asyncio
import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.processes import Served, free_port, running
from streamd.cli import main
from streamd.transports.gate import Gate

__all__ = ["Watched", "watched"]

_TICK = 0.001


class _Watch:
    """The worker's side."""

    def __init__(self, gate: Gate, channel: socket.socket) -> None:
        self._gate = gate
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._longest = 0.0
        self._last = time.thread_time()
        self._loop.add_reader(channel, self._answer)
        self._tick()

    def _tick(self) -> None:
        now = time.thread_time()
        self._longest = max(self._longest, now - self._last)
        self._last = now
        self._loop.call_later(_TICK, self._tick)

    def _answer(self) -> None:
        if not self._channel.recv(1):
            self._loop.remove_reader(self._channel)
            return
        held = max((peer.unsent() for peer in self._gate.keepalive), default=0)
        said = {"longest_step": self._longest, "held": held, "peers": len(self._gate.keepalive)}
        self._channel.send(json.dumps(said).encode())
        self._longest = 0.0


@dataclass(frozen=True, slots=True)
class Watched:
    """A server under observation."""

    served: Served
    channel: socket.socket

    def ask(self) -> dict[str, float]:
        """Return what was seen since the last time.

        `longest_step`: the most CPU seconds of a step of its event loop. `held`: the bytes that are
        kept, by the process and the kernel, for the peer for which most are. `peers`: connections.
        """
        self.channel.send(b"?")
        answer: dict[str, float] = json.loads(self.channel.recv(1 << 12))
        return answer


@contextmanager
def watched(store: str = "memory:", *options: str) -> Iterator[Watched]:
    """Run `streamd serve` on a free port, and watch it."""
    port = free_port()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    serve = ["serve", "--port", str(port), "--store", store, *options]
    command = [sys.executable, "-m", "benchmarks.watched", str(theirs.fileno()), *serve]
    with ours, theirs:
        with running(command, port, inherited=(theirs.fileno(),)) as served:
            yield Watched(served, ours)


def _serve() -> None:
    channel = socket.socket(fileno=int(sys.argv.pop(1)))
    begin = Gate.open

    def opened(gate: Gate) -> None:
        begin(gate)
        _Watch(gate, channel)

    Gate.open = opened  # type: ignore[assignment, method-assign]
    main()


if __name__ == "__main__":
    _serve()
