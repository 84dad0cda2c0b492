"""Sizes and durations as people write them: 64KiB, 15m."""

import re

__all__ = ["read_duration", "read_size"]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw]?)")
_SIZE = re.compile(r"(\d+)\s*((?:[KMG]i)?B)?")


def read_duration(value: object) -> object:
    """Return the seconds that a text such as 90s or 1.5h names; anything else as it is."""
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    return value if match is None else float(match[1]) * _SECONDS[match[2] or "s"]


def read_size(value: object) -> object:
    """Return the bytes that a text such as 64KiB names; anything else as it is."""
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    return value if match is None else int(match[1]) * _BYTES[match[2] or "B"]
