"""The server's life: sockets, worker processes, signals, the way down."""

import asyncio
import contextlib
import logging
import math
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import SIGNALS

from streamd.address import Address, bind, closing, resolve
from streamd.application import Application
from streamd.config import Settings, load_settings
from streamd.errors import StartupError
from streamd.ledger import OwnLedger, SharedLedger
from streamd.logs import set_up_logs
from streamd.options import Options
from streamd.systemd import Systemd
from streamd.transports import kernel
from streamd.transports.http_protocol import HttpProtocol
from streamd.transports.tls_protocol import TlsProtocol
from streamd.transports.websocket import WebSocket

__all__ = ["RunningServer", "log_start", "run_server", "serve", "serve_settings"]

logger = logging.getLogger("streamd.server")

_BACKLOG = 65_535
"""Connections that wait to be accepted: as many as the system allows, which cuts this to its own bound.

Of 9,000 who came back at once, thousands found a shorter line full, and some were reset.
"""
_AT_ONCE = 16
"""Connections that asyncio accepts before it does anything else; it takes for that the length of the line.

So few that those who are turned away have gone before files are lacking: asyncio would try on as many
times as the line is long, log each, and be deaf for minutes. With uvloop such connections are dropped.
"""
_OTHER_FILES = 200
"""Open files that are no connections let in: the store's, the listeners, those who are turned away."""
_FEW = 10_000
"""Connections under which a server had better be told of, if it is open files that it lacks."""
_STOPPING = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class RunningServer(Address):
    """A server that runs in this event loop."""

    application: Application
    """What it serves."""
    admin: Address | None
    """Where it serves operators, if that is a port of its own."""


