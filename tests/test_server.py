"""The server's life: how it starts, why it does not, and how it ends."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from streamd.address import Address
from streamd.application import Application
from streamd.config import load_settings
from streamd.errors import StartupError
from streamd.ledger import SharedLedger
from streamd.server import RunningServer, run_server
from tests.harness import (
    CLOSE,
    DEADLINE,
    TEXT,
    Peer,
    apart,
    call,
    frame,
    get,
    post,
    running,
    until,
    websocket,
)
from tests.promises.serving import workers_of
from tests.services import RedisServer
from tests.test_ledger import workers as ledger_workers

ABSENT_REDIS = "redis://:secret@127.0.0.1:1/0"

# Within this process.


async def test_servers_live_side_by_side_and_can_be_started_again() -> None:
    async with running() as one, running() as two:
        assert one.port != two.port
        for server in (one, two):
            async with websocket(server) as peer:
                assert await peer.call("ping") == "pong"
    async with running(port=one.port) as again, websocket(again) as peer:
        assert await peer.call("items") == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"host": "no-such-host.invalid", "allow_anonymous": "read,write"}, "can't be resolved"),
        ({"host": "192.0.2.1", "allow_anonymous": "read,write"}, "can't be listened on"),
        ({"host": "name..without.end", "allow_anonymous": "read,write"}, "can't be resolved"),
        ({"store": "nothing:"}, "there is no store 'nothing:'"),
        ({"store": "//me:secret@host"}, "there is no store"),
        ({"store": "redis://me:secret@[::1"}, "the store's URL is not one of"),
        ({"store": ABSENT_REDIS}, "Redis"),
    ],
)
async def test_what_keeps_it_from_starting_is_said(options: dict[str, str], sentence: str) -> None:
    with pytest.raises(StartupError, match=sentence) as caught:
        async with running(store_deadline=0.5, **options):
            pass
    assert "secret" not in str(caught.value)


async def test_a_start_that_is_cancelled_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()

    async def start() -> None:
        async with running():
            raise AssertionError("it was to be cancelled")

    task = asyncio.create_task(start())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert asyncio.all_tasks() == before


async def test_port_in_use() -> None:
    async with running() as server:
        with pytest.raises(StartupError, match=f"port {server.port} of 127.0.0.1 is in use"):
            async with run_server(port=server.port):
                pass


# Its end.


@asynccontextmanager
async def ending(**options: object) -> AsyncIterator[tuple[RunningServer, Callable[[], object]]]:
    """Run a server, and a function that begins its end; it has ended when this context ends."""
    go = asyncio.Event()
    started: asyncio.Future[RunningServer] = asyncio.get_running_loop().create_future()

    async def run() -> None:
        async with running(**options) as server:
            started.set_result(server)
            await go.wait()

    task = asyncio.create_task(run())
    await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
    yield await started, go.set
    go.set()
    await task


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_peers_are_told_when_to_come_back_and_closed_with_1012() -> None:
    async with ending(drain=10) as (server, end), websocket(server) as peer:
        await peer.call("subscribe")
        start = now()
        end()
        message = await peer.message()
        while message["method"] != "shutdown":
            assert message["method"] == "progress"
            message = await peer.message()
        assert 0 < message["params"]["reconnect_after_ms"] < 5000
        assert await peer.close_code() == 1012
    assert now() - start < 2


async def test_the_end_of_an_idle_server_is_quick() -> None:
    start = now()
    async with running(drain=10):
        pass
    async with running(drain=10) as server, Peer.connect(server) as peer:
        await peer.send(get())
        await peer.response()
    assert now() - start < 2


async def test_nobody_is_let_in_any_more() -> None:
    async with ending() as (server, end), websocket(server):
        end()

        async def refused() -> None:
            while True:
                async with Peer.connect(server):
                    await asyncio.sleep(0.01)

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(refused(), DEADLINE)


class Brake:
    """Hold the store's appends until they are let go."""

    def __init__(self, server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
        gate = server.application.gate
        assert gate is not None
        self.off = asyncio.Event()
        self.held = 0
        store = gate.worker._store
        append = store.append

        async def slow(*args: object) -> object:
            self.held += 1
            await self.off.wait()
            return await append(*args)  # type: ignore[arg-type]  # handed on as they came

        monkeypatch.setattr(store, "append", slow)


async def test_calls_in_flight_are_answered_and_later_ones_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ending(drain=10) as (server, end), websocket(server) as peer:
        brake = Brake(server, monkeypatch)
        await peer.send(frame(TEXT, call("insert", [{"user": 1}], ident="early")))
        await until(lambda: brake.held)
        end()
        while (await peer.message()).get("method") != "shutdown":
            pass
        await peer.send(frame(TEXT, call("insert", [{"user": 2}], ident="late")))
        answer = await peer.message()
        assert (answer["id"], answer["error"]["code"]) == ("late", -32011)
        brake.off.set()
        answer = await peer.message()
        assert (answer["id"], answer["result"]["duplicate"]) == ("early", False)
        assert await peer.close_code() == 1012


async def test_post_in_flight_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ending(drain=10) as (server, end), Peer.connect(server) as peer:
        brake = Brake(server, monkeypatch)
        await peer.send(post(call("insert", [{"user": 1}])))
        await until(lambda: brake.held)
        end()
        gate = server.application.gate
        await until(lambda: gate is not None and gate.draining)
        brake.off.set()
        response = await peer.response()
        assert response.json["result"]["duplicate"] is False
        assert response.headers["connection"] == "close"


@pytest.mark.parametrize(
    "request_", [b"", frame(TEXT, b"{", length=100), frame(CLOSE, b"", length=100)]
)
async def test_peers_that_do_not_say_goodbye_are_left_at_the_deadline(request_: bytes) -> None:
    start = now()
    async with ending(drain=0.5) as (server, end), websocket(server) as peer:
        await peer.send(request_)
        end()
        assert (await peer.rest()).endswith(b"service restart")
    assert now() - start < 2


async def test_slow_requests_are_left_at_the_deadline() -> None:
    start = now()
    async with ending(drain=0.5) as (server, end), Peer.connect(server) as peer:
        await peer.send(post(b"{", length=100))
        gate = server.application.gate
        assert gate is not None
        await until(gate._others)
        end()
        await peer.rest()
    assert now() - start < 2


async def test_call_that_never_ends_is_left_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = now()
    async with ending(drain=0.5) as (server, end), websocket(server) as peer:
        brake = Brake(server, monkeypatch)
        await peer.send(frame(TEXT, call("insert", [{"user": 1}])))
        await until(lambda: brake.held)
        end()
        assert (await peer.rest()).endswith(b"service restart")
        brake.off.set()
    assert now() - start < 3


async def test_a_request_that_is_never_answered_ends_with_the_server_and_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = now()
    async with ending(drain=0.5) as (server, end), Peer.connect(server) as peer:
        brake = Brake(server, monkeypatch)
        await peer.send(post(call("insert", [{"user": 1}])))
        await until(lambda: brake.held)
        end()
        await peer.rest()
    assert now() - start < 3
    assert not [record for record in caplog.records if record.exc_info]


async def test_many_are_sent_away_one_after_the_other() -> None:
    times: list[float] = []
    delays: list[int] = []

    async def one(server: RunningServer) -> None:
        async with websocket(server) as peer:
            ready.append(peer)
            message = await peer.message()
            times.append(now())
            delays.append(message["params"]["reconnect_after_ms"])
            assert await peer.close_code() == 1012

    ready: list[Peer] = []
    async with ending(drain=10) as (server, end):
        peers = [asyncio.create_task(one(server)) for _ in range(300)]
        await until(lambda: len(ready) == len(peers))
        end()
        await asyncio.gather(*peers)
    assert max(times) - min(times) > 0.2
    assert len(set(delays)) > 150


# As a process of its own.


@dataclass
class Process:
    """A running `streamd serve`."""

    process: subprocess.Popen[str]
    address: Address

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)


