"""The texts of `values.json` are those that the server compares."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from streamd.event import canonical
from streamd.limits import Limits

VALUES = json.loads((Path(__file__).parent / "values.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", VALUES, ids=[vector["json"] for vector in VALUES])
def test_the_server_compares_this_text(vector: dict[str, Any]) -> None:
    value = orjson.loads(vector["json"])
    assert canonical(value, "user", Limits()) == vector["text"]
    # What a browser reads is a float, which has the same text unless it is another number.
    if isinstance(value, int) and not isinstance(value, bool):
        assert (canonical(float(value), "user", Limits()) != vector["text"]) is vector.get(
            "lossy", False
        )
