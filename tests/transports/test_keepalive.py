"""The wheel, driven by hand: who is alive and who is cut, to the tick."""

import asyncio

import pytest

from streamd.limits import Limits
from streamd.transports.keepalive import Keepalive, SlowReaders

LIMITS = Limits(ping=25, pong=8, write_deadline=60)


class Connection:
    """A connection without a socket: what it does is set by hand."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.heard = self.pinged = self.slot = 0
        self.number = 7
        self.address = "192.0.2.7"
        self.lagging = False
        self.deaf = False
        self.backlog = 0
        self.acked = 0
        self.pings: list[int] = []
        self.ended: list[str] = []
        self.why = ""
        self.wheel: Keepalive[Connection] = Keepalive(limits)
        self.wheel.add(self)

    def unsent(self) -> int:
        return self.backlog

    def taken(self) -> int:
        return self.acked

    def ping(self) -> None:
        self.pings.append(self.wheel.now)

    def cut(self, why: str) -> None:
        self.ended.append("cut")
        self.why = why
        self.wheel.remove(self)

    def abort(self) -> None:
        self.ended.append("aborted")
        self.wheel.remove(self)

    def turn(self, ticks: int) -> None:
        for _ in range(ticks):
            self.wheel.tick()

    def turn_to_ping(self) -> None:
        count = len(self.pings)
        while len(self.pings) == count:
            self.wheel.tick()


@pytest.fixture
def connection() -> Connection:
    return Connection()


def test_a_tick_is_a_second_or_an_eighth_of_the_shortest_deadline() -> None:
    assert Keepalive(LIMITS).step == 1
    assert Keepalive(Limits(ping=0.8, pong=0.4, write_deadline=2)).step == pytest.approx(0.05)
    assert Keepalive(Limits(ping=0.01, pong=0.001)).step == 0.01


def test_pings_come_every_25_seconds(connection: Connection) -> None:
    for _ in range(200):
        connection.wheel.tick()
        connection.heard = connection.wheel.now
    distances = {b - a for a, b in zip(connection.pings, connection.pings[1:], strict=False)}
    assert distances == {25}
    assert not connection.ended


def test_silence_is_cut_8_seconds_after_the_ping(connection: Connection) -> None:
    connection.turn_to_ping()
    connection.turn(7)
    assert not connection.ended
    connection.turn(1)
    assert connection.ended == ["cut"]
    assert connection.why == "no answer to a ping"
    assert not len(connection.wheel)


@pytest.mark.parametrize("after", range(8))
def test_a_byte_after_the_ping_is_life(connection: Connection, after: int) -> None:
    connection.turn_to_ping()
    connection.turn(after)
    connection.heard = connection.wheel.now
    connection.turn(24 - after)
    assert not connection.ended


def test_a_byte_before_the_ping_is_no_answer_to_it(connection: Connection) -> None:
    connection.turn_to_ping()
    connection.heard = connection.wheel.now
    connection.turn(24)
    connection.heard = connection.wheel.now
    connection.turn(9)
    assert connection.ended == ["cut"]


def test_new_connections_are_not_judged_before_their_first_ping() -> None:
    connections = [Connection() for _ in range(1)]
    wheel = connections[0].wheel
    for _ in range(60):
        another = Connection()
        another.wheel = wheel
        wheel.add(another)
        connections.append(another)
        wheel.tick()
        assert not [other for other in connections if other.ended and not other.pings]
        for other in connections:
            other.heard = wheel.now


def test_who_is_not_read_cannot_be_heard(connection: Connection) -> None:
    connection.turn_to_ping()
    connection.deaf = True
    connection.turn(10)
    assert not connection.ended


def test_with_a_backlog_only_the_write_deadline_counts(connection: Connection) -> None:
    connection.backlog = 100
    connection.turn_to_ping()
    connection.turn(8 + 59)
    assert not connection.ended
    connection.turn(1)
    assert connection.ended == ["cut"]
    assert connection.why == "nothing was taken within write_deadline"


def test_a_backlog_since_the_ping_counts_too(connection: Connection) -> None:
    connection.turn_to_ping()
    connection.backlog, connection.lagging = 100, True
    connection.wheel.watch(connection)
    connection.turn(59)
    assert not connection.ended
    connection.turn(1)
    assert connection.ended == ["cut"]


@pytest.mark.parametrize("sign", ["taken", "heard"])
def test_being_far_behind_for_ever_is_fine_with_one_byte_in_time(
    connection: Connection, sign: str
) -> None:
    connection.backlog = 10**9
    connection.wheel.watch(connection)
    for _ in range(20):
        connection.turn(59)
        if sign == "taken":
            connection.acked += 1
        else:
            connection.heard = connection.wheel.now
    assert not connection.ended
    connection.turn(61)
    assert connection.ended == ["cut"]


def test_who_has_caught_up_is_not_watched_any_more(connection: Connection) -> None:
    connection.backlog = 100
    connection.wheel.watch(connection)
    connection.turn(30)
    connection.backlog = 0
    connection.turn(1)
    connection.backlog = 100
    connection.wheel.watch(connection)
    connection.turn(59)
    assert "cut" not in connection.ended


def test_a_goodbye_that_is_not_answered_ends_in_an_abort(connection: Connection) -> None:
    connection.wheel.part(connection)
    connection.turn(1)
    connection.wheel.part(connection)  # Again: that gives it no more time.
    connection.turn(1)
    assert connection.ended == ["aborted"]


def test_connections_that_come_together_are_pinged_apart() -> None:
    wheel: Keepalive[Connection] = Connection().wheel
    together = [Connection() for _ in range(250)]
    for connection in together:
        connection.wheel = wheel
        wheel.add(connection)
    at_once = []
    for _ in range(25):
        before = sum(len(connection.pings) for connection in together)
        wheel.tick()
        for connection in together:
            connection.heard = wheel.now
        at_once.append(sum(len(connection.pings) for connection in together) - before)
    assert at_once == [10] * 25


async def test_a_peer_that_fails_does_not_stop_the_wheel(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    wheel: Keepalive[Connection] = Keepalive(Limits(ping=0.1, pong=0.05, write_deadline=0.1))
    bad, good = Connection(), Connection()
    bad.ping = fail  # type: ignore[method-assign]  # the one way to make it fail
    wheel.add(bad)
    wheel.add(good)
    task = asyncio.create_task(wheel.run())
    async with asyncio.timeout(5):
        while len(good.pings) < 2:
            await asyncio.sleep(0.01)
    task.cancel()
    assert "ZeroDivisionError" in caplog.text


async def test_a_loop_that_stood_still_is_one_tick(connection: Connection) -> None:
    wheel: Keepalive[Connection] = Keepalive(Limits(ping=0.1, pong=0.05, write_deadline=0.1))
    task = asyncio.create_task(wheel.run())
    while wheel.now < 3:
        await asyncio.sleep(0)
    before = wheel.now
    loop = asyncio.get_running_loop()
    until = loop.time() + 0.5
    while loop.time() < until:
        pass
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert wheel.now <= before + 1
    task.cancel()


class Lingerer(Connection):
    """A connection that says goodbye when it is cut, and whose peer never answers."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self.wheel = Keepalive(limits)
        self.wheel.add(self)

    def cut(self, why: str) -> None:
        self.ended.append("cut")
        self.wheel.part(self)


