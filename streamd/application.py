"""The ASGI application of one worker process: made of settings, it opens and closes with uvicorn's lifespan."""

import asyncio
import contextlib
import multiprocessing
import signal
import socket
from collections.abc import Sequence
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from streamd.collector import rare_collections
from streamd.config import Settings
from streamd.errors import StartupError
from streamd.ledger import Ledger, OwnLedger
from streamd.logs import set_up_logs
from streamd.stores import open_store
from streamd.stores.base import Store, Stream
from streamd.transports.admin import AdminPort
from streamd.transports.gate import Gate
from streamd.transports.http import http_app
from streamd.transports.operations import Operations, admin_app
from streamd.transports.pages import read_pages
from streamd.transports.tls import Certificate
from streamd.worker import Worker

__all__ = ["Application"]

_MORE = 16
"""Connections that a worker may have more than another before it gives way."""


class Application:
    """Serve what the settings say.

    It can be pickled before it is opened: that is how it gets into worker processes.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        alone: bool = False,
        ledger: Ledger | None = None,
        admin: Sequence[socket.socket] = (),
    ) -> None:
        """Prepare.

        If it is `alone`, the process is for nothing else, and its garbage collector may be set. It counts
        in the `ledger`, which the workers of a server have in common, and serves operators on the sockets
        `admin`, which are not its own.
        """
        self.settings = settings
        self._ledger = ledger or OwnLedger()
        self._admin_sockets = admin
        self._admin_port: AdminPort | None = None
        self._alone = alone
        self.failure: Exception | None = None
        """Why it did not open."""
        self.gate: Gate | None = None
        self._http: ASGIApp | None = None
        self._certificate: Certificate | None = None
        self._watching: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[Any] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live through one lifespan (ASGI 3.0)."""
        if scope["type"] == "lifespan":
            # Who wants the end at once has everything cancelled: uvicorn would log that as a defect.
            with contextlib.suppress(asyncio.CancelledError):
                await self._live(scope["state"], receive, send)
        else:
            assert self._http is not None
            await self._http(scope, receive, send)

    async def _live(self, state: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        if self._in_worker_process:
            set_up_logs(self.settings.log_level, self.settings.log_format)
        self._opening = asyncio.current_task()
        try:
            await self.open()
        except asyncio.CancelledError:
            await self.aclose()
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        except Exception as exc:
            self.failure = exc
            # In a worker process there is nobody else to say it; uvicorn logs what is raised.
            if self._in_worker_process and not isinstance(exc, StartupError):
                raise
            message = str(exc) if self._in_worker_process else ""
            await send({"type": "lifespan.startup.failed", "message": message})
            return
        finally:
            self._opening = None
        state["gate"] = self.gate
        state["certificate"] = self._certificate
        self._mind_supervisor()
        async with rare_collections() if self._alone else contextlib.nullcontext():
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    @property
    def _in_worker_process(self) -> bool:
        return self.settings.workers > 1

    def _mind_supervisor(self) -> None:
        """Stop when the supervisor is gone, however that came: its port is wanted by the next one."""
        supervisor = multiprocessing.parent_process()
        if self._in_worker_process and supervisor is not None:
            loop = asyncio.get_running_loop()

            def stop() -> None:
                loop.remove_reader(supervisor.sentinel)
                signal.raise_signal(signal.SIGTERM)

            loop.add_reader(supervisor.sentinel, stop)
            loop.add_signal_handler(signal.SIGHUP, self.reload)

    def reload(self) -> None:
        """Look at once whether the certificate was renewed."""
        if self._certificate is not None:
            self._certificate.hurry()

    def give_up(self) -> None:
        """Stop to open, if that is still under way: the store may not answer for long."""
        if self._opening is not None:
            self._opening.cancel()

    async def open(self) -> None:
        """Open the store and begin to serve; raise StartupError."""
        stream = self.settings.to_stream()
        door, proxies = self.settings.to_door(), self.settings.to_proxies()
        pages = await asyncio.to_thread(read_pages, dashboard=self.settings.dashboard)
        guard = await asyncio.to_thread(self.settings.to_guard, stream)
        self._certificate = await asyncio.to_thread(self.settings.to_certificate)
        worker = Worker(self._make_store(stream), stream, guard, cells=self._ledger.take())
        await worker.open()
        self.gate = Gate(worker, door, proxies, compression=self.settings.compression)
        operations = Operations(self.gate, self._ledger, local=self.settings.local)
        self._http = http_app(self.gate, pages, operations)
        self.gate.open()
        app = admin_app(operations, self.settings.to_admin_door())
        self._admin_port = AdminPort(app, self.gate)
        await self._admin_port.open(self._admin_sockets)
        if self._certificate is not None:
            watching = self._certificate.watch(worker.meters.certificate_expiry.set)
            self._watching = asyncio.create_task(watching, name="certificate")

    def _make_store(self, stream: Stream) -> Store:
        make = self.settings.store
        if isinstance(make, str):
            return open_store(make, stream)
        store = make(stream)
        if not isinstance(store, Store):
            kind = type(store).__name__
            raise StartupError(
                f"the store {self.settings.store_name} must be a streamd.Store, got {kind}"
            )
        return store

    def gives_way(self) -> bool:
        """Tell whether another worker has so few connections that it had better take the next."""
        assert self.gate is not None
        most = self.gate.census.connections - _MORE
        return most >= 0 and self._ledger.others_have(self.gate.worker.meters.seats.at, most)

    async def aclose(self) -> None:
        """End everything; idempotent."""
        if self.gate is None:
            return
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        await self.gate.aclose()
        if self._admin_port is not None:
            await self._admin_port.aclose()
        await self.gate.worker.aclose()
