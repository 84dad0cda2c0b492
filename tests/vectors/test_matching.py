import pytest

from tests.vectors.matching import fill, match, match_all


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (1, 1),
        (1, 1.0),
        ("a", "a"),
        (None, None),
        ({"$any": True}, {"a": [1]}),
        ({"$int": True}, 7),
        ({"$text": True}, ""),
        ({"$length": 2}, [1, 2]),
        ({"$has": {"a": 1}}, {"a": 1, "b": 2}),
        ({"$unordered": [1, 2]}, [2, 1]),
        ({"a": [{"$int": True}]}, {"a": [3]}),
    ],
)
def test_what_matches(pattern, value):
    assert match(pattern, value, {})


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (1, True),
        (True, 1),
        (291, "291"),
        (0, -0.0),
        (None, 0),
        ("a", "b"),
        ({"$int": True}, True),
        ({"$int": True}, 1.5),
        ({"$text": True}, 1),
        ({"$length": 2}, [1]),
        ({"$has": {"a": 1}}, {"b": 1}),
        ({"$unordered": [1, 2]}, [1, 1]),
        ({"a": 1}, {"a": 1, "b": 2}),
        ([1], [1, 2]),
        ({"$cursor": "a"}, ""),
        ({"$cursor": "a"}, "x" * 65),
        ({"$cursor": "a"}, "ü"),
    ],
)
def test_what_does_not_match(pattern, value):
    assert not match(pattern, value, {})


def test_cursors_are_learnt_and_are_all_different():
    cursors = {}
    assert match({"$cursor": "a"}, "x", cursors)
    assert cursors == {"a": "x"}
    assert match([{"$cursor": "a"}, {"$cursor": "b"}], ["x", "y"], cursors)
    assert not match({"$cursor": "a"}, "y", cursors)
    assert not match({"$cursor": "c"}, "x", cursors)
    assert not match([{"$cursor": "c"}, 1], ["z", 2], cursors)
    assert cursors == {"a": "x", "b": "y"}


def test_messages_come_in_any_order():
    assert match_all([{"$has": {"id": 1}}, {"$has": {"id": 2}}], [{"id": 2}, {"id": 1}], {})
    assert not match_all([1], [1, 1], {})


def test_placeholders_are_filled():
    value = {"a": [{"$range": 3}, {"$repeat": ["x", 2]}, {"$nested": 3}], "b": {"$cursor": "c"}}
    assert fill(value, {"c": "k"}) == {"a": [[0, 1, 2], "xx", [[[]]]], "b": "k"}
    assert fill({"$copies": [{"$cursor": "c"}, 2]}, {"c": "k"}) == ["k", "k"]
