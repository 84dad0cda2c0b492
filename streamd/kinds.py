"""The kinds of values that settings may be: how each is read, and what people call it."""

import dataclasses
from collections.abc import Collection
from typing import Annotated, Any, get_type_hints

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_settings import NoDecode

from streamd.limits import Limits
from streamd.options import StoreMaker
from streamd.units import read_duration, read_size

__all__ = ["OR_NONE", "Duration", "Joined", "Maker", "Texts", "Url", "in_words", "limit_settings"]

# What they can't read they return as it is: pydantic then says that it is of the wrong type.


def _read_none(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


def _read_texts(value: object) -> object:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
        return value
    parts = [part.strip() for item in items for part in item.split(",")]
    return [part for part in parts if part]


def _join_texts(value: object) -> object:
    texts = isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
    return ",".join(value) if texts else value  # type: ignore[arg-type]  # texts says so


_AS_TEXTS = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array"}]})

Texts = Annotated[list[str], NoDecode, BeforeValidator(_read_texts), _AS_TEXTS]
"""A list of texts, or one with commas."""
Joined = Annotated[str, BeforeValidator(_join_texts), _AS_TEXTS]
"""One text with commas, or a list of them."""
Url = Annotated[str, WithJsonSchema({"type": "string", "format": "uri"})]
"""A URL, not looked at yet."""
Maker = Annotated[StoreMaker, WithJsonSchema({"type": "maker"})]
"""What makes a store."""
Duration = Annotated[
    float,
    Field(ge=0, allow_inf_nan=False, examples=["90s", "15m"]),
    BeforeValidator(read_duration),
]
"""Seconds, or a number with a unit."""
OR_NONE = BeforeValidator(_read_none)
"""Reads the word none, where None is one of the values."""


def limit_settings() -> dict[str, Any]:
    """Make a setting of every limit: its type, default and help are the dataclass's."""
    types = get_type_hints(Limits)
    return {
        limit.name: (
            _setting_type(limit.name, types[limit.name], limit.metadata["most"]),
            Field(limit.default, description=limit.metadata["help"]),
        )
        for limit in dataclasses.fields(Limits)
        if limit.name != "keys"
    }


def _setting_type(name: str, declared: Any, most: int | None) -> Any:
    if declared in (int, int | None):
        number: Any = Annotated[int, Field(ge=1, le=most)]
        if name.endswith("_bytes"):
            units = Field(examples=["64KiB", "1MiB"])
            number = Annotated[number, units, BeforeValidator(read_size)]
    elif name.endswith("_per_second"):
        number = Annotated[float, Field(gt=0, allow_inf_nan=False)]
    else:
        seconds = Field(gt=0, allow_inf_nan=False, examples=["90s", "15m", "12h", "30d"])
        number = Annotated[float, seconds, BeforeValidator(read_duration)]
    if declared in (int | None, float | None):
        return Annotated[number | None, OR_NONE]
    return number


_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "array": "a list of texts",
    "boolean": "a boolean, true or false",
    "password": "a text",
    "path": "a path",
    "uri": "a URL",
    "maker": "a function or class that makes a store of a Stream",
    "null": "none",
}
"""Type or format in a JSON Schema → what people call it."""


def in_words(schema: dict[str, Any], but: Collection[str] = ()) -> str:
    """Return what people call a kind, with its bounds and units, by its JSON Schema; `but`: types left out."""
    variants = schema.get("anyOf", [schema])
    return " or ".join(_phrase(each) for each in variants if each.get("type") not in but)


def _phrase(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    match schema:
        case {"minimum": low, "maximum": high}:
            bounds = f" from {low} to {high}"
        case {"minimum": low}:
            bounds = f" of at least {low}"
        case {"exclusiveMinimum": low}:
            bounds = f" above {low:g}"
        case _:
            bounds = ""
    units = f" (or with a unit: {', '.join(schema['examples'])})" if "examples" in schema else ""
    return f"{_WORDS[schema.get('format', schema['type'])]}{bounds}{units}"
