"""streamd within other programs: a script that serves, a program that embeds it, stores of one's own."""

import ast
import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from streamd_client import connect

import streamd
from streamd import Bounds, Store, Stream, open_store, run_server, serve
from streamd.cursor import Chain
from streamd.errors import StartupError, StoreUnavailable
from streamd.filters import Filter
from streamd.log import Draft, LogState, Page, Run
from streamd.stores.base import Appended, Upkeep
from streamd.types import Seq
from tests.harness import DEADLINE, apart, until, websocket
from tests.services import RedisServer, free_port

# The public names.


def test_public_names_are_what_their_modules_offer() -> None:
    homes = {name: home for home, names in streamd._HOMES.items() for name in names}
    assert sorted(homes) == sorted(streamd.__all__)
    for name, home in homes.items():
        assert getattr(streamd, name) is getattr(import_module(home), name)
        assert name in import_module(home).__all__
        assert getattr(streamd, name).__doc__
    assert set(streamd.__all__) <= set(dir(streamd))


def test_type_checkers_see_the_same_names() -> None:
    imports = {
        (node.module, alias.name)
        for node in ast.walk(ast.parse(Path(streamd.__file__).read_text()))
        if isinstance(node, ast.ImportFrom) and node.module != "importlib"
        for alias in node.names
    }
    assert imports == {(home, name) for home, names in streamd._HOMES.items() for name in names}


