"""streamd.calls: what methods share."""

from typing import Any

import pytest

from streamd.calls import integer
from streamd.errors import InvalidParams
from streamd.jsonrpc import OutOfRange


@pytest.mark.parametrize("value", [0, 1, 10**9, 2**64 - 1])
def test_an_integer_is_read(value: int) -> None:
    assert integer({"limit": value}, "limit", 20, 0) == value


@pytest.mark.parametrize("value", [-0.0, 1.0, 1e3, 2.0**63])
def test_a_whole_number_is_one_with_a_fraction_of_zero_too(value: float) -> None:
    read = integer({"limit": value}, "limit", 20, 0)
    assert (read, type(read)) == (value, int)


def test_the_default_is_taken_where_none_is_given() -> None:
    assert integer({}, "limit", 20, 0) == 20


@pytest.mark.parametrize(
    "value", [True, False, "1", 1.5, 2.0**64, [], {}, OutOfRange(), 0, -1, -1.0], ids=repr
)
def test_anything_else_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InvalidParams) as caught:
        integer({"limit": value}, "limit", 20, 1)
    assert "limit" in caught.value.message
