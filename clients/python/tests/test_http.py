import os
import socket
import ssl
import subprocess
import sys
import time

import orjson
import pytest
import trustme
from streamd_client.connection import MAX_ANSWER
from streamd_client.errors import (
    ClientClosed,
    ConnectionLost,
    InvalidParams,
    LimitExceeded,
    ProtocolError,
    RequestRefused,
    Unreachable,
)
from streamd_client.http import Http, Reply, read_reply
from streamd_client.protocol import encode_call

from clients.python.tests.fake_http import (
    FakeHttp,
    drop_after,
    drop_before,
    drop_within,
    endless,
    ignore,
    in_pieces,
    leave_quietly,
    say,
)

PING = encode_call(1, "ping", {})
PONG = Reply(200, b'{"jsonrpc":"2.0","id":1,"result":"pong"}')


@pytest.fixture
def server():
    with FakeHttp() as server:
        yield server


def http_to(url, **options):
    return Http(url, **{"connections": 4, "ca_file": None, **options})


@pytest.fixture
def http(server):
    http = http_to(server.url)
    yield http
    http.close()


# Connections.


def test_a_connection_is_kept(server, http):
    assert [http.post(PING, 5) for _ in range(20)] == [PONG] * 20
    assert server.opened == 1


def test_what_is_sent_is_a_call_as_json(server, http):
    http.post(PING, 5)
    headers = server.requests[0].headers
    assert headers["Content-Type"] == "application/json"
    assert headers["Host"] == server.url.removeprefix("http://").removesuffix("/")
    assert headers["Accept-Encoding"] == "identity"
    assert headers["User-Agent"].startswith("streamd-client/")


def test_a_connection_that_the_server_closed_meanwhile_is_not_used(server, http):
    server.tricks.append(leave_quietly)
    assert http.post(PING, 5) == PONG
    # Until the goodbye is here, which no one tells us of: then it has to be seen before it hurts.
    connection = http._pool.pool.queue[-1]
    connection.sock.settimeout(5)
    assert connection.sock.recv(1, socket.MSG_PEEK) == b""
    assert http.post(PING, 5) == PONG
    assert server.opened == 2


@pytest.mark.parametrize("trick", [drop_before, drop_after, drop_within])
def test_a_broken_connection_is_told_and_not_used_again(server, http, trick):
    http.post(PING, 5)
    server.tricks.append(trick)
    with pytest.raises(ConnectionLost) as info:
        http.post(PING, 5)
    assert not isinstance(info.value, Unreachable)
    assert http.post(PING, 5) == PONG
    assert server.opened == 2


def test_nobody_listening_is_told_apart(server):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        http = http_to(f"http://127.0.0.1:{nobody.getsockname()[1]}/")
        with pytest.raises(Unreachable, match="refused"):
            http.post(PING, 5)


def test_a_name_that_nobody_has_is_told_apart():
    with pytest.raises(Unreachable):
        http_to("http://nobody.invalid/").post(PING, 5)


def test_no_answer_in_time_is_a_lost_connection(server, http):
    server.tricks.append(ignore)
    with pytest.raises(ConnectionLost, match=r"within 0\.1 s") as info:
        http.post(PING, 0.1)
    assert not isinstance(info.value, Unreachable)
    assert http.post(PING, 5) == PONG


def test_an_answer_that_comes_drop_by_drop_ends_in_time(server, http):
    server.tricks.append(endless(0.02, b" "))
    started = time.monotonic()
    with pytest.raises(ConnectionLost, match="did not end") as info:
        http.post(PING, 0.3)
    assert time.monotonic() - started < 2
    while server.connections:  # the rest is not waited for; the test's time limit is the deadline
        time.sleep(0.005)
    assert info.tb  # which keeps all objects until here


def test_a_large_answer_is_taken(server, http):
    body = b" " * (5 << 20)
    server.tricks.append(say(200, body))
    assert http.post(PING, 20).content == body
    http.post(PING, 5)
    assert server.opened == 1


def test_an_answer_without_an_end_is_not_kept(server, http):
    server.tricks.append(endless(0, b" " * 65536))
    with pytest.raises(ProtocolError, match=str(MAX_ANSWER)):
        http.post(PING, 20)
    assert http.post(PING, 5) == PONG


def test_an_answer_in_pieces_is_put_together(server, http):
    server.tricks.extend([in_pieces] * 2)
    assert [http.post(PING, 5) for _ in range(2)] == [PONG] * 2
    assert server.opened == 1


def test_a_redirect_is_not_followed(server, http):
    server.tricks.append(say(308, b"", Location=server.url))
    assert http.post(PING, 5).status == 308
    assert len(server.calls) == 1


def test_a_call_that_fails_where_an_error_is_handled_tells_its_own_reason(server, http):
    try:
        raise KeyError("the caller's")
    except KeyError:
        server.tricks.append(drop_before)
        with pytest.raises(ConnectionLost) as info:
            http.post(PING, 5)
    assert "caller" not in str(info.value)


def test_closing_ends_it(server):
    http = http_to(server.url)
    http.post(PING, 5)
    http.close()
    http.close()
    with pytest.raises(ClientClosed):
        http.post(PING, 5)


def test_proxies_of_the_environment_are_not_used(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    http = http_to(server.url)
    assert http.post(PING, 5) == PONG
    http.close()


# URLs.


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("http://{}/", "/"),
        ("http://{}", "/"),
        ("HTTP://{}/", "/"),
        ("ws://{}/", "/"),
        ("ws://{}", "/"),
        ("http://{}/feed/?a=b#c", "/feed/?a=b"),
    ],
)
def test_these_urls_mean_the_server(server, given, path):
    http = http_to(given.format(server.url.removeprefix("http://").removesuffix("/")))
    assert http.post(PING, 5) == PONG
    assert server.requests[0].path == path
    http.close()


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://localhost/", "http://", "redis://x/"])
def test_other_urls_are_refused_at_once(url):
    with pytest.raises(ValueError):
        http_to(url)


