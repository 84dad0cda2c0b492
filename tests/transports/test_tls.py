"""TLS: HTTP and WebSocket behind a certificate, by certificates made here."""

import asyncio
import logging
import os
import signal
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from streamd_client import ClientStopped, connect
from streamd_client.sync import Client as SyncClient

from streamd.address import Address
from streamd.config import load_settings
from streamd.errors import StartupError
from streamd.server import RunningServer
from tests.commands.cli import Command
from tests.harness import DEADLINE, TEXT, call, frame, get, post, running, until, upgrade
from tests.promises.serving import free_port
from tests.test_metrics import counted
from tests.transports.certificates import Files, exchange, make, outdated


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return make(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def server(files: Files) -> AsyncIterator[RunningServer]:
    async with running(**files.options) as server:
        yield server


async def test_http_and_websocket(server: RunningServer, files: Files) -> None:
    assert (server.url, server.ws_url) == (f"https://127.0.0.1:{server.port}/", f"wss://127.0.0.1:{server.port}/")  # fmt: skip
    context = files.context()
    assert (await exchange(server, context, post(call("ping")))).json["result"] == "pong"
    assert (await exchange(server, context, get())).status == 200
    assert (await exchange(server, context, upgrade("Origin: https://localhost"))).status == 101
    assert (await exchange(server, context, upgrade("Origin: https://evil.example"))).status == 403


async def test_the_python_clients(server: RunningServer, files: Files) -> None:
    async with connect(server.ws_url, ca_file=files.ca) as client:
        async with client.subscribe(user=7) as feed:
            for number in range(3):
                await client.insert({"user": 7, "n": number})
                assert (await anext(feed)).event["n"] == number

    def over_http() -> list[dict[str, Any]]:
        with SyncClient(server.url, ca_file=files.ca) as client:
            return client.items(user=7)

    assert [event["n"] for event in await asyncio.to_thread(over_http)] == [2, 1, 0]


async def command(url: str, *words: str, **trust: str) -> tuple[int | None, bytes, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamd", *words, "--url", url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **trust, "COLUMNS": "200"},
    )
    said, errors = await asyncio.wait_for(process.communicate(), DEADLINE)
    return process.returncode, said, errors.decode()


async def test_the_commands(server: RunningServer, files: Files) -> None:
    url, ca = server.ws_url, str(files.ca)
    for words, trust in (
        (("insert", '{"user": 7}', "--ca-file", ca), {}),
        (("items", "--ca-file", ca), {}),
        (("explain", "--event", '{"user": 7}', "--ca-file", ca), {}),
        (("items",), {"STREAMD_CA_FILE": ca}),
        (("items",), {"SSL_CERT_FILE": ca}),
    ):
        code, said, errors = await command(url, *words, **trust)
        assert (code, errors) == (0, ""), words
        assert said
    tail = await Command.start("tail", "--ca-file", ca, url=url)
    assert await tail.line() == {"user": 7}
    await tail.end(signal.SIGINT)


async def test_the_commands_say_what_is_wrong(
    server: RunningServer, files: Files, tmp_path: Path
) -> None:
    code, said, errors = await command(server.ws_url, "items")
    assert (code, said) == (1, b"")
    assert "is not to be trusted (unable to get local issuer certificate)" in errors
    assert "with --ca-file" in errors
    code, _, errors = await command(server.ws_url.replace("wss", "ws"), "items")
    assert code == 1
    assert "if it speaks TLS, its URL begins with wss://" in errors
    async with running() as plain:
        code, _, errors = await command(plain.ws_url.replace("ws", "wss"), "items")
    assert code == 1
    assert "it speaks no TLS: its URL begins with ws://" in errors
    for file, reason in ((tmp_path / "none", "No such file"), (files.key, "there is none")):
        code, _, errors = await command(server.ws_url, "items", "--ca-file", str(file))
        assert code == 2
        assert reason in errors
        assert "Traceback" not in errors


async def test_who_does_not_know_the_issuer_does_not_talk(
    server: RunningServer, tmp_path: Path
) -> None:
    other = make(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        await exchange(server, other.context(), get())
    async with connect(server.ws_url, ca_file=other.ca, timeout=0.5) as client:
        with pytest.raises(TimeoutError):
            await client.ping()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_nothing_older_than_tls_1_2_is_spoken(server: RunningServer, files: Files) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = files.context(minimum_version=version, maximum_version=version)
        assert (await exchange(server, context, get("/health/live"))).status == 200
    old = outdated(files.context())
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await exchange(server, old, get("/health/live"))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await reader.read()
        writer.close()

    careless = outdated(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    careless.load_cert_chain(files.both)
    async with await asyncio.start_server(answer, server.host, 0, ssl=careless) as other:
        address = Address(server.host, other.sockets[0].getsockname()[1])
        assert (await exchange(address, old, get())).status == 200


async def test_whoever_speaks_no_tls_is_not_answered(server: RunningServer, files: Files) -> None:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(get())
    assert b"HTTP" not in await asyncio.wait_for(reader.read(), DEADLINE)
    writer.close()
    assert (await exchange(server, files.context(), get())).status == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000, 431),
        (upgrade(path="/x"), 404),
        (upgrade().replace(b"Version: 13", b"Version: 8"), 400),
        (upgrade("X: " + "y" * 9000), 431),
    ],
)
async def test_refusals_reach_their_peers(
    server: RunningServer,
    files: Files,
    request_: bytes,
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    context = files.context()
    assert (await exchange(server, context, request_)).status == status
    await until(lambda: server.application.gate.census.connections == 0)
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


async def test_who_is_not_let_in_is_told_so(files: Files) -> None:
    async with running(address_connections=1, **files.options) as server:
        async with connect(server.ws_url, ca_file=files.ca) as client:
            await client.ping()
            response = await exchange(server, files.context(), upgrade())
            assert (response.status, response.headers["retry-after"]) == (429, "5")


async def test_an_offence_closes_with_its_code(server: RunningServer, files: Files) -> None:
    reader, writer = await asyncio.open_connection(server.host, server.port, ssl=files.context())
    async with asyncio.timeout(DEADLINE):
        writer.write(upgrade())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(TEXT, b"\xff"))
        head = await reader.readexactly(2)
        assert (await reader.readexactly(head[1]))[:2] == (1007).to_bytes(2)
        assert await reader.read() == b""
    writer.close()


