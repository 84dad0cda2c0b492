"""README.md and clients/PROTOCOL.md say what the code does."""

import re
from typing import get_args

from websockets.frames import CloseCode

from streamd import errors
from streamd.closing import Closing
from streamd.config import Settings
from streamd.limits import Limits
from streamd.meters import Reason
from streamd.signatures import METHODS
from tests.documents import README, ROOT, generated, shown, table

PROTOCOL = (ROOT / "clients" / "PROTOCOL.md").read_text(encoding="utf-8")


def test_the_readme_has_the_settings_and_limits_of_the_code():
    text = README.read_text(encoding="utf-8")
    assert text == generated(text), "write it with python -m tests.documents"


def test_the_readme_is_right_that_limits_are_settings():
    assert Limits.__slots__
    assert set(Limits.__slots__) <= set(Settings.model_fields)


def test_the_protocol_has_the_limits():
    assert {name.strip("`"): default for name, default in table(PROTOCOL, "Limits")} == {
        name: shown(default) for name, default in Limits().to_json().items()
    }


def test_the_protocol_has_the_methods_and_their_params_in_order():
    rows = {name.strip("`"): cell for name, cell, _ in table(PROTOCOL, "Methods")}
    # `event` is needed; `id`? and `start`=0 are not.
    params = {
        name: [(param, not mark) for param, mark in re.findall(r"`(\w+)`(\?|=\d+)?", cell)]
        for name, cell in rows.items()
    }
    assert params == {
        name: [(param.name, param.required) for param in method.params]
        for name, method in METHODS.items()
    }


def test_the_protocol_has_the_errors():
    rows = {int(code): name for code, name, _ in table(PROTOCOL, "Errors")}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    known = {
        kind.code: re.sub("(?<!^)(?=[A-Z])", " ", kind.__name__).lower()
        for kind in kinds
        if issubclass(kind, errors.CallError) and kind is not errors.CallError
    }
    assert rows == known


def test_the_readme_has_the_reasons_of_refusals():
    (told,) = re.findall(
        r"^`reason` is .*?`draining`", README.read_text(encoding="utf-8"), re.M | re.S
    )
    assert set(re.findall(r"`([a-z_]+)`", told)) - {"reason"} == set(get_args(Reason))


def test_the_protocol_has_our_close_codes_and_no_others():
    cells = [cell for cell, *_ in table(PROTOCOL, "Close codes")]
    assert {int(cell) for cell in cells if re.fullmatch("4...", cell)} == {
        code for code in Closing if code >= 4000
    }


def test_the_protocol_has_the_close_codes():
    named = set()
    for cell, *_ in table(PROTOCOL, "Close codes"):
        for part in cell.split(","):
            first, _, last = part.strip().partition("–")
            named |= set(range(int(first), int(last or first) + 1))
    used = {*CloseCode, *Closing}
    assert used - {CloseCode.TLS_HANDSHAKE} <= named  # 1015 is never sent
