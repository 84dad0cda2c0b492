"""Aliases for the shapes that many modules name."""

from typing import Any

__all__ = ["Json", "JsonObject", "Seq", "Term"]

Json = Any
"""Whatever JSON can say."""

JsonObject = dict[str, Any]
"""A JSON object."""

Seq = int
"""A place in the log: 1, 2, 3 …; 0 is the place before the first entry."""

Term = str
"""One (key, value) pair of an event as text: `user:291`."""
