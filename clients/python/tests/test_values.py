import pytest
from streamd_client.values import merge_filter


def test_a_filter_may_come_both_ways():
    assert merge_filter({"class": 3}, {"user": 23}) == {"class": 3, "user": 23}
    assert merge_filter(None, {}) == {}


def test_a_key_given_twice_is_refused():
    with pytest.raises(TypeError, match="user"):
        merge_filter({"user": 1}, {"user": 1})


@pytest.mark.parametrize("values", [(1, 2), {1, 2}, range(1, 3), iter([1, 2]), [1, 2]])
def test_any_collection_becomes_a_list(values):
    assert merge_filter(None, {"user": values}) == {"user": [1, 2]}


def test_a_text_is_one_value():
    assert merge_filter(None, {"kind": "watch"}) == {"kind": "watch"}
