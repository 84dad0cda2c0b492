"""Who listens between a client and the server, and holds what passes against the documents."""

from collections.abc import Callable
from types import TracebackType
from typing import Any

import orjson
from httptools import HttpParserUpgrade, HttpRequestParser, HttpResponseParser
from websockets.frames import DATA_OPCODES
from websockets.protocol import Protocol, Side

from tests.clients.proxy import Listener, Proxy
from tests.traffic import Traffic


class Direction:
    """What one side says: bodies of HTTP, until it becomes a WebSocket, and then messages."""

    def __init__(self, parser: Callable[[Any], Any], side: Side, take: Listener) -> None:
        """Take the HTTP parser of what is said, the side that hears it, and who takes its messages."""
        self._http = parser(self)
        self._side = side
        self._frames: Protocol | None = None
        self._take = take
        self._message = bytearray()

    def hear(self, data: bytes) -> None:
        if self._frames is None:
            try:
                self._http.feed_data(data)
            except HttpParserUpgrade as upgrade:
                self._frames = Protocol(self._side, max_size=None)
                data = data[upgrade.args[0] :]
            else:
                return
        self._frames.receive_data(data)
        assert self._frames.parser_exc is None, self._frames.parser_exc
        for frame in self._frames.events_received():
            if frame.opcode in DATA_OPCODES:
                self.on_body(bytes(frame.data))
                if frame.fin:
                    self.on_message_complete()

    # What the parser of HTTP tells.

    def on_body(self, data: bytes) -> None:
        self._message += data

    def on_message_complete(self) -> None:
        if self._message:
            message, self._message = bytes(self._message), bytearray()
            self._take(message)


class Tap(Proxy):
    """Passes bytes on, and raises in the end if any message was not as the documents say."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._traffic: list[Traffic] = []
        self._faults: list[Exception] = []

    @property
    def methods(self) -> set[str]:
        """Methods that were answered with a result, and notifications that came."""
        return {method for each in self._traffic for method in each.methods}

    @property
    def errors(self) -> set[tuple[str, int]]:
        """Methods, and the codes of their errors."""
        return {error for each in self._traffic for error in each.errors}

    def listeners(self) -> tuple[Listener, Listener]:
        traffic = Traffic()
        self._traffic.append(traffic)
        asked = Direction(HttpRequestParser, Side.SERVER, traffic.sent)
        told = Direction(
            HttpResponseParser, Side.CLIENT, lambda text: traffic.came(orjson.loads(text))
        )
        return self._noting(asked.hear), self._noting(told.hear)

    def _noting(self, hear: Listener) -> Listener:
        def note(data: bytes) -> None:
            try:
                hear(data)
            except Exception as fault:  # noqa: BLE001 - whatever it is, it is told in the end
                self._faults.append(fault)

        return note

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await super().__aexit__(kind, exc, traceback)
        if self._faults:
            raise ExceptionGroup("what passed is not as the documents say", self._faults)
