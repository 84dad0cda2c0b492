import base64

import pytest
from streamd_client import Inserted, KeyVerdict, ProtocolError, methods


def test_an_insert_has_its_id_from_the_beginning():
    call = methods.insert({"user": 1}, None)
    other = methods.insert({"user": 1}, None)
    assert (call.method, call.params["event"]) == ("insert", {"user": 1})
    assert call.params["id"] != other.params["id"]
    assert len(base64.urlsafe_b64decode(call.params["id"] + "==")) == 16
    assert methods.insert({}, "mine").params["id"] == "mine"


def test_many_inserts_have_theirs():
    call = methods.insert_many(iter([{"n": 1}, {"n": 2}]), ["a", None])
    assert call.params["events"] == [{"n": 1}, {"n": 2}]
    first, second = call.params["ids"]
    assert (first, len(second)) == ("a", 22)
    assert len(set(methods.insert_many([{}] * 5, None).params["ids"])) == 5
    with pytest.raises(ValueError):
        methods.insert_many([{}], [])


def test_filters_are_mappings_keywords_or_both():
    call = methods.items({"class": 3}, {"user": (23, 291)}, 1, 3)
    assert call.params == {"filter": {"class": 3, "user": [23, 291]}, "start": 1, "end": 3}
    with pytest.raises(TypeError):
        methods.history({"user": 1}, {"user": 2}, None, 20)


def test_history_says_where_to_go_on_only_if_it_is_given():
    assert methods.history(None, {}, None, 5).params == {"filter": {}, "limit": 5}
    assert methods.history(None, {}, "c", 5).params["before"] == "c"


def test_an_entry_or_an_event_is_explained():
    call = methods.explain({"user": 1}, {"kind": "a"}, "c", None)
    assert call.params == {"filter": {"user": 1, "kind": "a"}, "cursor": "c"}
    assert methods.explain(None, {}, None, {}).params == {"filter": {}, "event": {}}
    for cursor, event in ((None, None), ("c", {})):
        with pytest.raises(ValueError):
            methods.explain(None, {}, cursor, event)
    verdict = {"key": "user", "wanted": 2, "matched": True}
    result = {
        "found": True,
        "matches": False,
        "keys": [{**verdict, "values": ["1"]}],
        "grants": [[verdict]],
        "entry": {"cursor": "c", "time": 5, "event": {"user": 1}},
    }
    told = call.read(result)
    assert told.keys == [KeyVerdict("user", 2, True, ["1"])]
    assert told.grants == [[KeyVerdict("user", 2, True)]]
    assert told.entry.event == {"user": 1}
    absent = call.read({"found": False, "matches": False, "keys": [], "grants": None})
    assert (absent.found, absent.grants, absent.entry) == (False, None, None)
    with pytest.raises(ProtocolError):
        call.read({"found": True})


def test_subscriptions_are_read():
    standing = {
        "subscription": 1,
        "filter": None,
        "state": "live",
        "cursor": "c",
        "lag": 0,
        "entries": 3,
        "bytes": 512,
    }
    (told,) = methods.subscriptions().read([standing])
    assert (told.subscription, told.state, told.lag, told.bytes) == (1, "live", 0, 512)


def test_results_become_values():
    result = {"cursor": "c", "time": 5, "duplicate": False}
    assert methods.insert({}, None).read(result) == Inserted("c", 5, False)
    assert methods.insert_many([{}], None).read({"entries": [result]}) == [Inserted("c", 5, False)]
    assert methods.items(None, {}, 0, 20).read([{"user": 1}]) == [{"user": 1}]
    assert (
        methods.history(None, {}, None, 20)
        .read({"entries": [], "before": None, "cursor": "c"})
        .cursor
        == "c"
    )
