"""How messages become frames."""

import orjson
import pytest

from streamd.transports.frames import text_frame
from tests.harness import TEXT, frame


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_text_frame(size: int) -> None:
    payload = orjson.dumps("x" * size)
    assert text_frame(payload) == frame(TEXT, payload, masked=False)
