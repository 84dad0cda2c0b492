"""The small language of `wire.json`: what to send, and what the answers must look like."""

import math
from typing import Any

__all__ = ["fill", "match", "match_all"]


def fill(value: Any, cursors: dict[str, str]) -> Any:
    """Return what a step sends, its placeholders replaced."""
    match value:
        case {"$cursor": str(name)}:
            return cursors[name]
        case {"$range": int(count)}:
            return list(range(count))
        case {"$repeat": [str(text), int(count)]}:
            return text * count
        case {"$copies": [each, int(count)]}:
            return [fill(each, cursors)] * count
        case {"$nested": int(depth)}:
            nested: list[Any] = []
            for _ in range(depth - 1):
                nested = [nested]
            return nested
        case dict():
            return {key: fill(each, cursors) for key, each in value.items()}
        case list():
            return [fill(each, cursors) for each in value]
    return value


def match(pattern: Any, value: Any, cursors: dict[str, str]) -> bool:
    """Whether a value is as the pattern says; the names of cursors are learnt if it is."""
    learnt = dict(cursors)
    if not _match(pattern, value, learnt):
        return False
    cursors.update(learnt)
    return True


def match_all(patterns: list[Any], values: list[Any], cursors: dict[str, str]) -> bool:
    """Whether the values are as the patterns say, one each, in any order."""
    if len(patterns) != len(values):
        return False
    left = list(patterns)
    for value in values:
        found = next((n for n, each in enumerate(left) if match(each, value, cursors)), None)
        if found is None:
            return False
        del left[found]
    return True


def _match(pattern: Any, value: Any, cursors: dict[str, str]) -> bool:
    match pattern:
        case {"$any": True}:
            return True
        case {"$int": True}:
            return isinstance(value, int) and not isinstance(value, bool)
        case {"$text": True}:
            return isinstance(value, str)
        case {"$length": int(count)}:
            return isinstance(value, list) and len(value) == count
        case {"$cursor": str(name)}:
            return _match_cursor(name, value, cursors)
        case {"$has": dict(members)}:
            return isinstance(value, dict) and all(
                key in value and _match(each, value[key], cursors) for key, each in members.items()
            )
        case {"$unordered": list(patterns)}:
            return isinstance(value, list) and match_all(patterns, value, cursors)
        case dict():
            return (
                isinstance(value, dict)
                and pattern.keys() == value.keys()
                and all(_match(each, value[key], cursors) for key, each in pattern.items())
            )
        case list():
            return (
                isinstance(value, list)
                and len(pattern) == len(value)
                and all(_match(p, v, cursors) for p, v in zip(pattern, value, strict=True))
            )
    return _same(pattern, value)


def _match_cursor(name: str, value: Any, cursors: dict[str, str]) -> bool:
    if not isinstance(value, str) or not value.isascii() or not 0 < len(value) <= 64:
        return False
    if name in cursors:
        return cursors[name] == value
    if value in cursors.values():
        return False  # one place has one text, and two names are two places
    cursors[name] = value
    return True


def _same(pattern: Any, value: Any) -> bool:
    if isinstance(pattern, bool) or isinstance(value, bool):
        return pattern is value
    if isinstance(pattern, (int, float)) and isinstance(value, (int, float)):
        return pattern == value and math.copysign(1, pattern) == math.copysign(1, value)
    return type(pattern) is type(value) and bool(pattern == value)
