"""The server takes the parameters that the documents have, and no others."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft7Validator

from streamd.cursor import Chain
from streamd.schemas import SCHEMAS, Schema
from streamd.signatures import METHODS
from streamd.worker import Worker
from tests.parts import KEYS, Client, call, serving
from tests.traffic import NEEDED

Strategy = st.SearchStrategy[Any]
Params = dict[str, Any]
Ask = Callable[[str, Any], Any]
"""Returns the error that a call has, if any."""

WHOLE = st.integers(-(2**63), 2**64 - 1)
"""The integers of the wire: JSON Schema has no end to them."""

TEXT = st.text(st.just("\0") | st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | WHOLE | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)

NAMED: dict[str, Strategy] = {
    "Event": st.dictionaries(TEXT, JSON, max_size=3),
    "Cursor": TEXT.filter(bool) | st.builds(Chain("zzzzzzzz").cursor, st.integers(0, 9)),
}
"""Values whose shape tells little."""


def values(schema: Schema) -> Strategy:
    """Return values that are as a schema says, of those schemas that parameters have."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return NAMED[name] if name in NAMED else values(SCHEMAS[name])
    if "allOf" in schema:
        return values(schema["allOf"][0])
    if "anyOf" in schema:
        return st.one_of([values(each) for each in schema["anyOf"]])
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of([TYPES[each](schema) for each in types])


def whole(schema: Schema) -> Strategy:
    """Return whole numbers, with a fraction of zero or without: to JSON Schema, both are integers."""
    numbers = st.integers(schema["minimum"], 2**64 - 1)
    return numbers | st.integers(schema["minimum"], 2**53).map(float)


TYPES: dict[str, Callable[[Schema], Strategy]] = {
    "null": lambda schema: st.none(),
    "boolean": lambda schema: st.booleans(),
    "integer": whole,
    "number": lambda schema: WHOLE | st.floats(allow_nan=False, allow_infinity=False),
    "string": lambda schema: TEXT.filter(validator(schema).is_valid),
    "array": lambda schema: st.lists(values(schema["items"]), max_size=3),
    "object": lambda schema: st.dictionaries(
        st.sampled_from(KEYS.names), values(schema["additionalProperties"])
    ),
}


def validator(schema: Schema) -> Draft7Validator:
    return Draft7Validator({"allOf": [schema], "components": {"schemas": SCHEMAS}})


def good(method: str) -> Strategy:
    """Return parameters of a method, as the documents have them and its sentences ask for."""
    params = METHODS[method].params
    return st.fixed_dictionaries(
        {param.name: values(param.schema) for param in params if param.required},
        optional={param.name: values(param.schema) for param in params if not param.required},
    ).filter(SENSIBLE.get(method, lambda given: True))


def _items(given: Params) -> bool:
    start, end = given.get("start"), given.get("end")
    return (0 if start is None else start) <= (20 if end is None else end)


def _insert_many(given: Params) -> bool:
    ids = given.get("ids")
    return ids is None or len(ids) == len(given["events"])


def _explain(given: Params) -> bool:
    return (given.get("cursor") is None) is not (given.get("event") is None)


SENSIBLE = {"items": _items, "insert_many": _insert_many, "explain": _explain}
"""What no schema of one parameter can say."""


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Ask a server; it is one for all examples."""
    with asyncio.Runner() as runner:
        life = serving(keys=KEYS)
        worker = runner.run(life.__aenter__())
        yield lambda method, params: runner.run(_ask(worker, method, params))
        runner.run(life.__aexit__(None, None, None))


async def _ask(worker: Worker, method: str, params: Any) -> Any:
    client = Client(worker)
    client.send(call(1, method) | {"params": params})
    answer = await client.answer(1)
    client.session.close()
    return answer.get("error")


def refused(error: Any) -> bool:
    return error is not None and error["code"] == -32602


def misshapen(error: Any) -> bool:
    """Tell whether an error is of more than a cursor or an id that looks as it must."""
    return refused(error) and "reason" not in error.get("data", {})


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_the_documents_have_is_taken(method: str, ask: Ask, data: st.DataObject) -> None:
    params = data.draw(good(method))
    assert not misshapen(ask(method, params))
    names = METHODS[method].names
    assert not misshapen(ask(method, [params.get(name) for name in names]))


@pytest.mark.parametrize(
    ("method", "name"),
    [(method, param.name) for method in METHODS for param in METHODS[method].params],
)
@settings(max_examples=40, deadline=None)
@given(value=JSON)
def test_what_they_have_not_is_refused(method: str, name: str, ask: Ask, value: Any) -> None:
    (param,) = (each for each in METHODS[method].params if each.name == name)
    assume(not validator(param.schema).is_valid(value))
    others = {} if name == "cursor" else NEEDED.get(method, {})
    assert refused(ask(method, {**others, name: value}))


@pytest.mark.parametrize("method", METHODS)
def test_no_parameter_is_surplus_and_none_is_missing(method: str, ask: Ask) -> None:
    needed = NEEDED.get(method, {})
    assert not misshapen(ask(method, needed))
    assert refused(ask(method, {**needed, "colour": 1}))
    assert refused(ask(method, [*[needed.get(name) for name in METHODS[method].names], 1]))
    for missing in METHODS[method].required:
        assert refused(ask(method, {name: needed[name] for name in needed if name != missing}))