def test_a_goodbye_has_its_time_once_however_often_pings_are_due() -> None:
    connection = Lingerer(Limits(ping=2, pong=1))
    connection.turn(100)
    assert connection.ended == ["cut", "aborted"]


class Told(SlowReaders):
    """Slow readers as they were told of."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def slow(self, number: int, address: str, unsent: int) -> None:
        self.told.append(("slow", number, address, unsent))

    def caught_up(self, number: int, seconds: float) -> None:
        self.told.append(("caught up", number, seconds))


@pytest.fixture
def told(connection: Connection) -> Told:
    connection.wheel = Keepalive(LIMITS, told := Told())
    connection.wheel.add(connection)
    return told


def test_one_whose_buffer_is_full_for_a_second_is_a_slow_reader(
    connection: Connection, told: Told
) -> None:
    connection.backlog = 500
    connection.wheel.watch(connection)
    assert told.told == []
    connection.turn(1)
    assert told.told == [("slow", 7, "192.0.2.7", 500)]
    connection.turn(5)
    assert told.told == [("slow", 7, "192.0.2.7", 500)], "that is said once"
    connection.wheel.relieve(connection)
    connection.wheel.relieve(connection)
    assert told.told[1:] == [("caught up", 7, 6.0)]
    connection.turn(10)
    assert len(told.told) == 2, "it has a backlog, and takes it"
    connection.wheel.watch(connection)
    connection.turn(1)
    assert told.told[2:] == [("slow", 7, "192.0.2.7", 500)]
    connection.backlog = 0
    connection.turn(1)
    assert told.told[3:] == [("caught up", 7, 2.0)]


def test_one_that_takes_what_it_is_sent_by_and_by_is_none(
    connection: Connection, told: Told
) -> None:
    connection.backlog = 500
    for _ in range(10):
        connection.wheel.watch(connection)
        connection.wheel.relieve(connection)
        connection.turn(1)
    assert told.told == []


@pytest.mark.parametrize("end", ["remove", "cut"])
def test_a_slow_reader_that_goes_is_none_any_more(
    connection: Connection, told: Told, end: str
) -> None:
    connection.backlog = 500
    connection.wheel.watch(connection)
    connection.turn(3)
    if end == "remove":
        connection.wheel.remove(connection)
    else:
        connection.turn(60)
        assert connection.ended == ["cut"]
    assert [what for what, *_ in told.told] == ["slow", "caught up"]
