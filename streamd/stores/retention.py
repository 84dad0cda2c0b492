"""Retention where the log is kept elsewhere: it goes on through outages, and tells of each once."""

import asyncio
import logging
from abc import ABC, abstractmethod
from random import Random

from streamd.errors import CallError
from streamd.stores.outage import Outage

__all__ = ["Retention"]


class Retention(ABC):
    """Forget what is older than the limits, step by step.

    Args:
        where: What the log is kept in, as people call it.
        logger: Where it is told that retention waits, goes on, or has ended.
        random: Spreads the steps of several workers over time.
    """

    def __init__(self, where: str, logger: logging.Logger, random: Random) -> None:
        self._logger = logger
        self._random = random
        self._outage = Outage(logger, f"retention waits for {where}", "retention goes on")
        self._pause = 1.0
        """Seconds between two steps, where there is not more to do."""

    @abstractmethod
    async def step(self) -> float | None:
        """Forget some; return the seconds until there may be more, or None if there never will."""

    async def serve(self) -> None:
        """Take steps until cancelled, or until nothing is left that will ever be to forget."""
        while True:
            pause = await self._try()
            if pause is None:
                return
            await asyncio.sleep(pause * self._random.uniform(0.5, 1))

    async def _try(self) -> float | None:
        try:
            pause = await self.step()
        except CallError as error:
            self._outage.fail(error)
            return self._pause
        except Exception:
            # A defect, and nobody waits for this task: it must be seen.
            self._logger.critical(
                "retention has ended; nothing is forgotten any more", exc_info=True
            )
            raise
        self._outage.succeed()
        return pause
