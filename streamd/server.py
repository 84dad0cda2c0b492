"""The server's life, in the foreground or within a program: what it needs, where it listens, how it ends."""

import asyncio
import logging
import socket
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from streamd.address import Address, bind, closing, resolve
from streamd.application import Application
from streamd.config import Settings, load_settings
from streamd.errors import StartupError
from streamd.ledger import OwnLedger, SharedLedger
from streamd.logs import set_up_logs
from streamd.options import Options
from streamd.process import (
    Server,
    ServerConfig,
    Supervisor,
    leave_if_worker,
    restored_signals,
)
from streamd.systemd import Systemd
from streamd.transports import kernel
from streamd.transports.acceptor import BACKLOG

__all__ = ["RunningServer", "log_start", "run_server", "serve", "serve_settings"]

logger = logging.getLogger("streamd.server")

_OTHER_FILES = 200
"""Open files that are no connections let in: the store's, the listeners, those who are turned away."""
_FEW = 10_000
"""Connections under which a server had better be told of, if it is open files that it lacks."""


@dataclass(frozen=True, slots=True)
class RunningServer(Address):
    """A server that runs in this event loop."""

    application: Application
    """What it serves."""
    admin: Address | None
    """Where it serves operators, if that is a port of its own."""


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

    with closing(sockets), closing(_bind_admin(settings)) as admin, restored_signals():
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
    if not most:
        raise StartupError(
            f"{files} files may be open, and {_OTHER_FILES} are for other things than connections: "
            "allow more (ulimit -n, LimitNOFILE)"
        )
    if "connections" in settings.model_fields_set:
        raise StartupError(
            f"connections can't be {wanted}: {files} files may be open, and {_OTHER_FILES} of them "
            "are for other things; allow more (ulimit -n, LimitNOFILE) or lower it"
        )
    return settings.model_copy(update={"connections": most})


def _check_foreground() -> None:
    leave_if_worker()
    if threading.current_thread() is not threading.main_thread():
        raise StartupError("serve needs the main thread, which gets the signals: use run_server")
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise StartupError("serve can't be called where an event loop runs: use run_server")


def _serve_here(
    application: Application,
    sockets: list[socket.socket],
    on_started: Callable[[], None],
    systemd: Systemd,
) -> None:
    config = ServerConfig(application)

    async def run() -> None:
        server = Server(config, systemd=systemd)
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
        listener.listen(BACKLOG)
    on_started()
    Supervisor(ServerConfig(application), sockets, systemd).run()


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
    server = Server(ServerConfig(application))
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
