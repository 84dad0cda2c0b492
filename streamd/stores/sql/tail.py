"""The tail: every new entry in order, read from the log; hints only tell when to look."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Generator
from random import Random

from streamd.cursor import Chain
from streamd.errors import CallError
from streamd.filters import EVERYTHING
from streamd.log import Run
from streamd.stores.base import Bounds, Observer
from streamd.stores.outage import Outage, pause_of
from streamd.stores.sql.access import Access
from streamd.stores.sql.reading import Reader
from streamd.types import Seq

__all__ = ["Hints", "follow"]

logger = logging.getLogger("streamd.stores.sql")

_RUN = Bounds(limit=1_000, work=1_000, size=1 << 20)


class Hints:
    """Wake those who follow the log when it may have grown.

    A hint may come for nothing or not at all: an append of this process, a head that somebody read,
    and what the database tells its listeners are hints.
    """

    def __init__(self, access: Access, *, random: Random) -> None:
        self._access = access
        self._random = random
        self._waiting: set[asyncio.Event] = set()
        self._listening: asyncio.Task[None] | None = None
        self._head: Seq = 0
        access.on_head = self.note
        access.on_commit = self.wake

    def note(self, head: Seq) -> None:
        """Take note of a head that was read."""
        if head > self._head:
            self.wake()
        self._head = head

    def wake(self) -> None:
        """Wake all."""
        for waiting in self._waiting:
            waiting.set()

    @contextlib.contextmanager
    def listening(self) -> Generator[asyncio.Event]:
        """Give an event that is set whenever there may be news."""
        event = asyncio.Event()
        self._waiting.add(event)
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="sql store: hints")
        try:
            yield event
        finally:
            self._waiting.discard(event)

    async def aclose(self) -> None:
        """Listen no more; idempotent."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
            self._listening = None

    async def _listen(self) -> None:
        """Pass on what the database tells, and connect anew whenever it tells nothing any more."""
        access = self._access
        failures = 0
        while True:
            try:
                async with contextlib.aclosing(
                    access.dialect.listen(access.stream, access.engine)
                ) as news:
                    async for _ in news:
                        failures = 0
                        self.wake()
            except Exception as exc:
                if access.dialect.failure(exc, committing=False) is None:
                    logger.critical(
                        "hints have ended; news are looked for every second", exc_info=True
                    )
                    raise
            failures += 1
            if failures == 1:
                logger.info("the tail's hints from %s were cut off", access.dialect.name)
            await asyncio.sleep(pause_of(failures, self._random))


async def follow(
    access: Access,
    reader: Reader,
    hints: Hints,
    since: Seq,
    chain: Chain,
    *,
    random: Random,
    observer: Observer,
) -> AsyncGenerator[Run]:
    """Yield every new entry; see stores.base.Store.tail."""
    name = access.dialect.name
    outage = Outage(
        logger,
        f"the tail lost {name}, and tries until it is back",
        f"the tail has found {name} again",
        observer,
    )
    with hints.listening() as news:
        while True:
            news.clear()
            try:
                run = await reader.after(since, EVERYTHING, _RUN)
                while run.since != (begin := run.state.resumes(since, chain)):
                    run = await reader.after(begin, EVERYTHING, _RUN)
            except CallError as error:
                outage.fail(error)
                await asyncio.sleep(pause_of(outage.failures, random))
                continue
            outage.succeed()
            moved = run.state.chain != chain or run.since != since
            since, chain = run.upto, run.state.chain
            yield run
            if not run.entries and not moved:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(access.dialect.check * random.uniform(1, 2)):
                        await news.wait()