class _Server(uvicorn.Server):
    """uvicorn's server, which tells when it has started, and stops at once when it is told to.

    With a `systemd` it is the service itself: that is told of its life, and its signals are taken.
    """

    def __init__(self, config: uvicorn.Config, *, systemd: Systemd | None = None) -> None:
        super().__init__(config)
        self._systemd = systemd
        self._stop = asyncio.Event()
        self.on_started: Callable[[], None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, or raise StartupError instead of leaving the process."""
        application: Application = self.config.loaded_app
        try:
            await super().startup(sockets)
        except SystemExit as exc:
            raise application.failure or StartupError("the server could not start") from exc
        for listener in sockets or ():
            listener.listen(_BACKLOG)
        if application.gate is not None:
            application.gate.attach(self.server_state)
        if self.on_started is not None:
            self.on_started()

    async def main_loop(self) -> None:
        """Keep the Date header true until the end, which need not wait for the next look at it."""
        while not await self.on_tick(0):
            if self._systemd is not None:
                self._systemd.alive()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 1.0)

    def stop(self) -> None:
        """Begin to shut down."""
        if self._systemd is not None:
            self._systemd.stopping()
        self.should_exit = True
        self._stop.set()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Take the signals that mean to stop; unlike uvicorn, do not die of them afterwards."""
        if self._systemd is None:
            yield
            return
        loop = asyncio.get_running_loop()
        for number in _STOPPING:
            loop.add_signal_handler(number, self._on_signal, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        try:
            yield
        finally:
            for number in (*_STOPPING, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _on_signal(self, number: int) -> None:
        if self.should_exit and number == signal.SIGINT:
            self.force_exit = True
        self.stop()

    def _on_hangup(self) -> None:
        if _on_terminal():
            self.stop()
        else:
            self.config.loaded_app.reload()


class _Config(uvicorn.Config):
    """uvicorn's settings, without what it does to the logs of the whole process."""

    def __init__(self, application: Application) -> None:
        limits = application.settings.limits
        super().__init__(
            application,
            http=TlsProtocol if application.settings.secure else HttpProtocol,
            ws=WebSocket,
            lifespan="on",
            interface="asgi3",
            server_header=False,
            proxy_headers=False,
            workers=application.settings.workers,
            # uvicorn's own server, which worker processes run, leaves the line as short as it is told.
            backlog=_AT_ONCE if application.settings.workers == 1 else _BACKLOG,
            timeout_keep_alive=math.ceil(limits.header_deadline),
            # A backstop: the gate ends everything when its time is over.
            timeout_graceful_shutdown=math.ceil(limits.drain) + 1,
        )

    def configure_logging(self) -> None:
        """Leave the logs to whoever runs the server."""


class _Supervisor(Multiprocess):
    """uvicorn's supervisor of worker processes, which tells systemd of its life."""

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], systemd: Systemd
    ) -> None:
        super().__init__(config, sockets)
        self._systemd = systemd

    def keep_subprocess_alive(self) -> None:
        """Start workers anew that have died or hang."""
        super().keep_subprocess_alive()
        self._systemd.alive()

    def handle_hup(self) -> None:
        """Let all workers look whether the certificate was renewed; uvicorn would start them anew."""
        if _on_terminal():
            self.should_exit.set()
            return
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                if process.pid is not None:
                    os.kill(process.pid, signal.SIGHUP)

    def terminate_all(self) -> None:
        """Let all workers stop."""
        self._systemd.stopping()
        super().terminate_all()


def _on_terminal() -> bool:
    """Whether SIGHUP says that the terminal has gone; a service is told by it to read anew."""
    return sys.stderr.isatty()


# In the foreground.


def log_start(address: Address) -> None:
    """Say in the log that a server can be connected to."""
    logger.info("serving %s and %s", address.ws_url, address.url)


def serve(*, on_started: Callable[[Address], None] = log_start, **options: Unpack[Options]) -> None:
    """Serve until SIGINT (Ctrl-C) or SIGTERM; then end in order and return.

    It is for the main thread of a program that does nothing else meanwhile. The signals' handlers
    are afterwards what they were. It logs to stderr, unless the program has set up logging before,
    and lets the process open as many files as the system allows.

    With several workers, each is a process that imports the calling script anew: call it behind
    `if __name__ == "__main__":`.

    Args:
        on_started: Called with the address when it can be connected to; by default it is logged.
        options: Settings by name, as `streamd serve --help` explains them. `keys` may be a list,
            and `store` a function or class that makes a Store of a Stream. What is not given, the
            environment and the file say, as they do for `streamd serve`.

    Raises:
        StartupError: It can't be started: one sentence says why.
    """
    _check_foreground()
    serve_settings(load_settings(**options), on_started)


def serve_settings(settings: Settings, on_started: Callable[[Address], None]) -> None:
    """Serve what the settings say, as `serve` does."""
    set_up_logs(settings.log_level, settings.log_format)
    kernel.raise_open_files()
    wanted = settings.limits.connections
    settings = _affordable(settings)
    connections = settings.limits.connections
    if connections < min(wanted, _FEW):
        logger.warning(
            "there can be only %d connections: allow more open files (ulimit -n, LimitNOFILE)",
            connections,
        )
    sockets = bind(settings.host, settings.port, resolve(settings.host))
    address = Address(settings.host, sockets[0].getsockname()[1], secure=settings.secure)
    serve_somewhere = _serve_here if settings.workers == 1 else _serve_in_workers
    systemd = Systemd()

    def started() -> None:
        on_started(address)
        systemd.ready()

    with closing(sockets), closing(_bind_admin(settings)) as admin, _restored_signals():
        ledger = OwnLedger() if settings.workers == 1 else SharedLedger()
        application = Application(settings, alone=True, ledger=ledger, admin=admin)
        serve_somewhere(application, sockets, started, systemd)
    logger.info("stopped")


def _bind_admin(settings: Settings) -> list[socket.socket]:
    """Return the sockets of the operators' own port, if there is one; raise StartupError."""
    host, port = settings.admin_host, settings.admin_port
    if port is None:
        return []
    sockets = bind(host, port, resolve(host), "--admin-port")
    logger.info("metrics and health for operators at %s", _admin_address(settings, sockets).url)
    return sockets


def _admin_address(settings: Settings, sockets: list[socket.socket]) -> Address:
    return Address(settings.admin_host, sockets[0].getsockname()[1])


def _affordable(settings: Settings) -> Settings:
    """Return the settings with no more connections than there may be open files for.

    Raise StartupError if it is not the default that is too much.
    """
    files = kernel.open_files()
    wanted, most = settings.limits.connections, max(files - _OTHER_FILES, 0)
    if wanted <= most:
        return settings
    if "connections" in settings.model_fields_set or not most:
        raise StartupError(
            f"connections can't be {wanted}: {files} files may be open, and {_OTHER_FILES} of them "
            "are for other things; allow more (ulimit -n, LimitNOFILE) or lower it"
        )
    return settings.model_copy(update={"connections": most})


def _check_foreground() -> None:
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # A worker process imports the script that called us. Raising would end this one, and the
        # supervisor would start another, and so on; of this code it knows that it must not.
        set_up_logs()
        logger.error("with several workers call serve behind if __name__ == '__main__':")
        sys.exit(STARTUP_FAILURE)
    if threading.current_thread() is not threading.main_thread():
        raise StartupError("serve needs the main thread, which gets the signals: use run_server")
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise StartupError("serve can't be called where an event loop runs: use run_server")


@contextmanager
def _restored_signals() -> Generator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # else it is not Python's
                signal.signal(number, handler)


def _serve_here(
    application: Application,
    sockets: list[socket.socket],
    on_started: Callable[[], None],
    systemd: Systemd,
) -> None:
    config = _Config(application)

    async def run() -> None:
        server = _Server(config, systemd=systemd)
        server.on_started = on_started
        await server.serve(sockets)

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(run())


def _serve_in_workers(
    application: Application,
    sockets: list[socket.socket],
    on_started: Callable[[], None],
    systemd: Systemd,
) -> None:
    main = sys.modules["__main__"]
    if main.__spec__ is None and not Path(getattr(main, "__file__", "")).exists():  # as <stdin>
        raise StartupError("workers must be 1 in a program that is no file which they could import")
    asyncio.run(_try_out(application.settings))
    for listener in sockets:
        # Whoever comes before the workers are up waits for them.
        listener.listen(_BACKLOG)
    on_started()
    supervisor = _Supervisor(_Config(application), sockets, systemd)
    supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise StartupError("a worker process did not start; the lines above say why")


async def _try_out(settings: Settings) -> None:
    """Open and close what a worker needs, so that what keeps all of them from starting is said once."""
    application = Application(settings)
    await application.open()
    await application.aclose()


# Within a program.


@asynccontextmanager
async def run_server(**options: Unpack[Options]) -> AsyncGenerator[RunningServer]:
    """Run a server in this event loop for as long as the block lasts; then end it in order.

    Signals, logging and everything else that is the process's are left alone, and any number of
    servers can run side by side.

    Args:
        options: Settings by name, as `serve` takes them. The port is any free one unless it is given.

    Yields:
        Where it listens.

    Raises:
        StartupError: It can't be started: one sentence says why.
    """
    settings = _affordable(load_settings(**{"port": 0, **options}))
    if settings.workers > 1:
        raise StartupError("workers must be 1 in run_server, which serves in its event loop alone")
    places = await asyncio.to_thread(resolve, settings.host)
    admin = await asyncio.to_thread(_bind_admin, settings)
    with ExitStack() as stack:
        stack.enter_context(closing(admin))
        sockets = stack.enter_context(closing(bind(settings.host, settings.port, places)))
        async with _running(settings, sockets, admin) as server:
            yield server


@asynccontextmanager
async def _running(
    settings: Settings, sockets: list[socket.socket], admin: list[socket.socket]
) -> AsyncGenerator[RunningServer]:
    """Run a server on some sockets for as long as the block lasts."""
    application = Application(settings, admin=admin)
    server = _Server(_Config(application))
    started = asyncio.get_running_loop().create_future()
    server.on_started = lambda: started.set_result(None)
    task = asyncio.create_task(server.serve(sockets), name="server")
    try:
        await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        port = sockets[0].getsockname()[1]
        theirs = _admin_address(settings, admin) if admin else None
        yield RunningServer(settings.host, port, application, theirs, secure=settings.secure)
    finally:
        # What has not started yet would not be ended by being stopped.
        await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
        server.stop()
        await task
