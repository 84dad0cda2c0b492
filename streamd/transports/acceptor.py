"""Accepting connections: a few at a time, and by the worker that has the fewest first.

All workers listen on one socket, so that nobody who waits there is lost with a worker. But the one that the
kernel wakes first would take nearly all who come, and with connections that last for hours it would do
nearly all the work. So who has more than another gives way to it, for a moment and no longer: it may be
busy, or dead.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["BACKLOG", "Acceptor"]

logger = logging.getLogger("streamd.acceptor")

BACKLOG = 65_535
"""Connections that wait to be accepted: as many as the system allows, which cuts this to its own bound.

Of 9,000 who came back at once, thousands found a shorter line full, and some were reset.
"""
_AT_ONCE = 16
"""Connections that are accepted before anything else is done.

So few that those who are turned away have gone before files are lacking.
"""
_GIVING_WAY = 0.01
"""Seconds that others have to take who is there: a worker that is idle takes a fraction of one thousandth."""
_AGAIN = 1.0
"""Seconds after which it is tried again when there are no files, or no memory, for one more connection."""
_LACKING = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class _Comer(NamedTuple):
    connection: socket.socket
    address: str
    """The system forgets it when the peer has gone."""


class Acceptor:
    """Accept who comes to a listener, until closed."""

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: Callable[[str], asyncio.Protocol],
        gives_way: Callable[[], bool],
    ) -> None:
        """Prepare; `make_protocol` is told who comes, `gives_way` tells whether somebody else had better take them."""
        self._listener = listener
        self._make_protocol = make_protocol
        self._gives_way = gives_way
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to listen, and to accept."""
        self._listener.listen(BACKLOG)
        self._listener.setblocking(False)
        self._task = asyncio.create_task(self._run(), name="accept")

    async def aclose(self) -> None:
        """Accept nobody any more; idempotent. The listener is its owner's to close."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            await self._somebody()
            if self._gives_way():
                await asyncio.sleep(_GIVING_WAY)
            try:
                taken = self._accept()
            except OSError as exc:
                logger.warning("no connection can be accepted: %s", exc.strerror)
                await asyncio.sleep(_AGAIN)
            else:
                await self._connect(taken)

    async def _somebody(self) -> None:
        """Wait until somebody is there."""
        loop = asyncio.get_running_loop()
        there = asyncio.Event()
        loop.add_reader(self._listener, there.set)
        try:
            await there.wait()
        finally:
            loop.remove_reader(self._listener)

    def _accept(self) -> list[_Comer]:
        """Return those who are there, or as many as may be; raise OSError if there is no room for even one."""
        taken: list[_Comer] = []
        while len(taken) < _AT_ONCE:
            try:
                connection, (address, *_) = self._listener.accept()
            except OSError as exc:
                # Mostly that nobody is there. What else accept(2) tells is the peer's, or will be told again.
                if exc.errno in _LACKING and not taken:
                    raise
                break
            taken.append(_Comer(connection, address))
        return taken

    async def _connect(self, taken: list[_Comer]) -> None:
        """Give each its protocol; until that is done nobody knows how many there are."""
        if taken:
            # Who is let in stays when this is cancelled.
            await asyncio.wait([asyncio.create_task(self._open(each)) for each in taken])

    async def _open(self, comer: _Comer) -> None:
        loop, connection = asyncio.get_running_loop(), comer.connection
        connection.setblocking(False)
        try:
            await loop.connect_accepted_socket(
                lambda: self._make_protocol(comer.address), connection
            )
        except OSError:  # It has gone already.
            connection.close()
