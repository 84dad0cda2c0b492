import re

import pytest
import streamd_client
from streamd_client import errors
from streamd_client.errors import BY_CODE, RpcError, StreamdError, rpc_error

EVERY = [
    *(rpc_error(code, "no", {"reason": "x"}) for code in (*BY_CODE, -1)),
    errors.CallTimeout("insert", 1.5),
    errors.ConnectionLost("gone", 1006),
    errors.ConnectionLost("HTTP 503", None, 1.5),
    errors.Unreachable("nobody listens"),
    errors.RequestRefused(500, "broken"),
    errors.ProtocolError("odd"),
    errors.ClientClosed(),
    errors.HandshakeRefused(421, "wrong host"),
    errors.ConnectionRejected(4501, "bad token"),
]


@pytest.mark.parametrize(("code", "kind"), BY_CODE.items())
def test_every_code_has_its_class(code, kind):
    error = rpc_error(code, "no", {"a": 1})
    assert type(error) is kind
    assert (error.code, error.message, error.data) == (code, "no", {"a": 1})


def test_an_unknown_code_is_a_plain_rpc_error():
    error = rpc_error(-32099, "strange")
    assert type(error) is RpcError
    assert (error.code, error.data) == (-32099, None)


@pytest.mark.parametrize("error", EVERY, ids=lambda error: type(error).__name__)
def test_an_error_can_be_made_again(error):
    error.__cause__ = OSError("why")
    again = error.again()
    assert again is not error
    assert (type(again), vars(again), str(again)) == (type(error), vars(error), str(error))
    assert again.__cause__ is error.__cause__


def test_the_drawn_tree_is_the_tree():
    drawn = re.findall(r"^ +(?:│ +)*(?:[├└]── )?([A-Z]\w+)", errors.__doc__, re.M)
    assert sorted(drawn) == sorted(
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, StreamdError)
    )


def test_a_limit_error_names_the_limit():
    error = rpc_error(-32004, "too many", {"limit": "filter_values", "max": 10000, "got": 12034})
    assert (error.limit, error.max, error.got) == ("filter_values", 10000, 12034)
    bare = rpc_error(-32004, "too many")
    assert (bare.limit, bare.max, bare.got) == (None, None, None)


def test_a_server_can_ask_for_a_pause():
    assert rpc_error(-32011, "no store", {"retry_after_ms": 1500}).retry_after == 1.5
    assert rpc_error(-32011, "no store").retry_after is None
    assert rpc_error(-32011, "no store", {"retry_after_ms": "soon"}).retry_after is None


def test_only_passing_errors_are_retried():
    assert {code for code, kind in BY_CODE.items() if kind.retryable} == {-32005, -32010, -32011}


def test_a_lost_place_says_why_and_where():
    error = errors.PlaceLost(-32007, "gone", {"reason": "expired"}, "c7")
    assert (error.reason, error.cursor) == ("expired", "c7")


def test_a_timeout_is_a_timeout_error_and_tells_the_trouble():
    error = errors.CallTimeout("insert", 2.0)
    error.__cause__ = errors.ConnectionLost("refused")
    assert isinstance(error, TimeoutError)
    assert str(error) == "insert was not answered within 2 s: the connection was lost: refused"


def test_a_refusal_says_of_what():
    assert str(errors.RequestRefused(500, "broken")) == (
        "the server refused the call with HTTP 500: broken"
    )
    assert str(errors.HandshakeRefused(421)) == "the server refused the connection with HTTP 421"
    assert isinstance(errors.HandshakeRefused(421), errors.RequestRefused)


def test_what_was_never_sent_is_not_called_a_loss():
    assert str(errors.Unreachable("nobody")) == "the server could not be reached: nobody"


def test_what_is_exported_is_sorted_and_there():
    assert streamd_client.__all__ == sorted(streamd_client.__all__)
    assert all(hasattr(streamd_client, name) for name in streamd_client.__all__)
    assert set(errors.__all__) - {"rpc_error"} <= set(streamd_client.__all__)
