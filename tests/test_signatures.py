"""streamd.signatures: what methods take, by name and by position; who answers them is in test_methods.py."""

import re
from typing import Any

import pytest

from streamd.errors import InvalidParams
from streamd.signatures import METHODS
from tests.documents import ROOT, table
from tests.parts import serving

PROTOCOL = (ROOT / "clients" / "PROTOCOL.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("given", "bound"),
    [
        ([], {}),
        ([{}, 1], {"filter": {}, "start": 1}),
        ({"end": 3}, {"end": 3}),
        ({"filter": None, "end": 3}, {"end": 3}),
        ([None, None, 5], {"end": 5}),
    ],
)
def test_parameters_are_bound_to_their_names(given: Any, bound: dict[str, Any]) -> None:
    assert METHODS["items"].bind(given) == bound


def test_null_is_kept_where_something_must_be_given() -> None:
    assert METHODS["insert"].bind({"event": None, "id": None}) == {"event": None}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "parameter event is missing"),
        ([{}, "a", 1], "at most 2 parameters can be given, got 3"),
        ({"event": {}, "colour": 1}, "there is an unknown parameter"),
        ({"event": {}, "colour": 1, "red": 2}, "there are 2 unknown parameters"),
    ],
)
def test_what_cannot_be_bound_is_told(given: Any, sentence: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        METHODS["insert"].bind(given)
    assert caught.value.message == sentence


async def test_every_method_has_somebody_who_answers_it() -> None:
    async with serving() as worker:
        assert worker._methods._handlers.keys() == METHODS.keys()


def test_the_protocol_has_the_defaults_and_the_members_of_the_results() -> None:
    for cell, params, result in table(PROTOCOL, "Methods"):
        method = METHODS[cell.strip("`")]
        defaults = {name: int(value) for name, value in re.findall(r"`(\w+)`=(\d+)", params)}
        assert defaults == {
            param.name: param.schema["default"]
            for param in method.params
            if "default" in param.schema
        }
        for name in method.result.get("required", ()) if "{" in result else ():
            assert f'"{name}"' in result, (cell, name)


def test_the_protocol_has_the_methods_that_are_for_a_websocket_alone() -> None:
    (sentence,) = re.findall(
        r"takes the same calls and batches; ([^.]*?) are −32601 there", PROTOCOL
    )
    needing = {name for name, method in METHODS.items() if method.needs_peer}
    assert set(re.findall(r"`(\w+)`", sentence)) == needing
