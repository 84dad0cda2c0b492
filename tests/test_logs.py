"""What is logged: text for people, JSON for programs, and nothing of what peers say."""

import asyncio
import gzip
import logging
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import orjson
import pytest

from streamd.address import Address
from streamd.logs import set_up_logs
from tests.harness import (
    CLOSE,
    DEADLINE,
    TEXT,
    Peer,
    call,
    frame,
    get,
    post,
    websocket,
)
from tests.services import free_port
from tests.stores.worlds import STORES

SetUp = Callable[..., None]


@pytest.fixture
def set_up() -> Iterator[SetUp]:
    """Set up logs as in a program that has not done so; what was before is there again afterwards."""
    root = logging.getLogger()
    loggers = [root, *map(logging.getLogger, ("streamd", "streamd.websocket.parser"))]
    levels = [logger.level for logger in loggers]
    before: list[logging.Handler] = []
    hook = sys.excepthook

    def set_up(*arguments: str) -> None:
        before.extend(root.handlers)
        root.handlers.clear()
        set_up_logs(*arguments)

    yield set_up
    root.handlers[:] = before or root.handlers
    sys.excepthook = hook
    logging.captureWarnings(capture=False)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def lines(text: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in text.splitlines()]


def written(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what was logged, when it is written."""
    for handler in logging.getLogger().handlers:
        handler.flush()
    return capsys.readouterr().err


def test_json(set_up: SetUp, capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info", "json")
    logger = logging.getLogger("streamd.peers")
    logger.info("disconnected", extra={"code": 1000, "secret": "hush", "bytes": None})
    logger.debug("not at this level")
    logging.getLogger("aiosqlite").info("others inform of what they do")
    logging.getLogger("uvicorn.error").warning("%d\n%s", 5, "é\x1b[1m")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        logger.exception("a defect")
    one, two, three = lines(written(capsys))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", one.pop("time"))
    assert one == {
        "level": "info",
        "message": "disconnected",
        "logger": "streamd.peers",
        "code": 1000,
        "bytes": None,
        "process": os.getpid(),
    }
    assert (two["level"], two["message"]) == ("warning", "5\né\x1b[1m")
    assert three["exception"].startswith("Traceback")
    assert three["exception"].endswith("ZeroDivisionError")


def test_text(set_up: SetUp, capsys: pytest.CaptureFixture[str]) -> None:
    set_up("warning", "text")
    logging.getLogger("streamd.peers").info("not at this level")
    logging.getLogger("streamd.peers").warning("slow reader", extra={"connection": 7})
    said = written(capsys)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4} \[warning *\] slow reader +\[streamd\.peers\] connection=7\n",
        said,
    )


def test_without_a_terminal_it_is_json(set_up: SetUp, capsys: pytest.CaptureFixture[str]) -> None:
    set_up()
    logging.getLogger("streamd").warning("hello")
    assert lines(written(capsys))[0]["message"] == "hello"


ODD = "a\nb\r\x1b[2J\u2028\ud800"


def test_whatever_a_message_has_in_it_it_is_one_line(
    set_up: SetUp, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up("info", "text")
    logging.getLogger("streamd").info("%s", ODD, extra={"address": ODD})
    (line,) = written(capsys).splitlines()
    assert r"a\nb\r\x1b[2J\u2028\ud800 " in line
    assert line.isprintable()


def test_whatever_is_beside_a_message_it_is_json(
    set_up: SetUp, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up("info", "json")
    logging.getLogger("streamd").info("%s", ODD, extra={"address": ODD, "code": 1 << 70})
    (line,) = written(capsys).rstrip("\n").split("\n")
    told = orjson.loads(line)
    assert told["message"] == told["address"] == ODD.replace("\ud800", "?")


def test_warnings_and_uncaught_errors_are_lines_as_others(set_up: SetUp) -> None:
    code = """
import warnings
from streamd.logs import set_up_logs
set_up_logs("info", "json")
warnings.warn("old")
raise ValueError("whatever")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, timeout=DEADLINE, text=True
    )
    assert done.returncode == 1
    one, two = lines(done.stderr)
    assert (one["level"], one["logger"]) == ("warning", "py.warnings")
    assert (two["level"], two["message"]) == ("critical", "uncaught")
    assert two["exception"].endswith("ValueError: whatever")


@pytest.mark.parametrize("reader", ["stalled", "gone"])
def test_a_log_that_nobody_reads_stops_nobody(reader: str) -> None:
    code = """
import logging, sys
from streamd.logs import set_up_logs
set_up_logs("info", "json")
for number in range(20_000):
    logging.getLogger("streamd").info("line %d", number)
print("done", flush=True)
"""
    ours, theirs = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", code], stderr=theirs, stdout=subprocess.PIPE
    ) as process:
        os.close(theirs)
        if reader == "gone":
            os.close(ours)
        assert process.stdout is not None
        assert process.stdout.read() == b"done\n"
        assert process.wait(DEADLINE) == 0
    if reader == "stalled":
        os.close(ours)


def test_how_many_lines_were_too_many_is_told() -> None:
    code = """
import logging, sys
from streamd import logs
logs._WAITING = 5
logs.set_up_logs("info", "json")
for number in range(20_000):
    logging.getLogger("streamd").info("line %d", number)
logging.getLogger().handlers[0].flush()
logging.getLogger("streamd").info("last")
"""
    ours, theirs = os.pipe()
    with subprocess.Popen([sys.executable, "-c", code], stderr=theirs) as process:
        os.close(theirs)
        with open(ours, encoding="utf-8") as pipe:
            told = lines(pipe.read())
        assert process.wait(DEADLINE) == 0
    missing = [each["message"] for each in told if each["logger"] == "streamd.logs"]
    lost = sum(int(message.rpartition(" ")[2]) for message in missing)
    assert lost
    assert len(told) - len(missing) + lost == 20_001


