import json
from pathlib import Path

import orjson
import pytest
from streamd_client import protocol
from streamd_client.errors import LimitExceeded, ProtocolError
from streamd_client.protocol import encode_call, parse
from streamd_client.values import Entry, History, Info, Inserted

VECTORS = json.loads(
    (Path(__file__).parents[3] / "tests" / "vectors" / "frames.json").read_text(encoding="utf-8")
)


def described(message):
    """A message in the words of the vectors."""
    match message:
        case protocol.Answer(id, result):
            return {"type": "answer", "id": id, "result": result}
        case protocol.Failure(id, error):
            return {"type": "error", "id": id, **described_error(error)}
        case protocol.Push(number, entry):
            return {"type": "event", "subscription": number, **described_entry(entry)}
        case protocol.Progress(cursor, number, live):
            return {"type": "progress", "subscription": number, "cursor": cursor, "live": live}
        case protocol.Closed(number, error):
            return {"type": "closed", "subscription": number, **described_error(error)}
        case protocol.Shutdown(milliseconds):
            return {"type": "shutdown", "reconnect_after_ms": milliseconds}
        case protocol.Unknown(method):
            return {"type": "unknown", "method": method}


def described_error(error):
    return {
        "error": type(error).__name__,
        "code": error.code,
        "message": error.message,
        "data": error.data,
        "retryable": error.retryable,
    }


def described_entry(entry):
    return {"cursor": entry.cursor, "time": entry.time, "event": entry.event}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_frames_mean_what_the_vectors_say(vector):
    frame = vector["frame"]
    if vector["messages"] is None:
        with pytest.raises(ProtocolError):
            parse(frame)
    else:
        assert [described(message) for message in parse(frame)] == vector["messages"]
        assert list(map(described, parse(frame.encode()))) == vector["messages"]


def test_a_call_is_json_rpc_by_name():
    frame = encode_call(7, "insert", {"event": {"kind": "ü"}, "id": "a"})
    assert orjson.loads(frame) == {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "insert",
        "params": {"event": {"kind": "ü"}, "id": "a"},
    }


def test_what_is_no_json_is_refused_before_it_is_sent():
    with pytest.raises(TypeError):
        encode_call(1, "insert", {"event": {"kind": object()}})
    with pytest.raises(TypeError):
        encode_call(1, "insert", {"event": {"kind": 2**64}})


def test_results_are_read():
    entry = {"cursor": "c1", "time": 5, "event": {"a": 1}}
    assert protocol.read_items([{"a": 1}]) == [{"a": 1}]
    assert protocol.read_inserted({"cursor": "c1", "time": 5, "duplicate": False}) == Inserted(
        "c1", 5, False
    )
    assert protocol.read_history({"entries": [entry], "before": None, "cursor": "c1"}) == History(
        [Entry("c1", 5, {"a": 1})], None, "c1"
    )
    info = {"server": "s", "version": "1", "epoch": "e", "cursor": "c", "keys": ["k"], "limits": {}}
    assert protocol.read_info(info | {"later": 1}) == Info("s", "1", "e", "c", ["k"], {})
    assert protocol.read_info(info | {"paths": {"k": "a.b"}}).paths == {"k": "a.b"}
    subscribed = protocol.read_subscribed(
        {
            "subscription": 1,
            "entries": [entry],
            "before": "c0",
            "cursor": "c1",
            "resumed": False,
            "reason": "epoch",
            "live": True,
        }
    )
    assert (subscribed.entries, subscribed.reason) == ([Entry("c1", 5, {"a": 1})], "epoch")


@pytest.mark.parametrize(
    "read",
    [
        protocol.read_inserted,
        protocol.read_inserted_many,
        protocol.read_history,
        protocol.read_info,
        protocol.read_subscribed,
    ],
)
@pytest.mark.parametrize("result", [None, [], {}, 3, {"entries": 4, "keys": 5}])
def test_a_result_of_another_form_is_a_protocol_error(read, result):
    with pytest.raises(ProtocolError):
        read(result)


def test_limit_errors_arrive_typed():
    (failure,) = parse(
        '{"jsonrpc":"2.0","id":1,"error":{"code":-32004,"message":"m","data":{"limit":"batch"}}}'
    )
    assert isinstance(failure.error, LimitExceeded)
    assert failure.error.limit == "batch"