Serve = Callable[..., Awaitable[Process]]


def launch(*words: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if "STREAMD" not in name}
    return subprocess.Popen(
        [sys.executable, "-m", "streamd", "serve", *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"STREAMD_STORE": "memory:"},
    )


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start processes, which are ended with the test."""
    processes: list[subprocess.Popen[str]] = []

    async def start(*options: str) -> Process:
        process = launch("--port", "0", *options)
        processes.append(process)
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        match = re.search(r"ws://127\.0\.0\.1:(\d+)/", line)
        assert match, (line, process.communicate(timeout=DEADLINE)[1])
        return Process(process, Address("127.0.0.1", int(match[1])))

    yield start
    for process in processes:
        process.kill()
        process.communicate(timeout=DEADLINE)


def output(process: Process) -> tuple[int, str]:
    """Wait for its end; return its exit code and what it said on stderr, but for mere information."""
    _, errors = process.process.communicate(timeout=DEADLINE)
    return process.process.returncode, apart(errors)[1]


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ((), False),
        (("--token-secret", "k" * 32), True),
        (("--token-secret", "k" * 32, "--allow-anonymous", "read"), False),
    ],
)
async def test_its_greeting_says_that_a_token_is_needed(
    serve: Serve, options: tuple[str, ...], given: bool
) -> None:
    process = await serve(*options)
    assert process.process.stdout is not None
    while not (await asyncio.to_thread(process.process.stdout.readline)).startswith("Follow"):
        pass
    for command in (" tail user=291", " insert '{"):
        hint = await asyncio.to_thread(process.process.stdout.readline)
        assert command in hint
        assert hint.endswith(" --token-file FILE\n") is given


async def test_it_serves_though_nobody_reads_its_greeting() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = launch("--port", "0", stdout=writing)
    os.close(writing)
    try:
        assert process.stderr is not None
        line = await asyncio.to_thread(process.stderr.readline)
        match = re.search(r"ws://127\.0\.0\.1:(\d+)/", line)
        assert match, line
        async with websocket(Address("127.0.0.1", int(match[1]))) as peer:
            assert await peer.call("ping") == "pong"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, DEADLINE) == 0
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE)


def limited(files: int, *options: str) -> subprocess.Popen[str]:
    """Run `streamd serve` where only so many files may be open."""
    return python_limited(files, "-m", "streamd", "serve", "--port", "0", *options)


def python_limited(files: int, *words: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if "STREAMD" not in name}
    return subprocess.Popen(
        ["sh", "-c", f'ulimit -n {files} && exec "$0" "$@"', sys.executable, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"STREAMD_STORE": "memory:"},
    )


def test_connections_that_can_not_be_had_keep_it_from_starting() -> None:
    with limited(300, "--connections", "101") as process:
        said, errors = process.communicate(timeout=DEADLINE)
    assert (process.returncode, said) == (1, "")
    assert errors.startswith("streamd: connections can't be 101: 300 files may be open")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("files", [100, 200])
def test_where_no_connection_can_be_had_only_more_files_help(files: int) -> None:
    with limited(files) as process:
        said, errors = process.communicate(timeout=DEADLINE)
    assert (process.returncode, said) == (1, "")
    assert errors == (
        f"streamd: {files} files may be open, and 200 are for other things than connections: "
        "allow more (ulimit -n, LimitNOFILE)\n"
    )


@pytest.mark.parametrize("options", [(), ("--connections", "100")])
async def test_where_few_files_may_be_open_connections_are_few(options: tuple[str, ...]) -> None:
    with limited(300, *options) as process:
        try:
            assert process.stdout is not None
            line = await asyncio.to_thread(process.stdout.readline)
            address = Address("127.0.0.1", int(line.split(":")[2].partition("/")[0]))
            async with contextlib.AsyncExitStack() as stack:
                peers = [await stack.enter_async_context(websocket(address)) for _ in range(100)]
                assert (await peers[0].call("info"))["limits"]["connections"] == 100
                for _ in range(300):
                    async with Peer.connect(address) as another:
                        assert (await another.response()).status == 503
                assert [await peer.call("ping") for peer in peers] == ["pong"] * 100
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
    assert process.returncode == 0
    assert errors.count("there can be only 100 connections") == (0 if options else 1)


PROGRAM = """
import asyncio, sys, streamd, uvloop

