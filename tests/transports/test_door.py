"""The door: hosts and origins, compared exactly."""

import pytest

from streamd.errors import StartupError
from streamd.transports.door import Authority, Door, host_allowed, origin_allowed, parse_authority


@pytest.mark.parametrize(
    ("text", "authority"),
    [
        ("localhost", ("localhost", None)),
        ("LocalHost:8080", ("localhost", 8080)),
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]", ("[::1]", None)),
        ("[0:0::1]:8080", ("[::1]", 8080)),
        ("a_b.example-1.org", ("a_b.example-1.org", None)),
    ],
)
def test_authorities(text: str, authority: tuple[str, int | None]) -> None:
    assert parse_authority(text) == Authority(*authority)


@pytest.mark.parametrize(
    "text",
    [
        "", ":8080", "localhost:", "localhost:x", "localhost:99999", "localhost:123456", "::1", "[::1", "[g::1]",
        "user@localhost", "localhost/", "localhost#", "local host", " localhost", "localhost\n", "ｌocalhost",
        "localhost,localhost", "localhost:80:80", "localhost:٨٠",
    ],
)  # fmt: skip
def test_what_is_no_authority(text: str) -> None:
    assert parse_authority(text) is None


DOOR = Door(
    hosts=["192.0.2.7", "feed.example:8443", "2001:DB8::1"],
    origins=["https://App.example", "https://app.example:8443", "chrome-extension://abcdef"],
)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("localhost:1234", True),
        ("LOCALHOST:1234", True),
        ("127.0.0.1", True),
        ("[::1]:8080", True),
        ("192.0.2.7:80", True),
        ("[2001:db8:0::1]:80", True),
        ("feed.example:8443", True),
        ("feed.example", False),
        ("feed.example:443", False),
        ("localhost.", False),
        ("localhost.evil.example", False),
        ("evil-localhost", False),
        ("127.0.0.2", False),
        ("127.1", False),
        ("2130706433", False),
        ("[::ffff:127.0.0.1]", False),
        ("", False),
    ],
)
def test_hosts(host: str, allowed: bool) -> None:
    assert host_allowed(host, DOOR.hosts) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost", True),
        ("https://localhost:3000", True),
        ("HTTP://127.0.0.1:8080", True),
        ("http://[::1]:8080", True),
        ("https://app.example", True),
        ("https://app.example:443", True),
        ("https://app.example:8443", True),
        ("chrome-extension://abcdef", True),
        ("https://feed.example:8443", True),
        ("http://app.example", False),
        ("https://app.example:444", False),
        ("https://app.example.evil", False),
        ("https://evil.app.example", False),
        ("https://app.example/", False),
        ("https://user@app.example", False),
        ("https://app.example, https://localhost", False),
        ("chrome-extension://abcdeg", False),
        ("chrome-extension://localhost", False),
        ("null", False),
        ("NULL", False),
        ("", False),
        ("localhost", False),
        ("//localhost", False),
        ("file://", False),
    ],
)
def test_origins(origin: str, allowed: bool) -> None:
    assert origin_allowed(origin, DOOR.hosts, DOOR.origins) is allowed


def test_a_host_is_needed_an_origin_is_not() -> None:
    assert DOOR.check(["localhost"], []) is None
    for hosts, origins, status in [
        ([], [], 421),
        (["localhost", "localhost"], [], 421),
        (["evil.example"], ["http://localhost"], 421),
        (["localhost"], ["null"], 403),
        (["localhost"], ["http://localhost", "http://localhost"], 403),
    ]:
        refusal = DOOR.check(hosts, origins)
        assert refusal is not None
        assert refusal.status == status


@pytest.mark.parametrize("host", ["", "http://feed.example", "*", "feed.example/"])
def test_what_cannot_be_a_host_is_said_at_once(host: str) -> None:
    with pytest.raises(StartupError, match="host"):
        Door(hosts=[host])


@pytest.mark.parametrize(
    "origin", ["null", "*", "feed.example", "https://feed.example/", "https://"]
)
def test_what_cannot_be_an_origin_is_said_at_once(origin: str) -> None:
    with pytest.raises(StartupError, match="origin"):
        Door(origins=[origin])
