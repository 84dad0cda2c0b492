"""streamd.transports.fetch: one GET, whatever the server does."""

import asyncio
import ssl
import threading
import time
from pathlib import Path

import orjson
import pytest
import trustme

from streamd.errors import StartupError
from streamd.transports.fetch import check_url, fetch
from tests.issuer import issuer


async def test_a_document_is_fetched() -> None:
    async with issuer() as server:
        assert orjson.loads(await fetch(server.url)) == {"keys": server.keys}
        request = server.requests[0].decode()
        assert request.startswith("GET /keys?v=1 HTTP/1.1\r\nHost: 127.0.0.1:")
        assert await fetch(server.url.removesuffix("/keys?v=1"))
        assert server.requests[1].startswith(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_it_may_end_with_the_connection(version: bytes) -> None:
    async with issuer() as server:
        server.raw = b"HTTP/%b 200 OK\r\nContent-Type: application/json\r\n\r\n{}" % version
        assert await fetch(server.url) == b"{}"


async def test_it_may_come_in_chunks() -> None:
    async with issuer() as server:
        server.raw = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b'4\r\n{"ke\r\n7\r\nys":[]}\r\n0\r\n\r\n'
        )
        assert await fetch(server.url) == b'{"keys":[]}'


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense",
        b"\x00" * 10_000,
        b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5_000,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    ],
    ids=lambda answer: repr(answer[:30]),
)
async def test_what_is_no_document_is_an_error_without_its_url(answer: bytes) -> None:
    async with issuer() as server:
        server.raw = answer
        with pytest.raises(OSError) as caught:
            await fetch(server.url, most=4_000)
        assert "keys" not in str(caught.value)
        assert str(caught.value)


async def test_a_slow_server_is_given_up_in_time() -> None:
    async with issuer() as server:
        server.going.clear()
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await fetch(server.url, seconds=0.2)
        assert time.monotonic() - began < 5


async def test_a_server_that_drips_is_given_up_in_time() -> None:
    done = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(b"H")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            writer.close()
            done.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(OSError):
        await fetch(f"http://127.0.0.1:{port}/", seconds=0.2)
    await done.wait()
    server.close()


async def test_a_header_without_end_is_not_read_to_it() -> None:
    done = asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
        except ConnectionError:
            writer.close()
            done.set()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConnectionError, match="too long"):
        await fetch(f"http://127.0.0.1:{port}/")
    await done.wait()
    server.close()


async def test_who_speaks_https_must_be_known_and_who_he_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, theirs = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    async with issuer(theirs) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            await fetch(server.url)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert orjson.loads(await fetch(server.url)) == {"keys": server.keys}
        with pytest.raises(ssl.SSLCertVerificationError):
            await fetch(server.url.replace("127.0.0.1", "localhost"))
        assert server.asked == 1


async def test_what_the_system_trusts_is_not_read_where_the_loop_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, threads = ssl.create_default_context, []

    def seen() -> ssl.SSLContext:
        threads.append(threading.get_ident())
        return read()

    monkeypatch.setattr(ssl, "create_default_context", seen)
    async with issuer() as server:
        with pytest.raises(OSError):
            await fetch(server.url.replace("http", "https"))
    assert threads
    assert threading.get_ident() not in threads


async def test_nobody_there_is_an_error() -> None:
    async with issuer() as server:
        url = server.url
    with pytest.raises(OSError):
        await fetch(url)


@pytest.mark.parametrize(
    "url",
    ["https://issuer.example/keys", "https://issuer.example:8443", "http://localhost/", "http://[::1]:80/x?y"],
)  # fmt: skip
def test_urls_that_will_do(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "issuer.example",
        "http://issuer.example/",
        "http://127.0.0.1.evil.example/",
        "ftp://localhost/",
        "file:///etc/passwd",
        "https://",
        "https://user:canary@issuer.example/",
        "https://issuer.example/ canary",
        "https://issuer.example/\r\nX: canary",
        "https://issuer.example:x/",
        "https://[::1/",
        "https://ä.example/",
    ],
)
def test_urls_that_will_not_and_are_not_repeated(url: str) -> None:
    with pytest.raises(StartupError) as caught:
        check_url(url)
    assert "canary" not in str(caught.value)