async def test_many_events_to_one_who_reads_late(server: RunningServer, files: Files) -> None:
    async with connect(server.ws_url, ca_file=files.ca) as client:
        async with client.subscribe() as feed:
            for _ in range(20):
                await client.insert_many([{"text": "x" * 1_000}] * 100)
            received = 0
            async for entry in feed:
                received += 1
                assert len(entry.event["text"]) == 1_000
                if received == 2_000:
                    break


async def test_what_was_written_is_told_at_the_end(
    server: RunningServer, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "streamd.peers")
    async with connect(server.ws_url, ca_file=files.ca) as client:
        async with client.subscribe(user=7) as feed:
            await client.insert({"user": 7, "text": "x" * 5_000})
            await anext(feed)
    await until(lambda: caplog.records)
    (line,) = [vars(record) for record in caplog.records]
    assert (line["message"], line["entries"], line["code"]) == ("disconnected", 1, 1000)
    sent = counted(server.application.gate.worker.meters)["streamd_sent_bytes_total"]
    assert line["bytes"] == sent > 5_000


async def test_a_server_that_stops_says_so(files: Files) -> None:
    async with running(**files.options) as server:
        client = connect(server.ws_url, ca_file=files.ca)
        await client.__aenter__()
        await client.ping()
    await until(lambda: not client.connected)
    await client.close()
    with pytest.raises(ClientStopped):
        await client.ping()


# Starting.


@pytest.fixture
def encrypted(files: Files, tmp_path: Path) -> Path:
    made = tmp_path / "encrypted.pem"
    command = [
        "openssl",
        "pkey",
        "-in",
        str(files.key),
        "-aes128",
        "-passout",
        "pass:secret",
        "-out",
        str(made),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return made


def wrong(files: Files, tmp_path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    other = make(tmp_path)
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    yield {"tls_key": files.key}, "tls_key is given without a certificate"
    yield {"tls_cert": tmp_path / "none.pem"}, "tls_cert: .*none.pem can't be read: No such file"
    yield {"tls_cert": files.cert, "tls_key": tmp_path / "none"}, "tls_key: .* can't be read"
    yield {"tls_cert": tmp_path}, "tls_cert: .* can't be read: Is a directory"
    yield {"tls_cert": files.cert, "tls_key": other.key}, "has not the key of the certificate in"
    yield {"tls_cert": files.cert}, "no certificate with its key .* name the key with --tls-key"
    yield {"tls_cert": text}, "no certificate with its key"
    yield {"tls_cert": text, "tls_key": files.key}, "are not a certificate and its key"
    yield {"tls_cert": files.cert, "tls_key": text}, "are not a certificate and its key"


def test_what_is_wrong_with_the_files_is_said_at_the_start(files: Files, tmp_path: Path) -> None:
    for options, sentence in wrong(files, tmp_path):
        with pytest.raises(StartupError, match=sentence) as caught:
            load_settings(**options)
        assert "\n" not in str(caught.value)
    load_settings(tls_cert=files.both)
    load_settings(**files.options)


def test_no_password_is_asked_for(files: Files, encrypted: Path) -> None:
    with pytest.raises(StartupError, match="the key is encrypted"):
        load_settings(tls_cert=files.cert, tls_key=encrypted)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_key_that_may_not_be_read(files: Files, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(files.key.read_bytes())
    key.chmod(stat.S_IWUSR)
    with pytest.raises(StartupError, match="can't be read: Permission denied"):
        load_settings(tls_cert=files.cert, tls_key=key)


async def test_two_workers(files: Files, tmp_path: Path) -> None:
    port = free_port()
    words = ["--port", str(port), "--workers", "2", "--tls-cert", str(files.both), "--drain", "5"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamd", "serve", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=tmp_path,
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), DEADLINE)
        assert (
            line
            == f"streamd serves wss://127.0.0.1:{port}/ and https://127.0.0.1:{port}/\n".encode()
        )
        url = f"wss://127.0.0.1:{port}/"
        clients = [connect(url, ca_file=files.ca, timeout=DEADLINE) for _ in range(6)]
        for client in clients:
            await client.__aenter__()
        for number, client in enumerate(clients):
            await client.insert({"user": number})
        for client in clients:
            assert [event["user"] for event in await client.items()] == [5, 4, 3, 2, 1, 0]
            await client.close()
        process.terminate()
        await asyncio.wait_for(process.communicate(), DEADLINE)
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