def test_other_names_are_none() -> None:
    with pytest.raises(AttributeError, match="'streamd' has no attribute 'serv'"):
        streamd.serv  # noqa: B018  # the attempt is the test


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import streamd", "streamd. asyncio typing dataclasses"),
        ("from streamd import open_store", "streamd.config streamd.server pydantic uvicorn"),
        ("import streamd.cli", "streamd.server streamd.application uvicorn starlette sqlalchemy"),
    ],
)
def test_nobody_waits_for_what_he_does_not_use(code: str, absent: str) -> None:
    show = "import sys; before = set(sys.modules);" + code
    done = subprocess.run(
        [sys.executable, "-c", show + "; print(*set(sys.modules) - before)"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = done.stdout.split()
    assert "streamd" in imported
    assert not [name for name in imported if name.startswith(tuple(absent.split()))]


# In the foreground: scripts, as their authors run them.


@dataclass
class Script:
    """A running script that serves on a port of its own."""

    process: subprocess.Popen[str]
    port: int
    told: list[str] = field(default_factory=list)
    """What its log has told that only informs, once it has ended."""

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    async def insert(self, **event: Any) -> list[dict[str, Any]]:
        """Insert an event as soon as the server is there; return all events."""
        async with connect(self.url, timeout=DEADLINE) as client:
            await client.insert(event)
            return await client.items()

    async def line(self) -> str:
        """Return the next line that it says."""
        assert self.process.stdout
        return await asyncio.to_thread(self.process.stdout.readline)

    async def end(self, number: int | None = None) -> tuple[int, str, str]:
        """Send a signal, if one is given; return the exit code, output and errors: no mere information."""
        if number is not None:
            self.process.send_signal(number)
        out, err = await asyncio.to_thread(self.process.communicate, timeout=DEADLINE)
        self.told, err = apart(err)
        return self.process.returncode, out, err


Start = Callable[..., Script]


@pytest.fixture
def start(tmp_path: Path) -> Any:
    """Start scripts, as a file or by `arguments` of python; they are ended with the test."""
    scripts: list[Script] = []

    def start(code: str, *arguments: str, **environment: str) -> Script:
        port = free_port()
        file = tmp_path / "script.py"
        file.write_text(code.replace("PORT", str(port)))
        kept = {k: v for k, v in os.environ.items() if not k.startswith("STREAMD_")}
        with file.open() as text:
            process = subprocess.Popen(
                [sys.executable, *(arguments or [str(file)])],
                stdin=text,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=kept | environment,
                cwd=tmp_path,
            )
        scripts.append(Script(process, port))
        return scripts[-1]

    yield start
    for script in scripts:
        script.process.kill()
        script.process.communicate(timeout=DEADLINE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_script_serves_until_a_signal_and_goes_on(start: Start, number: int) -> None:
    script = start("""
from streamd import serve
serve(store="memory:", keys=["user", "page=title"], port=PORT, drain=5)
print("ended")
""")
    async with connect(script.url, timeout=DEADLINE) as client:
        await client.insert({"user": 291, "title": "x"})
        assert await client.items(page="x") == [{"user": 291, "title": "x"}]
        assert (await client.info()).keys == ["user", "page"]
    code, out, err = await script.end(number)
    assert (code, out) == (0, "ended\n")
    assert err == ""
    assert script.told[0] == f"serving {script.url} and http://127.0.0.1:{script.port}/"
    # Whether the client has left before the server hears the signal is theirs to settle.
    middle = set(script.told[1:-1]) - {"disconnected"}
    assert middle in ({"stopping; connections to tell: 0"}, {"stopping; connections to tell: 1"})
    assert script.told[-1] == "stopped"


REMEMBER = """
import signal, sys
from streamd import serve

def handler(number, frame): ...

signal.signal(signal.SIGTERM, handler)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
before = [signal.getsignal(number) for number in signal.valid_signals()]
if __name__ == "__main__":
    for _ in range(2):
        serve(keys="user", port=PORT, drain=1, on_started=lambda address: print(address.port, flush=True), **OPTIONS)
        assert [signal.getsignal(number) for number in signal.valid_signals()] == before
"""


async def test_signals_are_afterwards_what_they_were(start: Start) -> None:
    script = start(REMEMBER.replace("OPTIONS", "{'store': 'memory:'}"))
    for times in (1, 2):
        assert await script.line() == f"{script.port}\n"
        assert await script.insert(user=times) == [{"user": times}]
        script.process.send_signal(signal.SIGTERM)
    assert await script.end() == (0, "", "")


@pytest.mark.redis
async def test_signals_are_what_they_were_after_several_workers(
    start: Start, redis_server: RedisServer, stream_name: str
) -> None:
    options = {"store": redis_server.url, "stream": stream_name, "workers": 2}
    script = start(REMEMBER.replace("OPTIONS", repr(options)))
    for times in (1, 2):
        assert await script.line() == f"{script.port}\n"
        assert len(await script.insert(user=times)) == times
        script.process.send_signal(signal.SIGTERM)
    assert await script.end() == (0, "", "")


async def test_a_script_that_logs_already_keeps_its_logs(start: Start) -> None:
    script = start("""
import logging, sys
from streamd import serve
logging.basicConfig(format="mine: %(name)s %(message)s", level="WARNING", stream=sys.stdout)
logging.getLogger("streamd").setLevel("INFO")
serve(store="memory:", port=PORT)
""")
    await script.insert(user=1)
    code, out, err = await script.end(signal.SIGINT)
    first, *rest = out.splitlines()
    assert (code, err, script.told) == (0, "", [])
    assert first == f"mine: streamd.server serving {script.url} and http://127.0.0.1:{script.port}/"
    assert rest[-1] == "mine: streamd.server stopped"
    assert all(line.startswith("mine: streamd.") for line in rest)


async def test_arguments_come_before_the_environment(start: Start) -> None:
    script = start(
        'from streamd import serve; serve(store="memory:", window=5, port=PORT)',
        STREAMD_WINDOW="6",
        STREAMD_SUBSCRIPTIONS="7",
        STREAMD_STORE="nothing:",
    )
    async with connect(script.url, timeout=DEADLINE) as client:
        limits = (await client.info()).limits
    assert (limits["window"], limits["subscriptions"]) == (5, 7)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (
            "serve(port='http')",
            "port (--port, STREAMD_PORT) must be a whole number from 0 to 65535",
        ),
        ("serve(prot=1)", "prot is given, but 'prot' is not a setting; did you mean 'port'?"),
        ("serve(store='nothing:')", "there is no store 'nothing:'"),
        ("serve(store=lambda stream: 5)", "the store <lambda> must be a streamd.Store, got int"),
    ],
)
async def test_what_is_wrong_is_raised_and_can_be_caught(
    start: Start, code: str, sentence: str
) -> None:
    script = start(f"""
from streamd import StartupError, serve
try:
    {code.replace(")", ", **{'port': PORT})") if "port" not in code else code}
except StartupError as error:
    print(error)
""")
    code_, out, err = await script.end()
    assert (code_, err, out.count("\n")) == (0, "", 1)
    assert out.startswith(sentence)


def test_serve_is_for_the_main_thread() -> None:
    errors: list[Exception] = []

    def attempt() -> None:
        try:
            serve(store="memory:", port=0)
        except StartupError as exc:
            errors.append(exc)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join(DEADLINE)
    assert [str(error) for error in errors] == [
        "serve needs the main thread, which gets the signals: use run_server"
    ]


async def test_serve_is_not_for_event_loops() -> None:
    with pytest.raises(StartupError, match="where an event loop runs: use run_server"):
        serve(store="memory:", port=0)


# Several workers.

WORKERS = """
from streamd import serve
from streamd.stores.redis import RedisStore

class Own(RedisStore):
    async def append(self, calls, batch):
        print("stored", flush=True)
        return await super().append(calls, batch)

def own(stream):
    return Own("URL", stream)

"""


@pytest.mark.redis
async def test_workers_import_a_store_of_the_script(
    start: Start, redis_server: RedisServer, stream_name: str
) -> None:
    script = start(
        WORKERS.replace("URL", redis_server.url)
        + f"if __name__ == '__main__':\n    serve(store=own, stream={stream_name!r}, workers=2, port=PORT)"
    )
    assert await script.insert(user=1) == [{"user": 1}]
    code, out, err = await script.end(signal.SIGINT)
    assert (code, out, err) == (0, "stored\n", "")


@pytest.mark.redis
async def test_a_store_that_fails_in_a_worker_ends_the_server(
    start: Start, redis_server: RedisServer
) -> None:
    script = start(
        WORKERS.replace("URL", redis_server.url)
        + """
import multiprocessing

def failing(stream):
    assert multiprocessing.parent_process() is None, "not here"
    return own(stream)

if __name__ == "__main__":
    serve(store=failing, workers=2, port=0)
"""
    )
    code, _, err = await script.end()
    assert code == 1
    assert "AssertionError: not here" in err
    assert err.endswith("a worker process did not start; the lines above say why\n")


@pytest.mark.redis
@pytest.mark.parametrize("port", ["PORT", "0"])
async def test_a_script_without_its_guard_ends_with_a_sentence(
    start: Start, redis_server: RedisServer, stream_name: str, port: str
) -> None:
    script = start(
        f"""
from streamd import serve
serve(store={redis_server.url!r}, stream={stream_name!r}, workers=2, port={port})
"""
    )
    code, _, err = await script.end()
    assert code == 1
    assert "with several workers call serve behind if __name__ == '__main__':" in err
    assert err.endswith("a worker process did not start; the lines above say why\n")


@pytest.mark.redis
async def test_what_is_typed_into_an_interpreter_is_for_one_worker(
    start: Start, redis_server: RedisServer
) -> None:
    own = WORKERS.replace("URL", redis_server.url) + "serve(store=own, workers=2, port=0)"
    code, _, err = await start("", "-c", own).end()
    assert code == 1
    assert "workers must be 1 with the store own, which other processes can't import" in err
    code, _, err = await start(own, "-").end()
    assert code == 1
    assert "workers must be 1 in a program that is no file which they could import" in err


# Within a program.


async def test_servers_with_stores_of_their_own_in_one_loop(tmp_path: Path) -> None:
    file = f"sqlite:///{tmp_path}/feed.db"
    async with (
        run_server(store=file, keys=["user"]) as one,
        run_server(store=Own, keys=["kind", "page=title"]) as two,
        connect(one.ws_url) as first,
        connect(two.ws_url) as second,
    ):
        await first.insert({"user": 1})
        await second.insert({"kind": 2, "title": "x"})
        assert await first.items(user=1) == [{"user": 1}]
        assert await second.items(page="x") == [{"kind": 2, "title": "x"}]
        assert (await first.info()).epoch != (await second.info()).epoch
        assert (await second.info()).keys == ["kind", "page"]
    async with run_server(store=file, keys=["user"]) as again, connect(again.ws_url) as client:
        assert await client.items() == [{"user": 1}]


async def test_run_server_leaves_the_process_alone(start: Start) -> None:
    script = start("""
import asyncio, logging, resource, signal, sys
from streamd import run_server

access = logging.getLogger("uvicorn.access")  # that of another server in this process
access.addHandler(logging.StreamHandler(sys.stdout))
access.setLevel("INFO")
loggers = [access, *map(logging.getLogger, ("", "streamd", "uvicorn.error"))]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

def process():
    return (
        [signal.getsignal(number) for number in signal.valid_signals()],
        [(logger.handlers[:], logger.propagate, logger.level) for logger in loggers],
        resource.getrlimit(resource.RLIMIT_NOFILE),
    )

async def main():
    before = process()
    async with run_server(store="memory:") as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 ")
        writer.close()
        assert process() == before
    assert process() == before

asyncio.run(main())
""")
    assert await script.end() == (0, "", "")


def test_a_server_can_run_in_another_thread() -> None:
    answers: list[float] = []

    async def main() -> None:
        async with run_server(store="memory:") as server, connect(server.ws_url) as client:
            answers.append(await client.ping())

    thread = threading.Thread(target=asyncio.run, args=[main()])
    thread.start()
    thread.join(DEADLINE)
    assert len(answers) == 1


async def test_one_server_in_one_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMD_WORKERS", "2")
    with pytest.raises(StartupError, match="workers must be 1 in run_server"):
        async with run_server(store="redis://localhost"):
            pass


async def test_a_program_that_embeds_it_ends_it_in_order(start: Start) -> None:
    script = start("""
import asyncio
from streamd import run_server

async def main():
    async with run_server(store="memory:", port=PORT, drain=5):
        await asyncio.sleep(60)

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
""")
    await script.insert(user=1)
    async with websocket(streamd.Address("127.0.0.1", script.port)) as peer:
        script.process.send_signal(signal.SIGINT)
        assert (await peer.message())["method"] == "shutdown"
        assert await peer.close_code() == 1012
    assert await script.end() == (0, "interrupted\n", "")


# Stores.


class Own(Store):
    """A store that is a Store and nothing else: what it is asked for, one in memory answers."""

    def __init__(self, stream: Stream) -> None:
        self.calls: list[str] = []
        self._inner = open_store("memory:", stream)

    async def open(self) -> LogState:
        self.calls.append("open")
        return await self._inner.open()

    async def aclose(self) -> None:
        self.calls.append("aclose")
        await self._inner.aclose()

    async def state(self) -> LogState:
        return await self._inner.state()

    async def append(self, calls: Sequence[Sequence[Draft]], batch: str) -> Appended:
        self.calls.append("append")
        return await self._inner.append(calls, batch)

    async def newest(self, wanted: Filter, bounds: Bounds, before: Seq | None = None) -> Page:
        return await self._inner.newest(wanted, bounds, before)

    async def after(self, since: Seq, wanted: Filter, bounds: Bounds) -> Run:
        return await self._inner.after(since, wanted, bounds)

    def tail(self, since: Seq, chain: Chain) -> AsyncGenerator[Run]:
        return self._inner.tail(since, chain)

    def upkeep(self) -> Upkeep:
        return self._inner.upkeep()


@asynccontextmanager
async def served(store: Own) -> AsyncIterator[str]:
    async with run_server(store=lambda stream: store, keys=["user"]) as server:
        yield server.ws_url


STREAM = Stream("streamd", streamd.Keys.parse("user"), streamd.Limits())


async def test_a_server_of_a_store_of_ones_own() -> None:
    store = Own(STREAM)
    async with served(store) as url, connect(url) as client, client.subscribe(user=1) as feed:
        await client.insert({"user": 1})
        assert (await anext(feed)).event == {"user": 1}
        assert await client.items(user=1) == [{"user": 1}]
        assert store.calls == ["open", "append"]
    assert store.calls == ["open", "append", "aclose"]


@pytest.mark.parametrize("error", [ZeroDivisionError("mine"), StartupError("no disk")])
async def test_what_a_store_of_ones_own_raises_at_its_start_is_not_hidden(error: Exception) -> None:
    def fail(stream: Stream) -> Store:
        raise error

    with pytest.raises(type(error)) as caught:
        async with run_server(store=fail):
            pass
    assert caught.value is error


async def test_a_store_of_ones_own_that_is_not_available() -> None:
    class Broken(Own):
        async def state(self) -> LogState:
            raise StoreUnavailable("the tape is torn")

    with pytest.raises(StartupError, match="the store can't be read: the tape is torn"):
        async with run_server(store=Broken, store_deadline=0.2):
            pass


async def test_a_store_without_a_server() -> None:
    stream = Stream("streamd", streamd.Keys.parse("user,kind"), streamd.Limits())
    async with open_store("memory:", stream) as store:
        draft = streamd.draft_event({"user": 291}, None, stream.keys, stream.limits)
        await store.append([[draft]], "batch 1")
        wanted = streamd.parse_filter({"user": [23, 291]}, stream.keys, stream.limits)
        page = await store.newest(wanted, Bounds(limit=20, work=200_000, size=4 << 20))
        assert [entry.body for entry in page.entries] == [b'{"user":291}']
    await until(lambda: len(asyncio.all_tasks()) == 1)