async def main():
    async with streamd.run_server(store="memory:", drain=1) as server:
        print(server.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)

with asyncio.Runner(loop_factory={loop}.new_event_loop) as runner:
    runner.run(main())
"""


async def test_many_may_wait_to_be_accepted() -> None:
    async with running() as server:
        gate = server.application.gate
        assert gate is not None
        with contextlib.ExitStack() as stack:
            for _ in range(100):  # Without an await: nobody is accepted meanwhile.
                stack.enter_context(socket.create_connection((server.host, server.port), 1))
            await until(lambda: gate.census.connections == 100)
        await until(lambda: not gate.census.connections)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_more_connections_at_once_than_files_may_be_open_cost_nothing(loop: str) -> None:
    with python_limited(300, "-c", PROGRAM.format(loop=loop)) as process:
        try:
            assert process.stdout is not None
            port = int(await asyncio.to_thread(process.stdout.readline))
            async with websocket(Address("127.0.0.1", port)) as peer:
                for _ in range(2):
                    with contextlib.ExitStack() as stack:
                        for _ in range(600):
                            sock = stack.enter_context(socket.socket())
                            sock.setblocking(False)
                            sock.connect_ex(("127.0.0.1", port))
                        assert await peer.call("ping") == "pong"
                assert await peer.call("ping") == "pong"
            said, errors = process.communicate("", timeout=DEADLINE)
        finally:
            process.kill()
    assert (process.returncode, said, errors) == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_ends_it_in_order(serve: Serve, number: int) -> None:
    process = await serve("--drain", "5")
    async with websocket(process.address) as peer:
        await peer.call("insert", [{"user": 1}])
        process.end(number)
        assert (await peer.message())["method"] == "shutdown"
        assert await peer.close_code() == 1012
    assert await asyncio.to_thread(output, process) == (0, "")


async def test_a_second_interrupt_ends_it_at_once(serve: Serve) -> None:
    process = await serve("--drain", "600")
    async with Peer.connect(process.address) as slow, websocket(process.address) as peer:
        await slow.send(post(b"{", length=100))
        await peer.call("ping")
        process.end(signal.SIGINT)
        assert (await peer.message())["method"] == "shutdown"
        process.end(signal.SIGINT)
        assert await asyncio.to_thread(output, process) == (0, "")


@pytest.mark.parametrize("store", ["redis://127.0.0.1:{}", "postgresql://me@127.0.0.1:{}/feeds"])
async def test_a_start_that_waits_for_its_store_ends_when_it_is_told_to(store: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(DEADLINE)
        process = launch(
            *("--port", "0", "--store", store.format(silent.getsockname()[1])),
            *("--store-deadline", "600"),
        )
        try:
            connection, _ = await asyncio.to_thread(silent.accept)
            with connection:
                process.send_signal(signal.SIGTERM)
                ended = Process(process, Address("127.0.0.1", 0))
                assert await asyncio.to_thread(output, ended) == (0, "")
        finally:
            process.kill()


def run(*options: str) -> subprocess.CompletedProcess[str]:
    """Run `streamd serve` where it should not start."""
    process = launch(*options)
    try:
        said, errors = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    return subprocess.CompletedProcess([], process.returncode, said, errors)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--workers", "2", "--store", "memory:"], "memory:"),
        (["--port", "0", "--store", "nothing:"], "nothing:"),
        (["--port", "0", "--store", ABSENT_REDIS, "--store-deadline", "0.5"], "Redis"),
        (
            ["--port", "0", "--store", ABSENT_REDIS, "--store-deadline", "0.5", "--workers", "2"],
            "Redis",
        ),
        (["--port", "x"], "--port"),
        (["--keys", "a b"], "key"),
    ],
)
def test_what_keeps_the_process_from_starting_is_one_sentence(
    options: list[str], sentence: str
) -> None:
    done = run(*options)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("streamd: ")
    assert done.stderr.count("\n") == 1
    assert sentence in done.stderr
    assert "secret" not in done.stderr


async def test_port_in_use_by_another_process(
    serve: Serve,
) -> None:
    process = await serve()
    done = await asyncio.to_thread(run, "--port", str(process.address.port))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"port {process.address.port} of 127.0.0.1 is in use" in done.stderr


# Worker processes.


async def until_ready(address: Address, workers: int) -> None:
    """Wait until so many workers serve."""
    async with asyncio.timeout(DEADLINE):
        while True:
            async with Peer.connect(address) as peer:
                await peer.send(get("/metrics"))
                if f"streamd_ready_workers {workers}.0" in (await peer.response()).body.decode():
                    return
            await asyncio.sleep(0.05)


@pytest.mark.redis
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the workers in /proc")
async def test_workers_serve_one_stream_and_end_in_order(
    serve: Serve, redis_server: RedisServer, stream_name: str
) -> None:
    process = await serve(
        "--workers", "2", "--store", redis_server.url, "--stream", stream_name, "--drain", "5"
    )
    async with websocket(process.address) as peer:
        await peer.call("subscribe", {"backfill": 0})
        for user in range(4):
            async with Peer.connect(process.address) as other:
                await other.send(post(call("insert", [{"user": user}])))
                assert (await other.response()).status == 200
            assert (await peer.message())["params"]["event"] == {"user": user}
        process.end()
        while (await peer.message())["method"] != "shutdown":
            pass
        assert await peer.close_code() == 1012
    assert await asyncio.to_thread(output, process) == (0, "")


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_who_comes_while_it_stops_is_turned_away_at_once(
    serve: Serve, tmp_path: Path, workers: str
) -> None:
    store = f"sqlite:///{tmp_path}/streamd.db"
    times = ("--drain", "60", "--header-deadline", "60")
    process = await serve("--workers", workers, "--store", store, *times)
    async with Peer.connect(process.address) as peer:
        await peer.send(get("/health/live") + post(b"{", length=100))  # It is waited for.
        assert (await peer.response()).status == 200
        process.end()

        async def turned_away() -> bool:
            try:
                async with Peer.connect(process.address):
                    return False
            except ConnectionError as error:
                return isinstance(error, ConnectionRefusedError)

        async with asyncio.timeout(DEADLINE):
            while not await turned_away():
                await asyncio.sleep(0.05)
        await peer.send(b"}".ljust(99))
        assert (await peer.response()).status == 200
    assert output(process)[0] == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the workers in /proc")
async def test_many_may_wait_to_be_accepted_by_workers(serve: Serve, tmp_path: Path) -> None:
    process = await serve("--workers", "2", "--store", f"sqlite:///{tmp_path}/streamd.db")
    async with websocket(process.address) as peer:
        assert await peer.call("ping") == "pong"
    # The supervisor first, and up again last: it would end workers that do not answer.
    pids = [process.process.pid, *workers_of(process.process.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(DEADLINE), contextlib.AsyncExitStack() as stack:
            for _ in range(100):
                await stack.enter_async_context(Peer.connect(process.address))
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the workers in /proc")
async def test_a_worker_with_more_connections_gives_way_and_still_serves(
    serve: Serve, tmp_path: Path
) -> None:
    process = await serve("--workers", "2", "--store", f"sqlite:///{tmp_path}/streamd.db")
    stopped = [process.process.pid]

    async def comes(stack: contextlib.AsyncExitStack) -> float:
        """Open a connection for as long as the stack lasts; return the seconds that it took."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        assert await (await stack.enter_async_context(websocket(process.address))).call("ping")
        return clock() - begun

    async with contextlib.AsyncExitStack() as stack:
        await until_ready(process.address, 2)
        stopped.append(workers_of(process.process.pid)[0])
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            # One more than it may have more: the other was stopped before it knew that who asked last has gone.
            for _ in range(17):
                await comes(stack)
            # The other, who has fewer, had its time for each of them.
            assert min([await comes(stack) for _ in range(10)]) >= 0.01
        finally:
            for pid in reversed(stopped):
                os.kill(pid, signal.SIGCONT)


