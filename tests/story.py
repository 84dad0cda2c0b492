"""The five events of AwesomeStream's README."""

from typing import Any

import orjson

STORY: list[dict[str, Any]] = [
    {"kind": "create-repo", "repo": 17, "user": 291, "name": "frist", "description": "This is my first repo ever!"},
    {"kind": "delete-repo", "repo": 17, "user": 291, "reason": "Made a typo :("},
    {"kind": "watch", "repo": 2842, "user": 291, "owner": 23},
    {"kind": "friend", "user": 291, "friend": 23},
    {"kind": "friend", "user": 23, "friend": 291},
]  # fmt: skip


def story_lines() -> bytes:
    """Return them as NDJSON, the oldest first."""
    return b"".join(orjson.dumps(event) + b"\n" for event in STORY)
