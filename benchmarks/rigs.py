"""Servers under load: each with its subscribers and its producers, measured in turns."""

import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.dialects import ANSWER, BARE, PLAIN, STREAMD, Dialect
from benchmarks.figures import Figure, Scale, ratios
from benchmarks.load import DEADLINE, Crowd, Producer, crowd
from benchmarks.processes import Served, free_port, running, streamd

__all__ = [
    "Rig",
    "Step",
    "Taken",
    "bare_rig",
    "figures",
    "in_turns",
    "plain_rig",
    "ratio",
    "rig",
    "streamd_rig",
]

_QUIET = ("--ping", "7200", "--pong", "3600")
"""No server looks after its connections in a measurement: nobody answers its pings."""
_ANSWER_BYTES = len(ANSWER) + 2


@dataclass(frozen=True, slots=True)
class Step:
    """Events that are inserted at once, of the same size, and who is to get each."""

    events: tuple[bytes, ...]
    readers: tuple[Sequence[int], ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a round took: seconds of CPU and of the clock."""

    deliveries: int
    server: float
    load: float
    wall: float

    @property
    def cpu(self) -> float:
        """The server's µs of CPU per delivery."""
        return self.server / self.deliveries * 1e6

    @property
    def load_cpu(self) -> float:
        """The load's µs of CPU per delivery, the producers included."""
        return self.load / self.deliveries * 1e6

    @property
    def rate(self) -> float:
        """Deliveries per second."""
        return self.deliveries / self.wall

    @property
    def share(self) -> float:
        """The server's CPU time as a part of the clock's: 1 is a whole core."""
        return self.server / self.wall


@dataclass(slots=True)
class Rig:
    """A server, its subscribers, and connections to insert by."""

    served: Served
    dialect: Dialect
    crowd: Crowd
    producers: dict[bool, list[Producer]] = field(default_factory=lambda: {False: [], True: []})
    """By whether they wait for answers."""

    def close(self) -> None:
        """Let the producers hang up."""
        for producers in self.producers.values():
            for producer in producers:
                producer.close()

    def push(self, steps: Sequence[Step], *, ahead: int = 1) -> Taken:
        """Insert step by step over one connection, with no more than `ahead` not delivered yet."""
        (producer,) = self._producers(1, answered=False)
        frames = [self.dialect.burst(step.events, step.readers) for step in steps]

        def run() -> None:
            for number, frame in enumerate(frames):
                if number >= ahead:
                    self.crowd.step()
                producer.read()
                producer.send(frame)
            for _ in frames[-ahead:]:
                self.crowd.step()

        return self._measure(steps, run)

    def insert(self, step: Step, times: int, producers: int) -> Taken:
        """Insert the one event of a step so many times over each connection, each waiting for its answer."""
        inserting = self._producers(producers, answered=True)
        frame = self.dialect.insert(step.events[0], answered=True)

        def run() -> None:
            left = {producer.fileno(): times for producer in inserting}
            by_number = {producer.fileno(): producer for producer in inserting}
            with select.epoll() as epoll:
                for producer in inserting:
                    epoll.register(producer.fileno(), select.EPOLLIN)
                    producer.send(frame)
                while any(left.values()):
                    ready = epoll.poll(DEADLINE)
                    if not ready:
                        raise RuntimeError("the answers did not come in time")
                    for number, _ in ready:
                        producer = by_number[number]
                        if len(producer.read()) != _ANSWER_BYTES:
                            raise RuntimeError("an insert was not answered as expected")
                        left[number] -= 1
                        if left[number]:
                            producer.send(frame)
            self.crowd.step()

        total = times * producers
        return self._measure([Step(step.events * total, step.readers * total)], run)

    def _producers(self, number: int, *, answered: bool) -> list[Producer]:
        known = self.producers[answered]
        while len(known) < number:
            known.append(Producer(self.served.port, self.dialect, answered=answered))
        return known[:number]

    def _measure(self, steps: Sequence[Step], run: Callable[[], None]) -> Taken:
        delivery = self.dialect.delivery(steps[0].events[0])
        self.crowd.expect(
            ([reader for readers in step.readers for reader in readers] for step in steps), delivery
        )
        load = self.crowd.cpu_seconds() + time.process_time()
        server, wall = self.served.cpu_seconds(), time.perf_counter()
        run()
        wall, server = time.perf_counter() - wall, self.served.cpu_seconds() - server
        load = self.crowd.cpu_seconds() + time.process_time() - load
        return Taken(self.crowd.check(), server, load, wall)


@contextmanager
def rig(served: Served, dialect: Dialect, wanted: Sequence[object]) -> Iterator[Rig]:
    """Put a server under load: one subscriber for each filter."""
    with crowd(served.port, dialect, [dialect.subscribe(each) for each in wanted]) as readers:
        made = Rig(served, dialect, readers)
        try:
            yield made
        finally:
            made.close()


@contextmanager
def streamd_rig(wanted: Sequence[object], store: str = "memory:", *options: str) -> Iterator[Rig]:
    """Put streamd under load."""
    with streamd(store, *_QUIET, *options) as served, rig(served, STREAMD, wanted) as made:
        yield made


@contextmanager
def plain_rig(wanted: Sequence[object], loop: str = "asyncio") -> Iterator[Rig]:
    """Put the plain server under load."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.plain_server", str(port), loop]
    with running(command, port) as served, rig(served, PLAIN, wanted) as made:
        yield made


@contextmanager
def bare_rig(subscribers: int) -> Iterator[Rig]:
    """Put the kernel under load: a server that only writes."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare_server", str(port)]
    with running(command, port) as served, rig(served, BARE, range(subscribers)) as made:
        yield made


def in_turns(
    scale: Scale, rigs: dict[str, Rig], once: Callable[[str, Rig], Taken]
) -> dict[str, list[Taken]]:
    """Run rounds, each with every server in turn, the first for warming up; return them by server."""
    for name, each in rigs.items():
        once(name, each)
    taken: dict[str, list[Taken]] = {name: [] for name in rigs}
    for _ in range(scale.rounds):
        for name, each in rigs.items():
            taken[name].append(once(name, each))
    return taken


def figures(
    prefix: str, how: str, taken: dict[str, list[Taken]], *, headlines: tuple[str, ...] = ()
) -> Iterator[Figure]:
    """Yield what each server took: `cpu` and `load` of a delivery, its `rate` and its `share` of a core."""
    parts: tuple[tuple[str, str, str, Callable[[Taken], float]], ...] = (
        ("cpu", "CPU per delivery", "µs", lambda round_: round_.cpu),
        ("load", "CPU of the load per delivery", "µs", lambda round_: round_.load_cpu),
        ("rate", "deliveries by the clock", "1/s", lambda round_: round_.rate),
        ("share", "CPU of the server by the clock", "cores", lambda round_: round_.share),
    )
    for part, what, unit, value in parts:
        for name, rounds in taken.items():
            yield Figure(
                name=f"{prefix}.{part}.{name}",
                what=f"{how}: {what}, {name}",
                unit=unit,
                rounds=[value(each) for each in rounds],
                headline=part in headlines,
            )


def ratio(above: list[Taken], below: list[Taken]) -> list[float]:
    """Return the CPU per delivery of one ÷ that of another, round by round."""
    return ratios([each.cpu for each in above], [each.cpu for each in below])
