"""streamd.notifications: the texts that design and clients agree on."""

import re

import orjson

from streamd import notifications
from streamd.errors import PlaceLost
from streamd.log import Entry
from tests.documents import ROOT

CURSOR = "epochepoAAAAAAAAAcq2"


def test_an_event_is_spliced_as_it_is_stored() -> None:
    entry = Entry(1, 1795449600000, ("user:1",), b'{"z":"\\u0000",  "a":1.50}')
    params = notifications.event_params(entry, CURSOR)
    message = notifications.event(1, params)
    assert message == (
        b'{"jsonrpc":"2.0","method":"event","params":{"subscription":1,"cursor":"%b",'
        b'"time":1795449600000,"event":{"z":"\\u0000",  "a":1.50}}}' % CURSOR.encode()
    )
    assert orjson.loads(notifications.event(100, params))["params"]["subscription"] == 100


def test_progress_is_for_all_or_for_one() -> None:
    assert notifications.progress(CURSOR) == (
        b'{"jsonrpc":"2.0","method":"progress","params":{"cursor":"%b"}}' % CURSOR.encode()
    )
    assert orjson.loads(notifications.progress(CURSOR, 2))["params"] == {
        "cursor": CURSOR,
        "subscription": 2,
    }
    assert orjson.loads(notifications.progress(CURSOR, 2, live=True))["params"] == {
        "cursor": CURSOR,
        "subscription": 2,
        "live": True,
    }


def test_closed_says_why() -> None:
    message = orjson.loads(notifications.closed(3, PlaceLost("expired")))
    assert message["method"] == "closed"
    assert "id" not in message
    assert message["params"]["subscription"] == 3
    assert message["params"]["code"] == -32007
    assert message["params"]["data"] == {"reason": "expired"}


def test_the_protocol_has_the_errors_that_end_a_subscription() -> None:
    protocol = (ROOT / "clients" / "PROTOCOL.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"^- `closed`: (.*?)(?=^- )", protocol, re.M | re.S)
    assert {int(code) for code in re.findall(r"\(−(\d+)\)", told)} == {
        -kind.code for kind in notifications.ENDS
    }


def test_shutdown_says_when_to_come_back() -> None:
    assert orjson.loads(notifications.shutdown(1234)) == {
        "jsonrpc": "2.0",
        "method": "shutdown",
        "params": {"reconnect_after_ms": 1234},
    }
