"""streamd.transports.x509: when a certificate ends."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streamd.transports.x509 import end_of
from tests.transports.certificates import make

END = datetime(2051, 5, 6, 7, 8, 9, tzinfo=UTC)


def test_the_first_of_a_file_counts_wherever_its_key_stands(tmp_path: Path) -> None:
    files = make(tmp_path, end=END)
    (tmp_path / "other").mkdir()
    other = make(tmp_path / "other", end=END - timedelta(days=1))
    for chain in (files.cert, files.both):
        assert end_of(chain.read_bytes() + other.cert.read_bytes()) == END.timestamp()


@pytest.mark.parametrize("damage", [b"", b"no PEM", None])
def test_what_can_t_be_read_has_no_end(tmp_path: Path, damage: bytes | None) -> None:
    text = make(tmp_path).cert.read_bytes()
    assert (
        end_of(text[:-200] + b"\n-----END CERTIFICATE-----\n" if damage is None else damage) is None
    )
