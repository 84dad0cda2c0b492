"""What a process runs: uvicorn's server, or its supervisor of worker processes, as they are wanted here."""

import asyncio
import contextlib
import logging
import math
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import SIGNALS, Process

from streamd.application import Application
from streamd.errors import StartupError
from streamd.logs import set_up_logs
from streamd.systemd import Systemd
from streamd.transports.acceptor import Acceptor
from streamd.transports.http_protocol import HttpProtocol
from streamd.transports.tls_protocol import TlsProtocol
from streamd.transports.websocket import WebSocket

__all__ = ["Server", "ServerConfig", "Supervisor", "leave_if_worker", "restored_signals"]

logger = logging.getLogger("streamd.process")

_START = 60.0
"""Seconds that a worker process may take until it gives a sign of life: where there are more of them than
processors, each has to wait for the others.
"""
_STOPPING = (signal.SIGINT, signal.SIGTERM)


class _Accepting(uvicorn.Server):
    """uvicorn's server, for which connections are accepted as they should be."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._acceptors: list[Acceptor] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and accept who comes to the sockets."""
        await super().startup(sockets=[])
        application: Application = self.config.loaded_app
        assert application.gate is not None, "it is open"
        application.gate.attach(self.server_state)
        self._acceptors = [
            Acceptor(each, self._make_protocol, application.gives_way) for each in sockets or ()
        ]
        for acceptor in self._acceptors:
            acceptor.open()

    def _make_protocol(self, address: str) -> asyncio.Protocol:
        protocol: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return protocol(self.config, self.server_state, self.lifespan.state, address=address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nobody any more, and let those go who are there."""
        for acceptor in self._acceptors:
            await acceptor.aclose()
        await super().shutdown(sockets)


class Server(_Accepting):
    """The server of a process, which tells when it has started, and stops at once when it is told to.

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
            if self.should_exit:
                return  # It was told to stop before it had started.
            raise application.failure or StartupError("the server could not start") from exc
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
        self.config.loaded_app.give_up()

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


class ServerConfig(uvicorn.Config):
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
            timeout_keep_alive=math.ceil(limits.header_deadline),
            # A backstop: the gate ends everything when its time is over.
            timeout_graceful_shutdown=math.ceil(limits.drain) + 1,
        )

    def configure_logging(self) -> None:
        """Leave the logs to whoever runs the server."""


class _Worker(Process):
    """uvicorn's worker process, which does not count as one that hangs while it only begins."""

    @property
    def server(self) -> uvicorn.Server:
        """What the process runs; it is made there."""
        if self._server is None:
            self._server = _Accepting(self.config)
        return self._server

    def start(self) -> None:
        """Start it, and ask for its first sign of life."""
        super().start()
        self._late = time.monotonic() + _START
        self._begins = True
        self.parent_conn.send(b"ping")

    def is_alive(self, timeout: float = 5) -> bool:
        """Tell whether it is there and, once it has begun, answers within so many seconds."""
        if self._begins and self.process.is_alive():
            if self.parent_conn.poll(0):
                self.parent_conn.recv()
                self._begins = False
            elif time.monotonic() < self._late:
                return True
        return super().is_alive(timeout)


class Supervisor(Multiprocess):
    """uvicorn's supervisor of worker processes, which tells systemd of its life."""

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], systemd: Systemd
    ) -> None:
        super().__init__(config, sockets)
        self._systemd = systemd

    def run(self) -> None:
        """Keep workers going until told to stop; raise StartupError if one could not start."""
        super().run()
        if any(process.exitcode == STARTUP_FAILURE for process in self.processes):
            raise StartupError("a worker process did not start; the lines above say why")

    def init_processes(self) -> None:
        """Start the workers."""
        self.processes = [self._start() for _ in range(self.processes_num)]

    def _start(self) -> Process:
        process = _Worker(self.config, self.sockets)
        process.start()
        return process

    def keep_subprocess_alive(self) -> None:
        """Start workers anew that have died or hang, and say so; stop if one could not start."""
        for place, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if not process.is_alive(self.config.timeout_worker_healthcheck):
                self._replace(place, process)
            self._systemd.alive()

    def _replace(self, place: int, old: Process) -> None:
        lived = old.process.is_alive()
        old.kill()
        old.join()
        if old.exitcode == STARTUP_FAILURE:
            self.should_exit.set()
            return
        new = self.processes[place] = self._start()
        end = "did not answer, and was ended" if lived else _end_of(old.exitcode)
        logger.error("worker %d %s; worker %d takes its place", old.pid, end, new.pid)

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
        # With the workers' own, the last: who comes now is to go elsewhere, and not to wait until all are gone.
        for each in self.sockets:
            each.close()


def _end_of(code: int | None) -> str:
    """Tell how a process has ended, by its exit code: below zero that of a signal."""
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _on_terminal() -> bool:
    """Whether SIGHUP says that the terminal has gone; a service is told by it to read anew."""
    return sys.stderr.isatty()


def leave_if_worker() -> None:
    """End a process that is a worker: it has imported the script that called us, which is to serve once."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # Raising would end this one, and the supervisor would start another, and so on; of this code
        # it knows that it must not.
        set_up_logs()
        logger.error("with several workers call serve behind if __name__ == '__main__':")
        sys.exit(STARTUP_FAILURE)


@contextmanager
def restored_signals() -> Generator[None]:
    """Have the signals' handlers afterwards as they were."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # else it is not Python's
                signal.signal(number, handler)
