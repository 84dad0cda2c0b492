"""streamd.transports.proxies: where a peer is, whatever stands in its headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.errors import StartupError
from streamd.transports.proxies import Proxies, neighbourhood

PROXIES = Proxies(["10.0.0.0/8", "192.0.2.7", "fd00::/16"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        # Nobody of ours: whatever it says is its own invention.
        ("198.51.100.1", ["1.2.3.4"], "198.51.100.1"),
        ("198.51.100.1", ["10.0.0.1"], "198.51.100.1"),
        ("", ["1.2.3.4"], ""),
        # A proxy of ours.
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("10.0.0.1", ["  2001:DB8::0:1 "], "2001:db8::1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["fe80::1%eth0"], "fe80::1"),
        ("10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("fd00::2", ["203.0.113.9"], "203.0.113.9"),
        # What the peer wrote itself stands on the left.
        ("10.0.0.1", ["1.2.3.4, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["1.2.3.4", "203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["10.0.0.2, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["nonsense, 203.0.113.9"], "203.0.113.9"),
        # Several of ours, one behind the other.
        ("10.0.0.1", ["203.0.113.9, 192.0.2.7"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9", "192.0.2.7"], "203.0.113.9"),
        ("10.0.0.1", ["1.2.3.4, 203.0.113.9, 192.0.2.7, 10.9.9.9"], "203.0.113.9"),
        ("10.0.0.1", ["10.0.0.3, 192.0.2.7"], "10.0.0.3"),
        # What is no address is the fault of the proxy that wrote it.
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9,"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, unknown, 192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", ["203.0.113.999"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9:x"], "10.0.0.1"),
        ("10.0.0.1", ["[203.0.113.9"], "10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4\x00"], "10.0.0.1"),
        # Nobody has so many.
        ("10.0.0.1", [", ".join(["203.0.113.9", *["10.0.0.2"] * 31])], "203.0.113.9"),
        ("10.0.0.1", [", ".join(["203.0.113.9", *["10.0.0.2"] * 32])], "10.0.0.2"),
        ("10.0.0.1", [",".join(["10.0.0.2"] * 100_000)], "10.0.0.2"),
    ],
)
def test_the_right_end_of_the_header_counts(peer: str, forwarded: list[str], found: str) -> None:
    assert PROXIES.find(peer, forwarded) == found


@given(st.text(max_size=200), st.lists(st.text(max_size=200), max_size=3))
def test_without_proxies_nothing_is_believed(peer: str, forwarded: list[str]) -> None:
    assert Proxies().find(peer, forwarded) == peer
    assert not Proxies().trusts(peer)


@given(st.lists(st.text("0123456789.:,[] abcdef%x\x00", max_size=60), max_size=4))
def test_whatever_is_written_an_address_comes_of_it(forwarded: list[str]) -> None:
    assert neighbourhood(PROXIES.find("10.0.0.1", forwarded))


@pytest.mark.parametrize("text", ["proxy.example", "10.0.0.0/33", "10.0.0.1/8", "", "10.0.0"])
def test_what_is_no_address_can_not_be_trusted(text: str) -> None:
    with pytest.raises(StartupError, match="is not a proxy's address"):
        Proxies([text])


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("somewhere", "somewhere"),
    ],
)
def test_of_ipv6_the_network_counts(address: str, place: str) -> None:
    assert neighbourhood(address) == place
