"""streamd.transports.census: who is let in, counted in all and by address; over real sockets too."""

import asyncio
import contextlib
import logging
from typing import Any

import pytest

from streamd.limits import Limits
from streamd.meters import Meters
from streamd.rates import Pace
from streamd.server import RunningServer
from streamd.transports import census as module
from streamd.transports import seat
from streamd.transports.census import Census
from streamd.transports.proxies import Proxies
from tests.harness import Peer, call, get, post, running, until, upgrade, websocket
from tests.test_metrics import counted

PROXY = "10.0.0.1"


def make(meters: Meters | None = None, **limits: Any) -> Census:
    made, seats = Limits(**limits), (meters or Meters()).seats
    return Census(made, Proxies(["10.0.0.0/8"]), Pace(made, lambda: 77.0), seats)


def status(refusal: Any) -> int:
    return 200 if refusal is None else refusal.status


# Counting.


def test_connections_in_all() -> None:
    meters = Meters()
    census = make(meters, connections=2)
    assert [status(census.enter(f"192.0.2.{n}")) for n in range(3)] == [200, 200, 503]
    assert counted(meters)["streamd_seats"] == 2
    census.leave("192.0.2.0")
    assert counted(meters)["streamd_seats"] == 1
    assert [status(census.enter("192.0.2.9")) for _ in range(2)] == [200, 503]


def test_connections_of_one_address() -> None:
    census = make(address_connections=2)
    for address in ("192.0.2.1", "192.0.2.2"):
        assert [status(census.enter(address)) for _ in range(3)] == [200, 200, 429]
    six = [f"2001:db8::{n}" for n in range(3)]
    assert [status(census.enter(address)) for address in six] == [200, 200, 429]
    census.leave("192.0.2.1")
    census.leave("2001:db8::ffff")
    assert [status(census.enter(a)) for a in ("192.0.2.1", "2001:db8::77")] == [200, 200]
    assert census.connections == 6


def test_a_proxy_is_nobodys_address_and_those_behind_it_are_counted_one_by_one() -> None:
    census = make(address_connections=1)
    assert [status(census.enter(PROXY)) for _ in range(3)] == [200, 200, 200]
    assert [status(census.claim("192.0.2.1")) for _ in range(2)] == [200, 429]
    assert status(census.claim(PROXY)) == 200
    census.leave("192.0.2.1")
    census.leave(PROXY)
    assert status(census.enter("192.0.2.1")) == 200
    assert census.connections == 2


def test_connects_that_come_too_fast() -> None:
    now = 77.0
    limits = Limits(connects_per_second=0.5, burst=6)
    census = Census(limits, Proxies(), Pace(limits, lambda: now), Meters().seats)
    assert [status(census.enter("192.0.2.1")) for _ in range(4)] == [200, 200, 200, 429]
    refusal = census.enter("192.0.2.1")
    assert refusal is not None
    assert refusal.retry_after == 2
    assert status(census.enter("192.0.2.2")) == 200
    census.leave("192.0.2.1")
    assert status(census.enter("192.0.2.1")) == 429, "who goes may not come for that"
    now += 2
    assert [status(census.enter("192.0.2.1")) for _ in range(2)] == [200, 429]


def test_what_is_remembered_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 10)
    census = make(connects_per_second=1, calls_per_second=1, address_connections=5)
    for number in range(1_000):
        address = f"203.0.{number // 250}.{number % 250}"
        assert census.enter(address) is None
        assert census.rates(address) is not None
        census.leave(address)
    assert len(census._visitors) == 10
    assert not census._present
    kept = census.rates("203.0.3.249")
    assert census.rates("203.0.3.249") is kept


def test_without_such_limits_nothing_is_kept_of_anybody() -> None:
    census = make()
    for number in range(100):
        assert census.enter(f"203.0.113.{number}") is None
        assert census.rates(f"203.0.113.{number}") is None
    assert not census._visitors
    assert not census._present


# Over sockets.


async def refused(server: RunningServer, request: bytes, *statuses: int) -> None:
    """See that a request is answered with one of these statuses, in words, and ended."""
    async with Peer.connect(server) as peer:
        with contextlib.suppress(ConnectionError):
            await peer.send(request)
        response = await peer.response()
        assert response.status in statuses
        assert int(response.headers["retry-after"]) > 0
        assert response.json["error"]
        assert await peer.rest() == b""


async def test_whoever_comes_when_all_places_are_taken_is_told_so() -> None:
    async with running(connections=2) as server, Peer.connect(server) as idle:
        census = server.application.gate.census
        async with websocket(server) as one:
            await until(lambda: census.connections == 2)
            for request in (upgrade(), get("/health/live"), post(call("ping")), b""):
                await refused(server, request, 503)
            assert await one.call("ping") == "pong"
            await idle.send(get("/health/live"))
            assert (await idle.response()).status == 200
        await until(lambda: census.connections == 1)
        async with websocket(server) as other:
            assert await other.call("ping") == "pong"
    assert census.connections == census.turned_away == 0