async def test_a_worker_gives_way_to_one_with_fewer_connections() -> None:
    ledger = SharedLedger()
    application = Application(load_settings(store="memory:"), ledger=ledger)
    await application.open()
    assert application.gate is not None
    enter = application.gate.census.enter
    with ledger_workers(ledger) as start:
        other = start()
        for _ in range(15):
            assert enter("1.2.3.4") is None
            assert not application.gives_way()
        assert enter("1.2.3.4") is None
        assert application.gives_way()
        other.kill()
        assert not application.gives_way()
    await application.aclose()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the workers in /proc")
async def test_workers_may_take_their_time_to_start(serve: Serve, tmp_path: Path) -> None:
    process = await serve("--workers", "2", "--store", f"sqlite:///{tmp_path}/streamd.db")
    await until(lambda: len(workers_of(process.process.pid)) == 2)
    before = workers_of(process.process.pid)
    for pid in before:
        os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(6.5)  # Who answers no more for five seconds is ended, but these only begin.
    for pid in before:
        os.kill(pid, signal.SIGCONT)
    async with websocket(process.address) as peer:
        assert await peer.call("ping") == "pong"
    assert workers_of(process.process.pid) == before


@pytest.mark.redis
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the workers in /proc")
async def test_worker_that_dies_is_replaced(
    serve: Serve, redis_server: RedisServer, stream_name: str
) -> None:
    process = await serve("--workers", "2", "--store", redis_server.url, "--stream", stream_name)
    async with websocket(process.address) as peer:
        assert await peer.call("ping") == "pong"
    before = workers_of(process.process.pid)
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    async with asyncio.timeout(DEADLINE):
        while len(after := set(workers_of(process.process.pid)) - {before[0]}) < 2:
            await asyncio.sleep(0.05)
    assert before[1] in after
    async with websocket(process.address) as peer:
        assert await peer.call("ping") == "pong"
    process.end()
    _, errors = output(process)
    (new,) = after - {before[1]}
    assert f"worker {before[0]} was killed by SIGKILL; worker {new} takes its place" in errors


@pytest.mark.redis
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the workers in /proc")
async def test_workers_do_not_outlive_their_supervisor(
    serve: Serve, redis_server: RedisServer, stream_name: str
) -> None:
    process = await serve("--workers", "2", "--store", redis_server.url, "--stream", stream_name)
    async with websocket(process.address) as peer:
        assert await peer.call("ping") == "pong"
        workers = workers_of(process.process.pid)
        process.end(signal.SIGKILL)
        assert await peer.close_code() == 1012
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
