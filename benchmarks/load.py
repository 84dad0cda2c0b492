"""The load: subscribers that count bytes, in processes of their own, on raw sockets.

Nothing of what is delivered is parsed: a delivery takes a known number of bytes, so the bytes of
each subscriber tell how many it got, and they must be those expected, exactly.
"""

import multiprocessing
import resource
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from benchmarks.dialects import Dialect
from benchmarks.processes import cpu_seconds

__all__ = ["Crowd", "Producer", "crowd", "open_files"]

PROCESSES = 2
"""The subscribers of one server are in so many processes."""
DEADLINE = 60.0
"""Seconds that a step may take."""
_BUFFER = 1 << 20
_NAP = 0.0005
"""Seconds between two looks at the sockets: what gathers meanwhile is read at once, and no write has to wake a reader."""
_PINGS = range(0, 20, 2)
"""Bytes that a subscriber may take beside its deliveries: some pings of the server, of two bytes each."""


def open_files() -> int:
    """Allow as many open files as the system lets us; return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _connect(port: int, shake: bytes) -> socket.socket:
    connected = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if shake:
        connected.sendall(shake)
        _read_until(connected, b"\r\n\r\n")
    return connected


def _read_until(connected: socket.socket, mark: bytes) -> None:
    read = b""
    while mark not in read:
        more = connected.recv(65536)
        if not more:
            raise ConnectionError(f"the server hung up after {read[:200]!r}")
        read += more


class Crowd:
    """The subscribers of one server, by their numbers: 0, 1, 2 …"""

    def __init__(self, port: int, dialect: Dialect, asks: list[bytes]) -> None:
        """Open them, each with what it asks for. Who makes a crowd closes it."""
        self._size = len(asks)
        self._share = -(-len(asks) // PROCESSES)
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []
        context = multiprocessing.get_context("spawn")
        for first in range(0, len(asks), self._share):
            ours, theirs = context.Pipe()
            some = asks[first : first + self._share]
            process = context.Process(
                target=_subscribe, args=(port, dialect, some, theirs), daemon=True
            )
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(ours)
        self._expected: Counter[int] = Counter()
        self._delivery = 0

    def __len__(self) -> int:
        return self._size

    def close(self) -> None:
        """End the processes."""
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.close()
            process.terminate()
            process.join()

    def cpu_seconds(self) -> float:
        """Return the CPU time that all its processes have taken."""
        return sum(cpu_seconds(process.pid) for process in self._processes if process.pid)

    def expect(self, steps: Iterable[Iterable[int]], delivery: int) -> None:
        """Prepare for steps: to whom each delivers, once for every time; and a delivery's bytes."""
        targets: list[list[int]] = [[] for _ in self._pipes]
        sums = [0] * len(self._pipes)
        self._delivery = delivery
        for step in steps:
            for number, times in Counter(step).items():
                self._expected[number] += times
                sums[number // self._share] += times * delivery
            for target, total in zip(targets, sums, strict=True):
                target.append(total)
        for pipe, target in zip(self._pipes, targets, strict=True):
            pipe.send(target)

    def step(self) -> None:
        """Wait until all deliveries of the next step are there."""
        for pipe in self._pipes:
            self._receive(pipe)

    def check(self) -> int:
        """Return how many deliveries there were; raise RuntimeError unless they are those expected, each."""
        counted: list[int] = []
        for pipe in self._pipes:
            pipe.send(None)
            counted += self._receive(pipe)
        expected, self._expected = self._expected, Counter()
        wrong = [
            number
            for number, taken in enumerate(counted)
            if taken - expected[number] * self._delivery not in _PINGS
        ]
        if wrong:
            number = wrong[0]
            raise RuntimeError(
                f"{len(wrong)} subscribers did not get what is theirs: number {number} took "
                f"{counted[number]} bytes instead of {expected[number]} × {self._delivery}"
            )
        return expected.total()

    def ready(self) -> None:
        """Wait until all have subscribed."""
        for pipe in self._pipes:
            self._receive(pipe)

    @staticmethod
    def _receive(pipe: Connection) -> list[int]:
        if not pipe.poll(DEADLINE):
            raise RuntimeError("the deliveries did not come in time")
        try:
            said: list[int] = pipe.recv()
        except EOFError:
            raise RuntimeError("a process of subscribers has ended: the server hung up") from None
        return said


@contextmanager
def crowd(port: int, dialect: Dialect, asks: list[bytes]) -> Iterator[Crowd]:
    """Keep a crowd of subscribers for as long as the block lasts."""
    made = Crowd(port, dialect, asks)
    try:
        made.ready()
        yield made
    finally:
        made.close()


class Producer:
    """One who inserts, over a connection of its own."""

    def __init__(self, port: int, dialect: Dialect, *, answered: bool = False) -> None:
        """Connect; `answered`: it is going to wait for the answers of what it inserts."""
        self._socket = _connect(port, dialect.produce_shake)
        self._socket.sendall(dialect.produce(answered=answered))
        self._socket.settimeout(None)  # Or Python would wait for what MSG_DONTWAIT does not.

    def close(self) -> None:
        """Hang up; idempotent."""
        self._socket.close()

    def fileno(self) -> int:
        """Return what `select` knows it by."""
        return self._socket.fileno()

    def send(self, frames: bytes) -> None:
        """Send."""
        self._socket.sendall(frames)

    def read(self) -> bytes:
        """Return what was answered meanwhile."""
        try:
            return self._socket.recv(_BUFFER, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""


# In the processes of the subscribers.


class _Frames:
    """Count what is in frames, without their headers."""

    def __init__(self) -> None:
        self._left = 0
        self._header = b""

    def payload(self, data: memoryview) -> int:
        """Return how many of the next bytes are in frames."""
        position = taken = 0
        while position < len(data):
            if self._left:
                some = min(self._left, len(data) - position)
                self._left -= some
                taken += some
                position += some
                continue
            self._header += data[position : position + 1]
            position += 1
            if len(self._header) >= 2:
                length = self._header[1]
                extended = {126: 2, 127: 8}.get(length, 0)
                if len(self._header) == 2 + extended:
                    self._left = int.from_bytes(self._header[2:], "big") if extended else length
                    self._header = b""
        return taken


class _Subscribers:
    """The subscribers of one process."""

    def __init__(self, port: int, dialect: Dialect, asks: list[bytes], pipe: Connection) -> None:
        self._pipe = pipe
        self._sockets: dict[int, socket.socket] = {}
        self._taken: dict[int, int] = {}
        self._buffer = memoryview(bytearray(_BUFFER))
        for ask in asks:
            opened = _connect(port, dialect.shake)
            if ask:
                opened.sendall(ask)
                _read_until(opened, dialect.until)
            opened.setblocking(False)
            self._sockets[opened.fileno()] = opened
            self._taken[opened.fileno()] = 0
        if dialect.settle:
            self._settle(dialect)
        self._frames = {fd: _Frames() for fd in self._sockets} if dialect.framed else None

    def _settle(self, dialect: Dialect) -> None:
        time.sleep(dialect.settle)
        for opened in self._sockets.values():
            with suppress(BlockingIOError):
                opened.recv(_BUFFER)
            opened.sendall(dialect.settled)

    def serve(self) -> None:
        """Count until the other end of the pipe is closed."""
        pipe, sockets, taken = self._pipe, self._sockets, self._taken
        epoll = select.epoll()
        epoll.register(pipe.fileno(), select.EPOLLIN)
        for fd in sockets:
            epoll.register(fd, select.EPOLLIN)
        total = 0
        targets: deque[int] = deque()
        while True:
            time.sleep(_NAP)
            for fd, _ in epoll.poll():
                if fd in sockets:
                    size = self._read(fd)
                    taken[fd] += size
                    total += size
                elif (asked := pipe.recv()) is not None:
                    targets.extend(asked)
                else:
                    pipe.send(list(taken.values()))
                    taken.update(dict.fromkeys(taken, 0))
                    total = 0
            while targets and total >= targets[0]:
                targets.popleft()
                pipe.send([])

    def _read(self, fd: int) -> int:
        size = self._sockets[fd].recv_into(self._buffer)
        if not size:
            raise ConnectionError("the server hung up")
        return size if self._frames is None else self._frames[fd].payload(self._buffer[:size])


def _subscribe(port: int, dialect: Dialect, asks: list[bytes], pipe: Connection) -> None:
    subscribers = _Subscribers(port, dialect, asks, pipe)
    pipe.send([])
    with suppress(EOFError, ConnectionError):  # Either end hangs up: the parent sees that.
        subscribers.serve()