@pytest.mark.parametrize("form", ["auto", "json"])
def test_on_a_terminal_it_is_text_unless_json_is_wanted(form: str) -> None:
    ours, theirs = pty.openpty()
    code = f"""
import logging
from streamd.logs import set_up_logs
set_up_logs("info", {form!r})
logging.getLogger("streamd").info("hello", extra={{"code": 5}})
"""
    subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True, timeout=DEADLINE)
    said = os.read(ours, 10_000).decode()
    os.close(ours)
    os.close(theirs)
    if form == "json":
        assert orjson.loads(said)["message"] == "hello"
    else:
        assert "hello" in said
        assert "{" not in said


def test_a_program_that_has_set_up_its_logs_keeps_them() -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    assert handlers, "they are those of the test's runner"
    set_up_logs("debug", "json")
    assert (root.handlers, root.level) == (handlers, level)


# Nothing of what peers say.

CANARY = "canary4711"
SECRET = f"{CANARY}-secret-of-more-than-32-bytes"


def token(**claim: Any) -> str:
    claims = {"sub": f"{CANARY}-subject", "exp": time.time() + 60, "streamd": claim}
    return str(jwt.encode(claims, SECRET, "HS256"))


async def misbehave(server: Address) -> None:
    """Say all sorts of things that have a canary in them, right and wrong."""
    good = token(read=[{}], write=[{"user": [CANARY]}])
    parts = good.split(".")
    event = {"user": CANARY, "text": CANARY, CANARY: [CANARY]}
    async with websocket(server, f"X-Header: {CANARY}", f"Cookie: session={CANARY}") as peer:
        await peer.call("authenticate", {"token": good})
        await peer.call("subscribe", {"filter": {"user": CANARY}})
        await peer.call("insert", {"event": event, "id": CANARY})
        for bad in (
            call("insert", {"event": {"user": {CANARY: 1}}}),
            call("insert", {"event": {"user": f"other-{CANARY}"}}),
            call(CANARY, {CANARY: CANARY}),
            call("items", {"filter": {CANARY: 1}}),
            call("history", {"before": CANARY}),
            f'{{"{CANARY}'.encode(),
        ):
            await peer.send(frame(TEXT, bad))
            while "error" not in await peer.message():
                pass
        await peer.send(frame(CLOSE, (1000).to_bytes(2) + CANARY.encode()))
        await peer.rest()
    for wrong in (CANARY, parts[0] + "." + parts[1] + "." + CANARY):
        async with websocket(server) as peer:
            await peer.send(frame(TEXT, call("authenticate", {"token": wrong})))
            await peer.close_code()
    async with websocket(server) as peer:
        await peer.send(frame(TEXT, call("authenticate", {"token": CANARY * 2_000})))
        assert "error" in await peer.message()  # It may try once more.
    async with websocket(server) as peer:
        await peer.send(frame(TEXT, CANARY.encode() + b"\xff"))
        await peer.close_code()
    bearer = f"Authorization: Bearer {good}"
    for request in (
        post(call("insert", {"event": event}), bearer),
        post(call("items", {"filter": {"user": CANARY}}), f"Authorization: Bearer {CANARY}"),
        post(gzip.compress(CANARY.encode()), bearer),
        get(f"/{CANARY}?token={good}"),
        get("/metrics", bearer),
        f"GET / HTTP/1.1\r\nHost: {CANARY}\r\n\r\n".encode(),
        f"{CANARY}\r\n\r\n".encode(),
    ):
        async with Peer.connect(server) as peer:
            await peer.send(request)
            peer.send_end()
            await peer.rest()


async def overhear(server: Address) -> bytes:
    """Return what the server says to others who may not see anything: metrics, pages, errors."""
    other = f"Authorization: Bearer {token(read=[{'user': 'other'}])}"
    said = b""
    for request in (
        get("/metrics"),
        get("/health/ready"),
        get("/"),
        post(call("info"), other),
        post(call("items"), other),
        post(call("history", {"before": "x"}), other),
        post(call("insert", {"event": {"user": "other"}}), other),
    ):
        async with Peer.connect(server) as peer:
            await peer.send(request)
            said += (await peer.response()).body
    assert b"streamd_" in said
    assert b'"error"' in said
    return said


async def check(url: str, stream: str) -> bytes:
    """Return what `streamd check` writes of a stream."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamd", "check", "--store", url, "--stream", stream),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert process.returncode == 0, said
    assert said
    return said


@pytest.mark.parametrize("store", STORES)
async def test_nothing_of_what_peers_say_is_told_to_others(
    store: str, stream_name: str, request: pytest.FixtureRequest
) -> None:
    url = "memory:" if store == "memory" else request.getfixturevalue(f"{store}_url")
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if "STREAMD" not in name}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamd", "serve", "--port", str(port)),
        *("--store", url, "--stream", stream_name, "--log-level", "debug"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment | {"STREAMD_TOKEN_SECRET": SECRET},
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            while b"streamd serves" not in await process.stdout.readline():
                assert process.returncode is None
        await misbehave(Address("127.0.0.1", port))
        heard = await overhear(Address("127.0.0.1", port))
    finally:
        process.terminate()
        said, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert process.returncode == 0
    assert b'"message":"connected"' in said, "it was told to tell everything"
    assert b'"message":"disconnected"' in said
    if store != "memory":
        said += await check(url, stream_name)
    assert CANARY.encode() not in said
    assert CANARY.encode() not in heard
    part = token(read=[{}]).split(".")[0].encode()
    assert part not in said, "not even the header of a token"
