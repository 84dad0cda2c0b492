"""Entries as lines for people. What is in an event is a stranger's text: it must not move the cursor."""

import time
import unicodedata
from datetime import UTC, datetime
from typing import Any

import orjson
from rich.text import Text
from streamd_client import Entry

__all__ = ["ago", "clock", "entry_line", "printable"]

_JOINERS = "\u200c\u200d"
"""Format characters that scripts and emoji need, and that hide nothing."""

_UNITS = ((60, "s"), (3_600, "m"), (86_400, "h"))


def printable(text: str) -> str:
    """Return the text with all that is no character on paper escaped: controls, overrides, line ends."""
    if text.isascii() and text.isprintable():
        return text
    return "".join([char if _is_visible(char) else _escape(char) for char in text])


def _is_visible(char: str) -> bool:
    # C: controls, formats (such as those that turn the direction), surrogates and the unassigned;
    # Zl and Zp end a line.
    category = unicodedata.category(char)
    return char in _JOINERS or not (category[0] == "C" or category in {"Zl", "Zp"})


def _escape(char: str) -> str:
    number = ord(char)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def ago(milliseconds: int, now: float | None = None) -> str:
    """Return how long ago a time was: 12s, 5m, 3h, 2d."""
    seconds = max(0, int((time.time() if now is None else now) - milliseconds / 1000))
    size = 1
    for limit, unit in _UNITS:
        if seconds < limit:
            return f"{seconds // size}{unit} ago"
        size = limit
    return f"{seconds // size}d ago"


def clock(milliseconds: int) -> str:
    """Return the time of day, as the clock on the wall here has it."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone().strftime("%H:%M:%S")


def entry_line(entry: Entry, keys: list[str], when: str) -> Text:
    """Return an entry as one line: when, its kind, its other keys, and the rest of it as JSON."""
    rest = dict(entry.event)
    line = Text(end="")
    line.append(f"{when:>8}", "dim")
    for name in sorted((key for key in keys if key in rest), key=lambda key: key != "kind"):
        value = rest.pop(name)
        if name == "kind":
            line.append(f"  {_shown(value)}", "bold")
        else:
            line.append("  ").append(f"{name}=", "cyan").append(_shown(value))
    if rest:
        line.append("  ").append(_shown(rest), "dim")
    return line


def _shown(value: Any) -> str:
    return printable(value if isinstance(value, str) else orjson.dumps(value).decode())
