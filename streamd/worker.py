"""One worker's parts, put together: store, view, hub, committer, methods."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from streamd.access import Access
from streamd.cells import Cells
from streamd.committer import Committer
from streamd.errors import CallError, StartupError
from streamd.guard import Guard
from streamd.hub import Hub
from streamd.jsonrpc import Call
from streamd.meters import Meters
from streamd.methods import Methods
from streamd.oneshot import OneShot
from streamd.outbox import Outbox
from streamd.rates import Pace, Rates
from streamd.session import Session
from streamd.signatures import METHODS
from streamd.stores.base import Store, Stream
from streamd.stores.measured import MeasuredStore
from streamd.turns import Turns
from streamd.view import View
from streamd.watch import Watch

__all__ = ["Worker"]


class Worker:
    """Serve one stream from one store, to any number of peers; without sockets."""

    def __init__(
        self,
        store: Store,
        stream: Stream,
        guard: Guard | None = None,
        *,
        cells: Cells | None = None,
    ) -> None:
        """Put the parts together; `cells` are what it counts in, if others are to see that."""
        self.stream = stream
        self.guard = Guard(stream.keys, stream.limits) if guard is None else guard
        """Who may do what."""
        self.meters = Meters(cells, METHODS)
        """What it has counted."""
        self._store = store = MeasuredStore(store, self.meters)
        self.pace = Pace(stream.limits, time.monotonic)
        """How much those who call may call."""
        self.turns = Turns()
        """For what peers send: who inserts does not wait behind those who search."""
        reads = Turns()
        self._view = View(store, stream.limits, reads)
        self._hub = Hub(self._view, stream.limits, self.turns, self.meters)
        deadline = stream.limits.store_deadline
        self._committer = Committer(store, deadline, meters=self.meters)
        self._methods = Methods(stream, self._view, self._hub, self._committer, reads, self.meters)
        self.watch = Watch(self._view, self._hub, self.meters)
        """Whether it can serve."""
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Open the store, fill the window and follow the tail; raise StartupError."""
        try:
            await self._store.open()
            await self._view.load()
        except BaseException as error:
            await self._store.aclose()
            if isinstance(error, CallError):
                raise StartupError(f"the store can't be read: {error.message}") from error
            raise
        self._hub.start()
        self._committer.start()
        self._tasks = [
            asyncio.create_task(self.watch.look(), name="worker: look"),
            asyncio.create_task(self.watch.beat(), name="worker: beat"),
            asyncio.create_task(self.guard.deadlines.run(), name="worker: deadlines"),
        ]
        self.watch.begin()

    async def aclose(self) -> None:
        """End everything and close the store; idempotent."""
        self.watch.end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.guard.aclose()
        await self._committer.aclose()
        await self._hub.aclose()
        await self._view.aclose()
        await self._store.aclose()

    def session(
        self,
        outbox: Outbox,
        set_reading: Callable[[bool], None],
        end: Callable[[int, str], None],
    ) -> Session:
        """Begin the conversation with a peer that can be pushed to; see Session."""
        return Session(
            self._methods,
            self._hub,
            self.stream.limits,
            outbox,
            set_reading,
            self.turns,
            self.guard,
            end,
            self.pace.begin(),
        )

    async def post(
        self, body: bytes, access: Access | None = None, rates: Rates | None = None
    ) -> bytes:
        """Answer a message of a caller that can't be pushed to; nothing if it has only notifications.

        Without an access the caller may do what everybody may who has no token.
        """
        return await self._one_shot(access, rates).post(body)

    async def call(
        self,
        method: str,
        params: dict[str, Any] | list[Any],
        access: Access | None = None,
        rates: Rates | None = None,
    ) -> bytes:
        """Return the result of one call as JSON, or raise its CallError."""
        return await self._one_shot(access, rates).call(Call(method, params, b"0"))

    def _one_shot(self, access: Access | None, rates: Rates | None) -> OneShot:
        access = self.guard.newcomer if access is None else access
        return OneShot(self._methods, self.stream.limits, self.turns, access, rates)
