"""Load that keeps to its times, each in a process of its own: a producer, and subscribers that say how late it is.

The producer's loop is open: an event counts from the moment for which it was planned, however late it
was sent, so that a server that stands still can't hide it by letting the producer stand still too.
"""

import multiprocessing
import re
import socket
import time
from array import array
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.clients import Client, Clients, call, subscribe

__all__ = [
    "EVENT",
    "Lateness",
    "Plan",
    "author",
    "fill",
    "listen",
    "processes",
    "produce",
    "quantile",
]

EVENT = re.compile(rb'"cursor":"([^"]+)","time":\d+,"event":\{[^{}]*"at":(\d+),"n":(\d+)\}\}\}')
"""An event as it is pushed: its cursor, when it was planned (monotonic nanoseconds), its number."""

_TEXT = "x" * 120


@dataclass(frozen=True, slots=True)
class Plan:
    """What a producer does: events numbered from 0 on, each at its time."""

    rate: int
    """Events per second."""
    begin: float
    """When it begins, by the monotonic clock, which all processes share."""
    seconds: float
    users: int

    @property
    def events(self) -> int:
        """How many there are."""
        return round(self.rate * self.seconds)


def author(number: int, users: int) -> int:
    """Return whose event this is: all users in turn, well mixed."""
    return (number * 2_654_435_761 & 0xFFFFFFFF) % users


def _insert(number: int, at: float, users: int) -> bytes:
    event = {"user": author(number, users), "text": _TEXT, "at": round(at * 1e9), "n": number}
    return call("insert", event=event)


def produce(port: int, plan: Plan) -> None:
    """Insert what was planned, and return when all of it has been acknowledged."""
    clients = Clients(port)
    clients.gather([b""])
    (client,) = clients.all.values()
    client.socket.setblocking(True)
    sent = 0
    answers = _Answers(client.socket)
    while sent < plan.events:
        due = min(plan.events, int((time.monotonic() - plan.begin) * plan.rate) + 1)
        frames = [
            _insert(number, plan.begin + number / plan.rate, plan.users)
            for number in range(sent, due)
        ]
        if frames:
            client.socket.sendall(b"".join(frames))
            sent = due
        answers.read(socket.MSG_DONTWAIT)
        time.sleep(max(0.0, plan.begin + sent / plan.rate - time.monotonic()))
    while answers.count < plan.events:
        answers.read()
    clients.close()


class _Answers:
    """Counts what was acknowledged."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""
        self.count = 0

    def read(self, flags: int = 0) -> None:
        try:
            data = self._connection.recv(1 << 20, flags)
        except BlockingIOError:
            return
        if not data:
            raise SystemExit("the server hung up on the producer")
        *answers, self._rest = (self._rest + data).split(b'"id":1}')
        if any(b'"error"' in answer for answer in answers):
            raise SystemExit("the server refused an event")
        self.count += len(answers)


def fill(port: int, events: int, users: int) -> None:
    """Insert so many events as fast as it goes."""
    clients = Clients(port)
    clients.gather(
        (
            call(
                "insert_many",
                events=[
                    {"user": author(number, users), "text": _TEXT}
                    for number in range(first, min(first + 1_000, events))
                ],
            )
            for first in range(0, events, 1_000)
        ),
        at_once=2,
    )
    clients.close()


class Lateness:
    """When events were planned, and how long after that they had arrived: seconds, side by side."""

    def __init__(self) -> None:
        self.planned = array("d")
        self.late = array("d")

    def take(self, client: Client) -> None:
        """Note the events that a client has received."""
        now = time.monotonic()
        end = 0
        for found in EVENT.finditer(client.received):
            at = int(found[2]) / 1e9
            self.planned.append(at)
            self.late.append(now - at)
            end = found.end()
        client.received = client.received[end:]

    def between(self, begin: float, end: float) -> list[float]:
        """Return, in order, how late those were that were planned in this time."""
        both = zip(self.planned, self.late, strict=True)
        return sorted(late for at, late in both if begin <= at < end)


def listen(port: int, feeds: list[list[int]], end: float) -> Lateness:
    """Subscribe to lists of users, and read until `end` by the monotonic clock."""
    lateness = Lateness()
    clients = Clients(port, lateness.take)
    clients.gather(subscribe(friends, backfill=0) for friends in feeds)
    while (left := end - time.monotonic()) > 0:
        clients.turn(left)
    clients.close()
    return lateness


def quantile(ordered: list[float], part: float) -> float:
    """Return the value that so great a part of the ordered values does not exceed."""
    if not ordered:
        raise SystemExit("no event arrived")
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def _nothing() -> None:
    pass


@contextmanager
def processes(number: int) -> Iterator[ProcessPoolExecutor]:
    """Give so many processes, which are there already, to run things in."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(number, mp_context=spawn) as pool:
        for started in [pool.submit(_nothing) for _ in range(number)]:
            started.result()
        yield pool
