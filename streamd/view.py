"""A worker's view of the log: the window in front of the store, and how far the tail has come."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeVar

from streamd.cursor import Chain, Cursor
from streamd.errors import PlaceLost, StoreUnavailable
from streamd.filters import EVERYTHING, Filter
from streamd.limits import Limits
from streamd.log import LogState, Page, Run
from streamd.search import search
from streamd.stores.base import Bounds, Store
from streamd.turns import Turns
from streamd.types import Seq
from streamd.window import Window

__all__ = ["SharedRead", "View"]

_LOAD = 1_000
"""Entries read at a time when the window is filled."""

_NEVER: Seq = 1 << 62
"""A place that no log reaches."""

T = TypeVar("T")


class SharedRead(Generic[T]):
    """Let all who ask share one read, if it is sent after they asked.

    Who comes while one is under way shares the next.
    """

    __slots__ = ("_next", "_read", "_task")

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._next: asyncio.Future[T] | None = None
        self._task: asyncio.Task[None] | None = None

    async def __call__(self) -> T:
        """Return what a read says that began after this call."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name="view: shared read")
        # One who gives up must not take the answer from the others.
        return await asyncio.shield(self._next)

    async def _run(self) -> None:
        while self._next is not None:
            asked, self._next = self._next, None
            try:
                asked.set_result(await self._read())
            except asyncio.CancelledError:
                self._refuse(asked)
                raise
            except Exception as exc:  # noqa: BLE001 - it belongs to those who asked
                self._refuse(asked, exc)
        self._task = None

    @staticmethod
    def _refuse(asked: asyncio.Future[T], exc: Exception | None = None) -> None:
        asked.set_exception(exc or StoreUnavailable())
        asked.exception()  # They may all have given up.

    async def aclose(self) -> None:
        """End a read that is under way: those who wait for it, or for the next, are refused."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._next is not None:
            self._refuse(self._next)


class View:
    """Answer from the window, and from the store what lies below it.

    `position` is the place up to which the tail was followed: chain, floor and window are as of it.
    """

    def __init__(self, store: Store, limits: Limits, turns: Turns | None = None) -> None:
        self._store = store
        self._turns = Turns() if turns is None else turns
        self._limits = limits
        self._head = SharedRead(store.state)
        self._waiting: dict[asyncio.Future[None], Seq] = {}
        """Those who wait for a place; each takes itself out."""
        self.head: Seq = 0
        """The newest place that the store was known to have, when it was last asked."""
        self.window = Window()
        self.chain = Chain("")
        self.floor: Seq = 1
        """The oldest place retained, as far as is known here."""

    @property
    def position(self) -> Seq:
        """The newest place that the tail has brought."""
        return self.window.high

    @property
    def state(self) -> LogState:
        """The log as far as it is known here."""
        return LogState(self.chain, self.position, self.floor)

    def cursor(self, seq: Seq) -> str:
        """Return the cursor of a place."""
        return self.chain.cursor(seq)

    # Following the tail.

    async def load(self) -> None:
        """Fill the window with the newest entries of the store."""
        state = await self._store.state()
        self._reset(state, state.head)
        newest: list[Page] = []
        before: Seq | None = state.head + 1
        room, size = self._limits.window, self._limits.window_bytes
        while before is not None and room > 0 and size > 0:
            bounds = Bounds(min(room, _LOAD), room, min(size, 8 << 20))
            page = await self._store.newest(EVERYTHING, bounds, before)
            if page.state.chain != state.chain:
                return  # The tail will tell what became of it.
            newest.append(page)
            before = page.before
            room -= len(page.entries)
            size -= sum(len(entry.body) for entry in page.entries)
        low = before if before is not None else state.floor
        self.window = Window(low - 1)
        for page in reversed(newest):
            for entry in reversed(page.entries):
                self.window.append(entry)
            await asyncio.sleep(0)
        self.window.skip_to(state.head)

    def follow(self) -> AsyncGenerator[Run]:
        """Return the tail from `position` on; each run is to be given to `advance` or `rewind`."""
        return self._store.tail(self.position, self.chain)

    def continues(self, run: Run) -> bool:
        """Tell whether the run goes on where the view ends; if not, it is for `rewind`."""
        return run.since == self.position and run.state.chain == self.chain

    def advance(self, run: Run) -> None:
        """Take in a run that continues the view."""
        window = self.window
        for entry in run.entries:
            window.append(entry)
        window.skip_to(run.upto)
        self._note(run.state)
        window.trim(
            self._limits.window, self._limits.window_bytes, steps=2 * len(run.entries) + _LOAD
        )
        self._wake()

    def rewind(self, state: LogState, since: Seq) -> None:
        """Go to `since` on a chain that has changed, or past a stretch that was lost to retention."""
        if self.window.low - 1 <= since <= self.window.high:
            self.window.rewind(since)
            self.chain = state.chain
            self.floor = state.floor
            self.window.forget_below(state.floor)
        else:
            self._reset(state, since)
        self._wake(everybody=True)

    def _reset(self, state: LogState, since: Seq) -> None:
        self.window = Window(since)
        self.chain = state.chain
        self.floor = state.floor

    def _note(self, state: LogState) -> None:
        if state.chain == self.chain and state.floor > self.floor:
            self.floor = state.floor
            self.window.forget_below(state.floor)

    def _wake(self, *, everybody: bool = False) -> None:
        for future, seq in self._waiting.items():
            if (everybody or seq <= self.position) and not future.done():
                future.set_result(None)

    # Reading.

    async def fresh(self) -> None:
        """Wait until the view has everything that was acknowledged before this call.

        Raise StoreUnavailable if that takes longer than `store_deadline`.
        """
        trouble = "the store did not answer in time"
        try:
            async with asyncio.timeout(self._limits.store_deadline):
                state = await self._read_head()
                trouble = "the store's newest entries did not arrive in time"
                await self._catch(state)
        except TimeoutError:
            raise StoreUnavailable(trouble) from None

    async def _read_head(self) -> LogState:
        while True:
            chain = self.chain
            state = await self._head()
            self.head = state.head
            # Where the tail brought a new chain meanwhile, what was read may be of the old one,
            # and nothing would ever come that fits it.
            if self.chain in (chain, state.chain):
                return state

    async def _catch(self, state: LogState) -> None:
        while state.chain != self.chain or state.head > self.position:
            # Another chain: the tail brings the change, and wakes everybody.
            await self._moved(state.head if state.chain == self.chain else _NEVER)
            if state.chain != self.chain:
                state = await self._read_head()
        self._note(state)

    async def _moved(self, seq: Seq) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[future] = seq
        try:
            await future
        finally:
            del self._waiting[future]

    async def newest(self, wanted: Filter, bounds: Bounds, before: Seq | None = None) -> Page:
        """Return the newest matches as of `position`; see stores.base.Store.newest."""
        state = self.state
        before = state.head + 1 if before is None else min(before, state.head + 1)
        found = await search(self.window, wanted, before, bounds, self._turns)
        if self.chain != state.chain:
            return await self._again(wanted, bounds, before)
        full = len(found.entries) >= bounds.limit
        if full or found.reached > self.window.low or found.reached <= state.floor:
            left = found.reached > state.floor
            used = found.looked >= bounds.work and not full
            return Page(state, found.entries, found.reached if left else None, left and used)
        rest = Bounds(
            limit=bounds.limit - len(found.entries),
            work=max(bounds.work - found.looked, 1),
            size=max(bounds.size - sum(len(entry.body) for entry in found.entries), 1),
            skip=bounds.skip - found.skipped,
        )
        older = await self._store.newest(wanted, rest, found.reached)
        if older.state.chain != state.chain:
            return await self._again(wanted, bounds, before)
        return older._replace(state=state, entries=found.entries + older.entries)

    async def _again(self, wanted: Filter, bounds: Bounds, before: Seq) -> Page:
        # The log was forked meanwhile: what was found may be void.
        await self.fresh()
        return await self.newest(wanted, bounds, min(before, self.position + 1))

    async def after(self, since: Seq, wanted: Filter, bounds: Bounds) -> Run:
        """Return the matches after `since` from the store; see stores.base.Store.after."""
        return await self._store.after(since, wanted, bounds)

    async def resolve(self, cursor: Cursor) -> Seq:
        """Return the place of a cursor, at most `position`; raise PlaceLost if it can't be kept.

        What this view does not know may be news from another worker: so the store is asked before
        anything is called lost.
        """
        if not self._knows(cursor):
            await self.fresh()
            if not self._knows(cursor):
                held = self.chain.holds(cursor) and cursor.seq <= self.position
                raise PlaceLost("expired" if held else "epoch")
        return cursor.seq

    def _knows(self, cursor: Cursor) -> bool:
        return self.floor - 1 <= cursor.seq <= self.position and self.chain.holds(cursor)

    async def aclose(self) -> None:
        """End reads that are under way."""
        await self._head.aclose()
