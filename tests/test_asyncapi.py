"""streamd.asyncapi: the document is one of AsyncAPI, and has all that passes on a WebSocket."""

from typing import Any

import pytest
from jsonschema_rs import Draft7Validator, ValidationError

from streamd.asyncapi import make_asyncapi
from streamd.notifications import NOTIFICATIONS
from streamd.signatures import METHODS
from tests.specifications import asyncapi_validator

DOCUMENT = make_asyncapi("1.2.3")


def test_it_is_an_asyncapi_document() -> None:
    asyncapi_validator().validate(DOCUMENT)


@pytest.mark.parametrize("broken", [{"operations": {"x": {}}}, {"colour": 1}, {"asyncapi": "9"}])
def test_a_document_that_is_none_is_found_out(broken: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        asyncapi_validator().validate(DOCUMENT | broken)


def references(part: Any) -> set[str]:
    if isinstance(part, list):
        return {found for each in part for found in references(each)}
    if not isinstance(part, dict):
        return set()
    own = {part["$ref"]} if "$ref" in part else set()
    return own | {found for each in part.values() for found in references(each)}


def test_every_reference_leads_somewhere() -> None:
    found = references(DOCUMENT)
    assert len(found) > len(METHODS)
    for each in found:
        place: Any = DOCUMENT
        for step in each.removeprefix("#/").split("/"):
            place = place[step]


def test_it_has_every_method_and_every_notification() -> None:
    receives = {
        each["messages"][0]["$ref"].rpartition("/")[2]
        for each in DOCUMENT["operations"].values()
        if each["action"] == "receive"
    }
    assert receives == {f"{name.replace('.', '_')}.call" for name in METHODS}
    sends = {name for name, each in DOCUMENT["operations"].items() if each["action"] == "send"}
    assert sends == {"refuse", *(f"push.{name}" for name in NOTIFICATIONS)}


@pytest.mark.parametrize(
    ("call", "good"),
    [
        ({"method": "insert", "params": {"event": {}}, "id": 1}, True),
        ({"method": "insert", "params": [{}, "a"], "id": "x"}, True),
        ({"method": "insert", "params": {"event": {}, "id": None}}, True),
        ({"method": "insert", "id": 1}, False),
        ({"method": "insert", "params": {}, "id": 1}, False),
        ({"method": "insert", "params": [], "id": 1}, False),
        ({"method": "insert", "params": [{}, "a", 1], "id": 1}, False),
        ({"method": "insert", "params": {"event": {}, "colour": 1}, "id": 1}, False),
        ({"method": "insert", "params": {"event": {}}, "id": {}}, False),
        ({"method": "ping"}, True),
        ({"method": "ping", "params": []}, True),
        ({"method": "ping", "params": [1]}, False),
    ],
)
def test_a_call_is_given_by_name_or_by_position(call: dict[str, Any], good: bool) -> None:
    message = DOCUMENT["components"]["messages"][f"{call['method']}.call"]["payload"]
    schema = {"allOf": [message], "components": DOCUMENT["components"]}
    assert Draft7Validator(schema).is_valid({"jsonrpc": "2.0", **call}) is good
