"""Addresses, and the sockets bound to them."""

import socket

import pytest

from streamd.address import Address, bind, closing, resolve
from streamd.errors import StartupError

LOOPBACK = (socket.AF_INET, "127.0.0.1")


def test_addresses_are_urls() -> None:
    assert Address("127.0.0.1", 80).url == "http://127.0.0.1:80/"
    assert Address("::1", 80).ws_url == "ws://[::1]:80/"


def test_every_address_of_the_host_is_bound_to_one_port() -> None:
    places = resolve("localhost")
    with closing(bind("localhost", 0, places)) as sockets:
        assert len({listener.getsockname()[1] for listener in sockets}) == 1
        assert {listener.family for listener in sockets} <= {family for family, _ in places}
    assert all(listener.fileno() == -1 for listener in sockets)


def test_an_address_that_the_machine_lacks_is_left_out_if_there_is_another() -> None:
    lacking = (socket.AF_INET, "192.0.2.1")
    with closing(bind("both", 0, [lacking, LOOPBACK])) as sockets:
        assert [listener.getsockname()[0] for listener in sockets] == ["127.0.0.1"]
    with pytest.raises(StartupError, match="port 5 of lacking can't be listened on: "):
        bind("lacking", 5, [lacking])


def test_when_one_place_is_taken_none_is_kept() -> None:
    with closing(bind("one", 0, [LOOPBACK])) as sockets:
        port = sockets[0].getsockname()[1]
        sockets[0].listen()
        with pytest.raises(StartupError, match=f"port {port} of all is in use: .* --port"):
            bind("all", port, [(socket.AF_INET, "127.0.0.2"), LOOPBACK])
    with closing(bind("again", port, [(socket.AF_INET, "127.0.0.2")])):
        pass


@pytest.mark.parametrize("host", ["no-such-host.invalid", "name..without.end", "x" * 64])
def test_a_host_that_means_nothing(host: str) -> None:
    with pytest.raises(StartupError, match="can't be resolved: choose another with --host"):
        resolve(host)


def test_localhost_that_means_another_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # As /etc/hosts may say; without access rules everybody could come in.
    for address in ("192.0.2.1", "0.0.0.0"):
        means = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 0))
            for each in ("127.0.0.1", address)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, means=means, **options: means)
        with pytest.raises(StartupError, match="not this machine alone"):
            resolve("localhost")
        assert len(resolve("feed.example")) == 2