async def test_places_are_given_back_however_a_connection_ends() -> None:
    async with running(address_connections=100) as server:
        census = server.application.gate.census
        requests = [
            b"",
            b"nonsense\r\n\r\n",
            upgrade(),
            upgrade(path="/x"),
            get(),
            upgrade("Origin: null"),
        ]
        for request in requests:
            async with Peer.connect(server) as peer:
                await peer.send(request)
            async with Peer.connect(server) as peer:
                await peer.send(request)
                if request:
                    await peer.response()
                peer.reset()
        await until(lambda: census.connections == 0)
        assert not census._present


async def test_one_address_does_not_take_all_places() -> None:
    async with running(address_connections=2) as server, websocket(server) as one:
        async with websocket(server) as two:
            for _ in range(5):
                await refused(server, upgrade(), 429)
            assert await one.call("ping") == await two.call("ping") == "pong"
        await until(lambda: server.application.gate.census.connections == 1)
        async with websocket(server) as other:
            assert await other.call("ping") == "pong"


async def test_an_address_that_is_made_up_helps_nobody() -> None:
    async with running(address_connections=1) as server, websocket(server):
        for number in range(50):
            await refused(server, upgrade(f"X-Forwarded-For: 203.0.113.{number}"), 429)
            await refused(server, upgrade(f"Forwarded: for=203.0.113.{number}"), 429)


async def test_behind_a_proxy_those_it_comes_for_are_counted() -> None:
    options = {"address_connections": 1, "trusted_proxy": "127.0.0.0/8"}
    async with running(**options) as server, contextlib.AsyncExitStack() as stack:
        for number in range(5):
            header = f"X-Forwarded-For: 1.2.3.4, 203.0.113.{number}"
            peer = await stack.enter_async_context(websocket(server, header))
            await refused(server, upgrade(header), 429)
            assert await peer.call("ping") == "pong"
        for garbage in ("unknown", "", "203.0.113.0, , "):
            await stack.enter_async_context(websocket(server, f"X-Forwarded-For: {garbage}"))
        assert sorted(server.application.gate.census._present.values()) == [1] * 5
        await stack.aclose()
        await until(lambda: not server.application.gate.census.connections)
        assert not server.application.gate.census._present


async def test_the_log_has_the_address_that_counts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "streamd.peers")
    header = "X-Forwarded-For: 203.0.113.9"
    for options, address in (({}, "127.0.0.1"), ({"trusted_proxy": "127.0.0.1"}, "203.0.113.9")):
        caplog.clear()
        async with running(**options) as server:
            async with websocket(server, header):
                pass
            await until(lambda: len(caplog.records) == 2)
        assert [each.address for each in caplog.records] == [address] * 2


async def test_a_flood_of_connections_is_cut_before_it_costs_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seat, "_TURNED_AWAY", 5)
    limits = {"connects_per_second": 0.001, "burst": 3_000, "message_bytes": 1_000}
    async with running(**limits) as server, contextlib.AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(Peer.connect(server)) for _ in range(60)]
        ends = await asyncio.gather(*[told(peer) for peer in peers])
        assert ends.count(101) == 3
        assert ends.count(429) >= 5
        assert ends.count(0) >= 1, "most are not even answered"
        gate = server.application.gate
        await until(lambda: gate.census.turned_away == 0)
        assert gate.census.connections == len(gate.keepalive) == 3


async def told(peer: Peer) -> int:
    """Return the status with which a connection is answered, 0 if it is cut."""
    try:
        await peer.send(upgrade())
        return (await peer.response()).status
    except (ConnectionError, EOFError):
        return 0


async def test_posts_of_one_address_are_held_to_its_rate_together() -> None:
    limits = {"calls_per_second": 0.003, "burst": 1_000, "refusals": 2}
    async with running(trusted_proxy="127.0.0.1", **limits) as server:
        for number in range(2):
            codes = []
            for _ in range(6):
                async with Peer.connect(server) as peer:
                    await peer.send(post(call("ping"), f"X-Forwarded-For: 203.0.113.{number}"))
                    response = await peer.response()
                    codes.append((response.status, response.json.get("error", {}).get("code")))
            assert codes == [*[(200, None)] * 3, *[(200, -32005)] * 3]
            await refused_post(server, number)


async def refused_post(server: RunningServer, number: int) -> None:
    """See that a POST is refused before its body is there."""
    async with Peer.connect(server) as peer:
        header = f"X-Forwarded-For: 203.0.113.{number}"
        await peer.send(post(b"", header, length=1_000))
        response = await peer.response()
        assert response.status == 429
        assert int(response.headers["retry-after"]) > 0
        error = response.json["error"]
        assert (error["code"], error["data"]["limit"]) == (-32005, "refusals")


async def test_who_goes_as_soon_as_a_websocket_is_asked_for_is_not_counted_any_more() -> None:
    async with running(address_connections=1) as server:
        gate = server.application.gate
        assert gate is not None
        async with Peer.connect(server) as peer:
            await until(lambda: gate.census.connections)
            # Both are there before the server looks: it reads what was said, of somebody who is nowhere.
            await peer.send(upgrade())
            peer.reset()
            await until(lambda: not gate.census.connections)
        async with websocket(server) as again:
            assert await again.call("ping") == "pong"
