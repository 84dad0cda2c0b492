"""The way out to one peer: what is written to it, and whether it takes it."""

import asyncio
from collections.abc import Callable

__all__ = ["Frame", "Outbox"]

Frame = Callable[[bytes], bytes]
"""Makes one message of a payload, as the peer's wire wants it. Peers of one kind have the same function."""


class Outbox:
    """Write to one peer, and know when it does not keep up.

    It keeps no queue: what was written is the transport's, which is bounded by those who look at
    `paused` before they write. While it is paused, subscriptions stay cursors and calls wait.
    """

    __slots__ = ("_count", "_drained", "closed", "frame", "on_drained", "paused", "sent", "write")

    def __init__(
        self,
        write: Callable[[bytes], None],
        frame: Frame,
        count: Callable[[int], None] = lambda size: None,
    ) -> None:
        """Begin; `count` is told the bytes of each message that is sent, not of frames that come prepared."""
        self._count = count
        self.sent = 0
        """The same bytes, of all messages so far."""
        self.write = write
        """Write prepared frames; nothing happens after `close`."""
        self.frame = frame
        self._drained: asyncio.Future[None] | None = None
        self.paused = False
        """Whether the transport holds more than it should; do not add to it unasked."""
        self.closed = False
        self.on_drained: Callable[[], None] | None = None
        """Called when it may be written to again."""

    def send(self, payload: bytes) -> None:
        """Write one message."""
        if not self.closed:
            frames = self.frame(payload)
            self.write(frames)
            self.sent += len(frames)
            self._count(len(frames))

    def pause(self) -> None:
        """Take note that the transport's buffer is over its high-water mark."""
        self.paused = True

    def resume(self) -> None:
        """Take note that the transport's buffer has drained."""
        self.paused = False
        self._wake()
        if self.on_drained is not None and not self.closed:
            self.on_drained()

    def close(self) -> None:
        """Write nothing from now on: the peer is gone. Idempotent."""
        self.closed = True
        self.write = _nowhere
        self.paused = False
        self._wake()

    def _wake(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    async def writable(self) -> None:
        """Wait until it may be written to, or is closed."""
        while self.paused:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)


def _nowhere(frames: bytes) -> None:
    pass