def test_a_name_and_password_go_into_the_header(server):
    http = http_to(server.url.replace("//", "//me:se%20cret@"))
    http.post(PING, 5)
    assert server.requests[0].headers["Authorization"] == "Basic bWU6c2UgY3JldA=="
    http.close()


def test_ipv6():
    try:
        server = FakeHttp("::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        http = http_to(server.url)
        assert http.post(PING, 5) == PONG
        assert server.requests[0].headers["Host"] == f"[::1]:{server.server_address[1]}"
        http.close()


# TLS.


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def secure(authority):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with FakeHttp(tls=tls) as server:
        yield server


@pytest.mark.parametrize("scheme", ["https", "wss"])
def test_a_certificate_of_an_authority_that_is_trusted(secure, authority, scheme):
    with authority.cert_pem.tempfile() as ca_file:
        http = http_to(secure.url.replace("https", scheme), ca_file=ca_file)
    assert [http.post(PING, 5) for _ in range(3)] == [PONG] * 3
    assert secure.opened == 1
    http.close()


def test_a_certificate_of_another_authority_is_refused(secure):
    http = http_to(secure.url)
    with pytest.raises(ConnectionLost, match="CERTIFICATE_VERIFY_FAILED"):
        http.post(PING, 5)
    assert not secure.calls


def test_a_certificate_for_another_name_is_refused(secure, authority):
    with authority.cert_pem.tempfile() as ca_file:
        http = http_to(secure.url.replace("127.0.0.1", "localhost"), ca_file=ca_file)
    with pytest.raises(ConnectionLost, match="CERTIFICATE_VERIFY_FAILED"):
        http.post(PING, 5)
    assert not secure.calls


def test_a_file_without_certificates_is_told_at_once(tmp_path):
    with pytest.raises(OSError):
        http_to("https://localhost/", ca_file=tmp_path / "none.pem")
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(ssl.SSLError):
        http_to("https://localhost/", ca_file=tmp_path / "empty.pem")


# Processes.

FORKING = """
import os, sys
from streamd_client.errors import ClientClosed
from streamd_client.http import Http
from streamd_client.protocol import encode_call
http, closed = (Http(sys.argv[1], connections=4, ca_file=None) for _ in range(2))
closed.close()
def call():
    assert http.post(encode_call(1, "ping", {}), 5).status == 200
call()
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    call()
else:
    call()
    try:
        closed.post(b"", 5)
    except ClientClosed:
        os._exit(0)
    os._exit(1)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_has_connections_of_its_own(server):
    subprocess.run([sys.executable, "-c", FORKING, server.url], check=True, timeout=30)
    first, child, second = (handler.connection for handler in server.requests)
    assert second is first
    assert child is not first


def test_it_says_what_is_missing():
    code = "import sys; sys.modules['urllib3'] = None; import streamd_client; import streamd_client.sync"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: the client without asyncio needs urllib3 2: pip install 'streamd-client[sync]'"
    )


# What an answer means.


def reply(message, status=200):
    return Reply(status, message if isinstance(message, bytes) else orjson.dumps(message))


def error(code, id, **data):
    return {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": "no", "data": data}}


def test_a_result_is_returned():
    assert read_reply(PONG, 1) == "pong"


def test_an_error_is_raised_typed_whatever_its_status():
    with pytest.raises(InvalidParams):
        read_reply(reply(error(-32602, 1)), 1)
    with pytest.raises(LimitExceeded) as info:
        read_reply(reply(error(-32004, None, limit="message_bytes", max=9, got=10), 413), 1)
    assert (info.value.limit, info.value.max) == ("message_bytes", 9)


@pytest.mark.parametrize("status", [408, 425, 429, 502, 503, 504])
def test_some_statuses_pass(status):
    with pytest.raises(ConnectionLost) as info:
        read_reply(Reply(status, b"<p>not\n now</p>", 7.0), 1)
    assert info.value.reason == f"HTTP {status}: <p>not now</p>"
    assert info.value.retry_after == 7.0


@pytest.mark.parametrize(
    "status", [204, 301, 308, 400, 401, 403, 404, 405, 413, 415, 421, 500, 501]
)
def test_other_statuses_do_not(status):
    with pytest.raises(RequestRefused) as info:
        read_reply(reply({"error": "no " * 200}, status), 1)
    assert info.value.status == status
    assert info.value.body.startswith('{"error":"no no')
    assert len(info.value.body) == 200
    with pytest.raises(RequestRefused):
        read_reply(Reply(status, PONG.content), 1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>hello</html>",
        b"{}",
        b"[]",
        b"[%b,%b]" % (PONG.content, PONG.content),
        PONG.content.replace(b":1", b":2"),
        orjson.dumps(error(-32602, 2)),
        b'{"jsonrpc":"2.0","method":"shutdown","params":{"reconnect_after_ms":1}}',
    ],
)
def test_what_is_no_answer_to_this_call_breaks_the_protocol(content):
    with pytest.raises(ProtocolError):
        read_reply(Reply(200, content), 1)


@pytest.mark.parametrize("header", ["2", "0", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", "-1", None])
def test_the_server_may_say_when_to_come_back(server, http, header):
    server.tricks.append(say(503, b"", **({} if header is None else {"Retry-After": header})))
    expected = float(header) if header in {"2", "0"} else None
    assert http.post(PING, 5) == Reply(503, b"", expected)
    assert http.post(PING, 5) == PONG
    assert server.opened == 1
