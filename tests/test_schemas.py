"""streamd.schemas: every value has one schema, and every error its own."""

import orjson
import pytest
from jsonschema_rs import Draft7Validator, ValidationError

from streamd import errors
from streamd.schemas import SCHEMAS, default, described, error_name, nullable, record, ref, title_of
from tests.specifications import DRAFT_7


def valid(schema: object, value: object) -> bool:
    return Draft7Validator({"allOf": [schema], "components": {"schemas": SCHEMAS}}).is_valid(value)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one_of_draft_7(name: str) -> None:
    Draft7Validator(DRAFT_7).validate(SCHEMAS[name])
    assert orjson.loads(orjson.dumps(SCHEMAS[name])) == SCHEMAS[name]


def test_errors_are_told_apart_by_their_code() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = [kind for kind in kinds if issubclass(kind, errors.CallError)]
    kinds.remove(errors.CallError)
    assert {each["$ref"] for each in SCHEMAS["Error"]["oneOf"]} == {
        ref(error_name(kind))["$ref"] for kind in kinds
    }
    assert len({kind.code for kind in kinds}) == len(kinds)
    for kind in kinds:
        error = {"code": kind.code, "message": "no"}
        assert valid(ref("Error"), error), kind
        assert not valid(ref("Error"), error | {"code": 1})


def test_an_error_shows_the_data_that_it_has() -> None:
    error = errors.LimitExceeded("filter_values", 10, 11).to_json()
    assert valid(ref("LimitExceededError"), error)
    for data in ({"limit": "colours", "max": 10, "got": 11}, {"limit": "filter_values"}):
        assert not valid(ref("Error"), error | {"data": data})
    assert title_of(errors.LimitExceeded) == "limit exceeded"


@pytest.mark.parametrize(
    ("wanted", "good"),
    [
        ({}, True),
        ({"user": 291, "kind": ["a", 1.5, True]}, True),
        ({"user": []}, True),
        ({"user": None}, False),
        ({"user": [None]}, False),
        ({"user": "a\0"}, False),
        ({"user": ["a\nb", "\0"]}, False),
        ({"user": "a\nb\n"}, True),
        ({"user": {"id": 1}}, False),
        ([], False),
    ],
)
def test_a_filter_has_a_value_or_values_for_each_key(wanted: object, good: bool) -> None:
    assert valid(ref("Filter"), wanted) is good


def test_what_stands_beside_a_reference_is_read() -> None:
    cursor = described("Where it is.", ref("Cursor"))
    assert valid(cursor, "a")
    assert not valid(cursor, "")
    assert valid(nullable(cursor), None)
    assert default(3, {"type": "integer"}) == {"type": "integer", "default": 3}


def test_a_record_may_have_more_than_is_known() -> None:
    schema = record({"a": {"type": "string"}, "b": {"type": "string"}}, optional=("b",))
    Draft7Validator(schema).validate({"a": "x", "new": 1})
    with pytest.raises(ValidationError, match='"a" is a required property'):
        Draft7Validator(schema).validate({"b": "x"})
