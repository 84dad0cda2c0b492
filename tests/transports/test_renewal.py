"""A certificate that is renewed while the server runs, by real connections."""

import asyncio
import logging
import re
import shutil
import signal
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from streamd_client import FeedState, connect

from streamd.address import Address
from tests.harness import Peer, get, running, until
from tests.promises.serving import Daemon, free_port
from tests.test_metrics import counted
from tests.transports.certificates import Files, exchange, make


def put(source: Files, target: Files) -> None:
    """Replace a pair by another, as renewing programs do: by new files."""
    for name in ("cert", "key"):
        new = getattr(target, name).with_suffix(".new")
        shutil.copy(getattr(source, name), new)
        new.replace(getattr(target, name))


async def shows(server: Address, files: Files) -> bool:
    """Tell whether a new connection is shown a certificate of these."""
    try:
        return (await exchange(server, files.context(), get("/health/live"))).status == 200
    except ssl.SSLCertVerificationError:
        return False


async def until_shown(server: Address, files: Files) -> None:
    async with asyncio.timeout(30):
        while not await shows(server, files):
            await asyncio.sleep(0.05)


@pytest.fixture
def old(tmp_path: Path) -> Files:
    (tmp_path / "old").mkdir()
    return make(tmp_path / "old")


@pytest.fixture
def new(tmp_path: Path) -> Files:
    (tmp_path / "new").mkdir()
    return make(tmp_path / "new")


async def test_a_renewed_certificate_counts_and_nobody_is_cut(
    old: Files, new: Files, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running(**old.options) as server:
        async with connect(server.ws_url, ca_file=old.ca) as client:
            async with client.subscribe(user=7) as feed:
                await client.insert({"user": 7, "n": 0})
                assert (await anext(feed)).event["n"] == 0
                put(new, old)
                await until_shown(server, new)
                await client.insert({"user": 7, "n": 1})
                assert (await anext(feed)).event["n"] == 1
                assert (feed.state, len(server.application.gate.keepalive)) == (FeedState.LIVE, 1)
    assert [each.message for each in caplog.records if each.name == "streamd.tls"] == [
        "the certificate was renewed"
    ]


async def test_a_pair_that_will_not_do_leaves_the_one_before(
    old: Files, new: Files, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(**old.options) as server:
        shutil.copy(new.cert, old.cert)  # The key is still the old one.
        await until(lambda: caplog.records)
        assert await shows(server, old)
        server.application.reload()
        server.application.reload()
        old.key.write_text("-----BEGIN PRIVATE KEY-----\nhalf")
        await until(lambda: len(caplog.records) == 2)
        assert await shows(server, old)
        shutil.copy(new.key, old.key)
        server.application.reload()
        await until_shown(server, new)
    first, second = (each.message for each in caplog.records if each.levelno == logging.WARNING)
    assert first.startswith("the certificate before stays, the renewed one will not do: tls_key: ")
    assert second.endswith("are not a certificate and its key (PEM)")


def in_days(days: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)


@pytest.mark.parametrize(
    ("days", "warning"),
    [
        (-0.01, r"the certificate in .*cert.pem has expired: clients that check it stay away"),
        (6.99, r"the certificate in .*cert.pem ends in 7.0 days: renew it"),
        (7.01, None),
    ],
)
async def test_how_long_it_counts_is_measured_and_told_when_that_is_not_long(
    tmp_path: Path, new: Files, days: float, warning: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """At the start and when it is renewed."""
    files = make(tmp_path, end=in_days(days))
    async with running(**files.options) as server:

        def end() -> float | None:
            found = counted(server.application.gate.worker.meters)
            return found.get("streamd_certificate_expiry_timestamp_seconds")

        await until(lambda: end() == pytest.approx(time.time() + days * 86_400, abs=60))
        put(new, files)
        server.application.reload()
        await until(lambda: end() > time.time() + 365 * 86_400)
        later = tmp_path / "later"
        later.mkdir()
        put(make(later, end=in_days(days)), files)
        server.application.reload()
        await until(lambda: end() == pytest.approx(time.time() + days * 86_400, abs=60))
    told = [line.message for line in caplog.records if line.levelno == logging.WARNING]
    assert len(told) == (2 if warning else 0)
    assert all(re.fullmatch(warning or "", line) for line in told)


@pytest.mark.parametrize(
    ("days", "seconds", "told"),
    [
        (7, 1, ["ends in 7.0 days: renew it"]),
        (
            0,
            6,
            ["ends in 0.0 days: renew it", "has expired: clients"],
        ),  # Time to start before that.
    ],
)
async def test_an_end_that_comes_while_it_serves_is_told_once(
    tmp_path: Path, days: float, seconds: float, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    end = in_days(days) + timedelta(seconds=seconds)
    files = make(tmp_path, end=end)
    async with running(**files.options) as server:
        while datetime.now(UTC) < end - timedelta(days=days):
            server.application.reload()
            await asyncio.sleep(0.05)
        await until(lambda: server.application.reload() or len(caplog.records) >= len(told))
        server.application.reload()
    lines = [line.message for line in caplog.records if line.levelno == logging.WARNING]
    assert len(lines) == len(told)
    assert all(words in line for words, line in zip(told, lines, strict=True))


async def test_without_tls_there_is_no_end_to_measure() -> None:
    async with running() as server, Peer.connect(server) as peer:
        await peer.send(get("/metrics"))
        text = (await peer.response()).body
        assert b"# TYPE streamd_certificate_expiry_timestamp_seconds gauge" in text
        assert b"\nstreamd_certificate_expiry_timestamp_seconds" not in text


async def test_files_that_are_gone_for_a_moment_end_no_watch(
    old: Files, new: Files, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Between the look whether they can be read, and OpenSSL's."""

    class Gone(ssl.SSLContext):
        def load_cert_chain(self, *files: Any) -> None:
            raise FileNotFoundError(2, "No such file or directory")

    async with running(**old.options) as server:
        with monkeypatch.context() as patched:
            patched.setattr("streamd.transports.tls.ssl.SSLContext", Gone)
            old.cert.touch()
            server.application.reload()
            await until(lambda: caplog.records)
        put(new, old)
        server.application.reload()
        await until_shown(server, new)


@pytest.mark.parametrize("workers", [1, 2])
async def test_sighup_lets_every_worker_look_at_once(old: Files, new: Files, workers: int) -> None:
    words = ("--tls-cert", str(old.cert), "--tls-key", str(old.key), "--workers", str(workers))
    server = Daemon(free_port(), words, str(old.cert.parent))
    at = Address("127.0.0.1", server.port, secure=True)
    await server.launch()
    try:
        async with asyncio.timeout(30):
            while b"streamd serves" not in server.output:
                await asyncio.sleep(0.05)
        async with connect(at.ws_url, ca_file=old.ca, timeout=30) as client:
            await client.ping()
            serving = f"streamd_ready_workers {workers}.0".encode()
            async with asyncio.timeout(30):
                while serving not in (await exchange(at, old.context(), get("/metrics"))).body:
                    await asyncio.sleep(0.05)
            put(new, old)
            server.send(signal.SIGHUP)
            async with asyncio.timeout(30):
                while server.output.count(b"the certificate was renewed") < workers:
                    await asyncio.sleep(0.05)
            for _ in range(4 * workers):
                assert await shows(at, new)
            assert (
                b"\nstreamd_certificate_expiry_timestamp_seconds 3.2"
                in (await exchange(at, new.context(), get("/metrics"))).body
            )
            await client.ping()
            assert client.connected
    finally:
        assert await server.stop() == 0
