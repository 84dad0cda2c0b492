"""A store whose work is measured, whichever it is."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeVar

from streamd.cursor import Chain
from streamd.filters import Filter
from streamd.log import Draft, LogState, Page, Run
from streamd.meters import Meters
from streamd.stores.base import Appended, Bounds, Observer, Store, Upkeep
from streamd.types import Seq

__all__ = ["MeasuredStore"]

T = TypeVar("T")


class _Observer(Observer):
    """Count what a tail meets."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    def lost(self) -> None:
        self._meters.store_errors["tail"].add()

    def found(self) -> None:
        self._meters.reconnects.add()

    def repaired(self) -> None:
        self._meters.gap_repairs.add()


class MeasuredStore(Store):
    """Pass everything on to a store; measure how long it takes and count how often it fails."""

    def __init__(
        self, store: Store, meters: Meters, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._store = store
        self._meters = meters
        self._now = now
        store.observer = _Observer(meters)

    async def _measure(self, operation: str, work: Awaitable[T]) -> T:
        began = self._now()
        try:
            return await work
        except Exception:
            self._meters.store_errors[operation].add()
            raise
        finally:
            self._meters.store[operation].observe(self._now() - began)

    async def open(self) -> LogState:
        return await self._store.open()

    async def aclose(self) -> None:
        await self._store.aclose()

    async def state(self) -> LogState:
        return await self._measure("state", self._store.state())

    async def append(self, calls: Sequence[Sequence[Draft]], batch: str) -> Appended:
        return await self._measure("append", self._store.append(calls, batch))

    async def newest(self, wanted: Filter, bounds: Bounds, before: Seq | None = None) -> Page:
        return await self._measure("newest", self._store.newest(wanted, bounds, before))

    async def after(self, since: Seq, wanted: Filter, bounds: Bounds) -> Run:
        return await self._measure("after", self._store.after(since, wanted, bounds))

    def tail(self, since: Seq, chain: Chain) -> AsyncGenerator[Run]:
        return self._store.tail(since, chain)

    def upkeep(self) -> Upkeep:
        return self._store.upkeep()
