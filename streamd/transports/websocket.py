"""WebSocket for uvicorn's `ws=`: moves bytes, keeps time, bounds buffers.

What a frame is and what a message may be, `websockets` decides (its Sans-I/O protocol); what a
message means, the session. Frames to be sent come prepared, the same bytes for every peer of a kind.
"""

import asyncio
import logging
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import SEND_EOF, Protocol, Side, State
from websockets.server import ServerProtocol

from streamd.closing import Closing
from streamd.outbox import Outbox
from streamd.session import Session
from streamd.transports import kernel
from streamd.transports.door import Refusal
from streamd.transports.frames import frame_for
from streamd.transports.gate import Gate
from streamd.transports.handshake import BAD_REQUEST, shake_hands
from streamd.transports.journal import Totals
from streamd.turns import Line

__all__ = ["SLOWEST", "WebSocket"]

_PING = Frame(Opcode.PING, b"").serialize(mask=False)
_BITE = 4 << 10
"""Bytes given to the parser at once: it makes an object of every frame, before anybody can say stop.

One of two bytes costs 8 microseconds.
"""

SLOWEST = 16 << 10
"""Bytes per second that a message has to bring, beyond the time that a peer has to take a byte of its backlog."""

# It tells of every peer that comes, goes or errs: nothing for a log.
_parser_logger = logging.getLogger("streamd.websocket.parser")
_parser_logger.setLevel(logging.ERROR)


