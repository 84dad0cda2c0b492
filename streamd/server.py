"""The server's life: sockets, worker processes, signals, the way down."""

import asyncio
import contextlib
import errno
import logging.config
import math
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from streamd.application import Application
from streamd.config import Settings, load_settings
from streamd.errors import StartupError
from streamd.logs import LOGGING
from streamd.transports import kernel
from streamd.transports.http_protocol import HttpProtocol
from streamd.transports.websocket import WebSocket

__all__ = ["Address", "RunningServer", "bind", "run_server", "serve"]

_BACKLOG = 2048
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What a machine says of an address that it does not have: localhost may name ::1 where there is no IPv6."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    @property
    def authority(self) -> str:
        """The host and port as URLs have them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL for HTTP."""
        return f"http://{self.authority}/"

    @property
    def ws_url(self) -> str:
        """The URL for WebSocket."""
        return f"ws://{self.authority}/"


@dataclass(frozen=True, slots=True)
class RunningServer(Address):
    """A server that runs in this event loop."""

    application: Application
    """What it serves."""


def bind(settings: Settings) -> list[socket.socket]:
    """Return sockets bound to all that the host means; raise StartupError if one can't be had."""
    port = settings.port
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, address in _resolve(settings.host, port):
            try:
                sockets.append(_listener(family, address, port))
            except OSError as exc:
                if exc.errno not in _ABSENT:
                    raise
                absent = exc
            else:
                # If any free port will do, all of them take the one that the first got.
                port = sockets[0].getsockname()[1]
        if absent is not None and not sockets:
            raise absent
    except (OSError, UnicodeError) as exc:
        with _closing(sockets):
            raise StartupError(_why_not(exc, settings)) from exc
    return sockets


def _listener(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        kernel.tune(listener)
        listener.bind((address, port))
        listener.setblocking(False)
        listener.set_inheritable(True)
    except OSError:
        listener.close()
        raise
    return listener


def _resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, str(address[0])) for family, *_, address in found))


def _why_not(exc: OSError | UnicodeError, settings: Settings) -> str:
    place = f"port {settings.port} of {settings.host}"
    if isinstance(exc, (socket.gaierror, UnicodeError)):  # such as a label of 64 characters
        return f"the host {settings.host!r} can't be resolved: choose another with --host"
    if isinstance(exc, PermissionError):
        return f"{place} is not ours to take: choose one above 1023 with --port"
    if exc.errno == errno.EADDRINUSE:
        return f"{place} is in use: stop what listens there, or choose another with --port"
    return f"{place} can't be listened on: {exc.strerror}"


class _Server(uvicorn.Server):
    """uvicorn's server, which tells when it has started, and stops at once when it is told to."""

    def __init__(self, config: uvicorn.Config, *, signals: bool) -> None:
        super().__init__(config)
        self._signals = signals
        self._stop = asyncio.Event()
        self.on_started: Callable[[], None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, or raise StartupError instead of leaving the process."""
        application: Application = self.config.loaded_app
        try:
            await super().startup(sockets)
        except SystemExit as exc:
            raise application.failure or StartupError("the server could not start") from exc
        if application.gate is not None:
            application.gate.attach(self.server_state)
        if self.on_started is not None:
            self.on_started()

    async def main_loop(self) -> None:
        """Keep the Date header true until the end, which need not wait for the next look at it."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 1.0)

    def stop(self) -> None:
        """Begin to shut down."""
        self.should_exit = True
        self._stop.set()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Take the signals that mean to stop; unlike uvicorn, do not die of them afterwards."""
        if not self._signals:
            yield
            return
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def _on_signal(self, number: int) -> None:
        if self.should_exit and number == signal.SIGINT:
            self.force_exit = True
        self.stop()


def _config(
    application: Application, log_config: dict[str, Any] | None = LOGGING
) -> uvicorn.Config:
    settings = application.settings
    return uvicorn.Config(
        application,
        http=HttpProtocol,
        ws=WebSocket,
        lifespan="on",
        interface="asgi3",
        log_config=log_config,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        workers=settings.workers,
        backlog=_BACKLOG,
        timeout_keep_alive=math.ceil(settings.limits.header_deadline),
        # A backstop: the gate ends everything when its time is over.
        timeout_graceful_shutdown=math.ceil(settings.limits.drain) + 1,
    )


def serve(settings: Settings, on_started: Callable[[Address], None] = lambda address: None) -> None:
    """Serve until a signal says to stop; raise StartupError if it can't be started."""
    logging.config.dictConfig(LOGGING)
    settings.check()
    kernel.raise_open_files()
    sockets = bind(settings)
    address = Address(settings.host, sockets[0].getsockname()[1])
    serve_somewhere = _serve_here if settings.workers == 1 else _serve_in_workers
    with _closing(sockets):
        serve_somewhere(settings, sockets, lambda: on_started(address))


@contextmanager
def _closing(sockets: list[socket.socket]) -> Generator[None]:
    try:
        yield
    finally:
        for listener in sockets:
            listener.close()


def _serve_here(
    settings: Settings, sockets: list[socket.socket], on_started: Callable[[], None]
) -> None:
    config = _config(Application(settings))

    async def run() -> None:
        server = _Server(config, signals=True)
        server.on_started = on_started
        await server.serve(sockets)

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(run())


def _serve_in_workers(
    settings: Settings, sockets: list[socket.socket], on_started: Callable[[], None]
) -> None:
    asyncio.run(_try_out(settings))
    for listener in sockets:
        # Whoever comes before the workers are up waits for them.
        listener.listen(_BACKLOG)
    on_started()
    supervisor = Multiprocess(_config(Application(settings)), sockets)
    supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise StartupError("a worker process did not start; the lines above say why")


async def _try_out(settings: Settings) -> None:
    """Open and close what a worker needs, so that what keeps all of them from starting is said once."""
    application = Application(settings)
    await application.open()
    await application.aclose()


@asynccontextmanager
async def run_server(
    settings: Settings | None = None, **options: Any
) -> AsyncGenerator[RunningServer]:
    """Run a server in this event loop, for tests and for programs that embed it.

    Args:
        settings: What to serve; by default what `options`, environment and file say.
        options: Settings by name. The port is any free one unless it is given.

    Yields:
        Where it listens. Raises StartupError if it does not start.
    """
    if settings is None:
        settings = load_settings(**{"port": 0, **options})
    sockets = bind(settings)
    application = Application(settings)
    # Logging is the embedding program's affair.
    server = _Server(_config(application, log_config=None), signals=False)
    started = asyncio.get_running_loop().create_future()
    server.on_started = lambda: started.set_result(None)
    with _closing(sockets):
        task = asyncio.create_task(server.serve(sockets), name="server")
        try:
            await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
            yield RunningServer(settings.host, sockets[0].getsockname()[1], application)
        finally:
            # What has not started yet would not be ended by being stopped.
            await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
            server.stop()
            await task