class WebSocket(asyncio.Protocol):
    """Carry one session over one WebSocket.

    CONNECTING: `_session` is None, the request is read. OPEN: messages go to the session. CLOSING: a
    close frame was sent or an error found; what comes is discarded until the peer hangs up or its time is
    over. The state is the parser's (`websockets.protocol.State`).
    """

    __slots__ = (
        "_address", "_begun", "_entries", "_feeding", "_fragments", "_gate", "_is_text", "_opened", "_outbox", "_parser",
        "_reading", "_session", "_size", "_transport", "_unread", "heard", "lagging", "number", "pinged", "slot",
    )  # fmt: skip

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        address: str = "",
    ) -> None:
        """Take what uvicorn gives, and the address that the connection came from; the gate is in the state that the application's lifespan made."""
        gate: Gate = app_state["gate"]
        self._gate = gate
        self._parser: Protocol = ServerProtocol(
            extensions=gate.extensions,
            max_size=gate.limits.message_bytes,
            logger=_parser_logger,
        )
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # comes with connection_made
        self._session: Session | None = None
        self._outbox: Outbox | None = None
        self._fragments: bytearray | None = None
        self._is_text = True
        self._unread = b""
        self._feeding = False
        self._reading = True
        self._begun = 0
        self._entries = self._size = 0
        self._opened = 0.0
        self.number = 0
        self.heard = gate.keepalive.now
        self.pinged = 0
        self.lagging = False
        self.slot = 0
        self._address = address

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection over."""
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's is none
        high = self._gate.limits.outbox_bytes // 2
        transport.set_write_buffer_limits(high=high, low=high // 4)
        self._gate.keepalive.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything; cycles are cut here, so that no garbage collector has to."""
        self._gate.keepalive.remove(self)
        self._gate.census.leave(self._address)
        self._end_session()
        self._tell_end()
        self._parser.parser.close()
        self._unread = b""

    def pause_writing(self) -> None:
        """Take note of a backlog: the peer must take a byte of it from time to time."""
        self.lagging = True
        self._gate.keepalive.watch(self)
        if self._outbox is not None:
            self._outbox.pause()

    def resume_writing(self) -> None:
        """Go on with a peer that has caught up."""
        self._gate.keepalive.relieve(self)
        if self._outbox is not None:
            self._outbox.resume()
            self._listen()

    def data_received(self, data: bytes) -> None:
        """Take bytes; any of them is a sign of life."""
        self.heard = self._gate.keepalive.now
        self._gate.count_received(len(data))
        turns = self._gate.turns
        # The request comes whole, and in a turn; frames are never to reach the parser that reads it.
        much = len(data) > _BITE and self._parser.state is not State.CONNECTING
        waits = self._unread or self._held or much
        if not waits and turns.free(self._line(len(data))):
            turns.run(self._bite, data)
        else:
            self._unread += data
            self._listen()

    # Reading.

    @property
    def _held(self) -> bool:
        """Whether what comes has to wait: the session is full, or the peer does not take its answers."""
        return not self._reading or (self._outbox is not None and self._outbox.paused)

    def _line(self, size: int) -> Line:
        """Return where so many bytes of it wait."""
        if self._session is None or self._session.is_new:
            return Line.NEWCOMERS
        return Line.BULK if size > _BITE else Line.FIRST

    @property
    def _unfinished(self) -> int:
        """The bytes that are kept of a message that is not complete."""
        return len(self._parser.reader.buffer) + len(self._fragments or b"")

    @property
    def deaf(self) -> bool:
        """Whether its bytes lie unread, so that none can be heard."""
        return self._held or bool(self._unread)

    def _set_reading(self, reading: bool) -> None:
        self._reading = reading
        self._listen()

    def _listen(self) -> None:
        """Read from the peer or not, as is fit; what waited goes first, and not from inside of a call."""
        if self._transport.is_closing():
            return
        if self._held:
            self._transport.pause_reading()
        elif self._unread:
            self._transport.pause_reading()
            if not self._feeding:
                self._feeding = True
                self._gate.turns.add(self._feed, self._line(len(self._unread)))
        else:
            self._transport.resume_reading()

    def _feed(self) -> bool:
        """Work off one bite of what waits; tell whether the session would take another."""
        if self._unread and not self._held:
            bite, self._unread = self._unread[:_BITE], self._unread[_BITE:]
            try:
                self._bite(bite)
            except Exception:
                # As the event loop does when it hands over bytes that meet a defect: nobody would go on with them.
                self.abort()
                raise
        self._feeding = bool(self._unread) and not self._held
        if not self._feeding:
            self._listen()
        return self._feeding

    def _bite(self, data: bytes) -> None:
        parser = self._parser
        parser.receive_data(data)
        if parser.parser_exc is not None:
            # By its traceback it would hold what was inflated until it was too much.
            parser.parser_exc.__traceback__ = None
        for event in parser.events_received():
            if isinstance(event, Frame):
                self._take(event)
            elif isinstance(event, Request):
                self._shake_hands(event)
        if self._session is not None and (size := self._unfinished):
            self._session.unfinished(size)
        if parser.handshake_exc is not None and parser.writes == [SEND_EOF]:
            self._gate.journal.refused("handshake", self._address)
            self._transport.write(BAD_REQUEST)
        self._flush()

    def _flush(self) -> None:
        """Write what the parser wants to be written."""
        for data in self._parser.data_to_send():
            if data != SEND_EOF:
                self._transport.write(data)
            else:
                self._hang_up()

    # The handshake.

    def _shake_hands(self, request: Request) -> None:
        server = self._parser
        assert isinstance(server, ServerProtocol)
        forwarded = request.headers.get_all("X-Forwarded-For")
        address = self._gate.proxies.find(self._address, forwarded)
        shaken = shake_hands(server, request, self._gate, address, self._admit)
        self._flush()
        if not shaken:
            return
        # The HTTP protocol hands over the request alone, so nothing is left in the first parser; one
        # that begins after the handshake does not keep the request for ever.
        server.parser.close()
        limits = self._gate.limits
        self._parser = Protocol(Side.SERVER, max_size=limits.message_bytes, logger=_parser_logger)
        self._parser.extensions = server.extensions
        frame = frame_for(server.extensions)
        self._outbox = Outbox(self._transport.write, frame, self._gate.count_sent)
        self._opened = asyncio.get_running_loop().time()
        self.number = self._gate.journal.opened(self._address)
        self._session = self._gate.worker.session(self._outbox, self._set_reading, self.close)
        self._session.take_header(request.headers.get_all("Authorization"))

    def _admit(self, address: str) -> Refusal | None:
        """Count the connection for whom a trusted proxy came, or say why that one may have no more."""
        if address == self._address:
            return None
        refusal = self._gate.census.claim(address)
        if refusal is None:
            self._address = address
        return refusal

    # Frames.

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self._end_session()
        elif frame.opcode is Opcode.PING or frame.opcode is Opcode.PONG:
            return  # The parser answers pings; that something came has been noted.
        elif self._session is not None:
            self._take_data(frame)

    def _take_data(self, frame: Frame) -> None:
        # The parser keeps the frame until the next one comes.
        data, frame.data = frame.data, b""
        if frame.fin:
            self._begun = 0
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
            if frame.fin:
                self._take_message(bytes(data))
                return
            self._fragments = bytearray()
        assert self._fragments is not None  # The parser lets no continuation come first.
        self._fragments += data
        if frame.fin:
            message, self._fragments = bytes(self._fragments), None
            self._take_message(message)

    def _take_message(self, message: bytes) -> None:
        assert self._session is not None
        if not self._is_text:
            self._session.receive_binary()
        elif message.isascii() or _is_utf8(message):
            self._session.receive(message)
        else:
            self._end_session()
            self._parser.fail(CloseCode.INVALID_DATA, "text must be UTF-8")

    # Coming to an end.

    @property
    def in_flight(self) -> int:
        """Calls not answered yet."""
        return 0 if self._session is None else self._session.in_flight

    def drain(self, reconnect_after_ms: int) -> None:
        """Say that the server stops; begin no further call."""
        if self._session is not None:
            self._session.drain(reconnect_after_ms)

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake; the peer has a moment to answer. Idempotent."""
        if self._session is None or self._parser.state is not State.OPEN:
            self._hang_up()
            return
        self._end_session()
        self._parser.send_close(code, reason)
        self._flush()
        self._part()

    def _part(self) -> None:
        """Read on, to hear the goodbye, for as long as a goodbye may take."""
        self._reading = True
        self._listen()
        self._gate.keepalive.part(self)

    def _hang_up(self) -> None:
        """Say that nothing follows."""
        self._end_session()
        if self._transport.is_closing():
            return
        if self._parser.close_rcvd is None:
            # With bytes unread, to close would be a reset, and lose what was said.
            kernel.end(self._transport)
        self._part()
        if self._parser.close_rcvd is not None:
            self._transport.close()

    def _end_session(self) -> None:
        session, outbox = self._session, self._outbox
        self._session = self._outbox = self._fragments = None
        if session is not None and outbox is not None:
            self._entries, self._size = session.peer.entries, session.peer.size
            session.close()
            outbox.on_drained = None  # It leads back to the session.

    def _tell_end(self) -> None:
        if self.number:
            open_for = round(asyncio.get_running_loop().time() - self._opened, 3)
            totals = Totals(self._entries, self._size, open_for)
            code, why = self._goodbye
            self._gate.journal.closed(self.number, self._address, code, totals, why)

    @property
    def _goodbye(self) -> tuple[int, str]:
        """The code of whoever said goodbye first, and why if that was us: what peers say is not told."""
        sent, received = self._parser.close_sent, self._parser.close_rcvd
        if sent is None or self._parser.close_rcvd_then_sent:
            return int(CloseCode.ABNORMAL_CLOSURE if received is None else received.code), ""
        return int(sent.code), sent.reason

    # What the wheel asks.

    @property
    def address(self) -> str:
        """Where it comes from, as far as that is known."""
        return self._address

    def ping(self) -> None:
        """Send a ping, unless it would only wait behind a backlog; end who holds half a message for too long."""
        if self._drags():
            self.close(Closing.TOO_SLOW, "a message was begun and did not end in time")
        elif self._session is not None and not self._transport.get_write_buffer_size():
            self._transport.write(_PING)

    def _drags(self) -> bool:
        """Tell whether its message takes too long; the time begins with the first ping that met a half of it."""
        size = self._unfinished
        if self._session is None or self.deaf or not size:
            self._begun = 0
            return False
        keepalive = self._gate.keepalive
        self._begun = self._begun or keepalive.now
        allowed = self._gate.limits.write_deadline + size / SLOWEST
        return (keepalive.now - self._begun) * keepalive.step > allowed

    def unsent(self) -> int:
        """Return the bytes that the peer has not taken."""
        return kernel.unsent(self._transport)

    def taken(self) -> int:
        """Return a number that grows whenever the peer takes a byte."""
        return kernel.taken(self._transport)

    def cut(self, why: str) -> None:
        """End it: the peer is not alive. What it has not taken, it will not take."""
        behind = self._transport.get_write_buffer_size() > 0
        self.close(Closing.TOO_SLOW, why)
        if behind:
            self.abort()

    def abort(self) -> None:
        """End it at once."""
        self._end_session()
        self._transport.abort()


def _is_utf8(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True
