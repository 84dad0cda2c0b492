"""HTTP/1.1 for uvicorn's `http=`: its httptools protocol, with bounds on what a peer may cost.

uvicorn leaves to us: the size of a header and the time it may take, that of a body, how many requests
are read ahead (pipelining), a peer that does not take its answer, and what follows a refusal.
"""

import asyncio
import http
from functools import partial
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from streamd.transports import kernel
from streamd.transports.door import Refusal
from streamd.transports.gate import Gate
from streamd.transports.proxies import address_of
from streamd.transports.seat import Seat
from streamd.turns import Line

__all__ = ["HttpProtocol"]

_PIPELINED = 8
"""Requests that may wait for the answer to an earlier one; then the connection ends with the last."""
_BITE = 4 << 10
"""Bytes given to the parser at once: of a body in chunks of one byte each it makes a call, and 250 ns a byte."""
_SLOWEST_BODY = 16 << 10
"""Bytes per second that a body has to bring on average, beyond the time that a header has."""
_REQUEST = 200e-6
"""Seconds that the task of a request takes, roughly: the loop does it after all those that began one."""
_LINGER = 1.0
"""Seconds to read on after a refusal: to close with bytes unread would be a reset, and lose the answer."""

_TOO_LARGE = Refusal(431, "header_bytes", "the header is too large")
_TOO_LATE = Refusal(408, "header_deadline", "the request did not come in time")
_NO_HTTP = Refusal(400, "http", "this is not HTTP/1.1")
_NO_PROXY = Refusal(400, "http", "this is no proxy")


class _TooManyPipelined(Exception):
    """The peer has sent more requests than are read ahead; the parser makes an error of its own of it."""


class HttpProtocol(HttpToolsProtocol):
    """Carry HTTP requests to the application, and an upgrade to the WebSocket."""

    heard = 0
    """Further requests are no sign that it takes its answers (see keepalive.Lingering)."""
    number = 0
    """It has none: the log tells of WebSockets alone."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        address: str = "",
    ) -> None:
        """Take what uvicorn gives, and the address of the peer; the gate is in the state that the application's lifespan made."""
        super().__init__(config, server_state, app_state, _loop)
        self.access_log = False
        self._gate: Gate = app_state["gate"]
        self.address = address
        """Where it comes from: a proxy, if it comes by one. The transport of one that has gone does not know."""
        self._seat = self._enter()
        self._in_hand: RequestResponseCycle | None = None
        """The request that the application answers; `cycle` is the newest, which may wait for it."""
        self._deadline: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._kept = b""
        """What waits for its turn: one read, since no more is read meanwhile."""
        self._in_body = False
        self._body_size = 0
        self._discarded = 0
        self._fruitless = 0
        """Bytes since the last that completed a header or were part of a body: an unfinished header, trailers, chunk extensions."""
        self._fruitful = False
        self._refusing = False
        """Whether what comes is no longer read as HTTP."""

    def _enter(self) -> Seat:
        return Seat(self._gate)

    # Coming and going.

    @property
    def header_deadline(self) -> float:
        """Seconds that a peer has for what must come before a request, and again for its header."""
        return self._gate.limits.header_deadline

    def arrive(self, transport: asyncio.Transport) -> bool:
        """Take a seat among all connections; tell whether the peer gets an answer, if only why there is none.

        With TLS that comes before the handshake, and before the transport that `connection_made` gets.
        """
        self.address = self.address or address_of(transport)
        return self._seat.take(self.address)

    def leave(self) -> None:
        """Give the seat back; idempotent."""
        self._seat.leave()

    # What the event loop tells.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Give the peer its time to say something."""
        super().connection_made(transport)
        # So `pause_writing` comes with the first bytes that are not taken; with 0, TLS would never resume.
        transport.set_write_buffer_limits(high=1, low=0)
        seat = self._seat
        if not (seat.taken or self.arrive(transport)) or seat.too_late:
            self._refusing = True
            transport.abort()
        elif seat.refusal is None:
            self._begin_request()
        else:
            self._refuse(seat.refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        self._end_request()
        self._kept = b""
        if self._in_hand is not None:
            # uvicorn does so with the newest alone; the answer to another would be written to what is closed.
            self._in_hand.disconnected = True
            self._in_hand.message_event.set()
        self.pipeline.clear()
        self._gate.keepalive.forget(self)
        self.leave()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Take note that the peer has a backlog: it must take a byte of it from time to time."""
        super().pause_writing()
        self._gate.keepalive.watch(self)

    def resume_writing(self) -> None:
        """Go on: the peer has taken everything."""
        super().resume_writing()
        self._gate.keepalive.forget(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes, now or in their turn."""
        self._gate.count_received(len(data))
        if self._refusing:
            self._discard(len(data))
            return
        self._unset_keepalive_if_required()
        if self._deadline is None:
            self._begin_request()
        turns = self._gate.turns
        much = len(data) > _BITE
        line = Line.BULK if much else Line.FIRST
        if self.cycle is None:
            line = Line.NEWCOMERS  # No request of it has come to the application yet.
        if not self._kept and not much and turns.free(line):
            turns.run(self._take, data)
            return
        if not self._kept:
            turns.add(self._take_kept, line)
        self._kept += data
        self.transport.pause_reading()

    # Reading.

    def _take_kept(self) -> bool:
        """Take a bite of what waited; tell whether there is more."""
        bite, self._kept = self._kept[:_BITE], self._kept[_BITE:]
        if not bite or self.transport.is_closing():
            return False
        self._unset_keepalive_if_required()  # An answer may have ended since they came.
        if not self._kept and not self.flow.read_paused:
            self.transport.resume_reading()
        self._take(bite)
        if self._kept and not self.pipeline:
            self.flow.read_paused = (
                False  # The application goes on reading; not so we, before this is taken.
            )
        return bool(self._kept)

    def _take(self, data: bytes) -> None:
        """Take bytes in pieces that can't complete more than a header may have."""
        while data and not self._refusing:
            room = self._gate.limits.header_bytes - self._fruitless
            if room <= 0:
                self._refuse(_TOO_LARGE)
                return
            data = self._feed(data[:room]) + data[room:]
        protocol = self.transport.get_protocol()
        if protocol is not self:
            # RFC 6455, section 4.1: a client waits for our answer. One that does not, loses nothing.
            data, self._kept = data + self._kept, b""
            self.transport.resume_reading()
            protocol.data_received(data)  # type: ignore[attr-defined]  # is ours

    def _feed(self, piece: bytes) -> bytes:
        """Give a piece to the parser; return what is left of it, which then is for a further request."""
        self._fruitful = False
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as exc:
            return self._upgrade(piece[exc.args[0] :])
        except httptools.HttpParserError as exc:
            self._fail(exc)
            return b""
        self._fruitless = 0 if self._fruitful else self._fruitless + len(piece)
        return b""

    def _fail(self, error: httptools.HttpParserError) -> None:
        if not self._in_body and self._is_answering():
            # The answers so far come first; what follows them is lost, as RFC 9112, section 9.3.2 allows.
            self._close_when_answered()
        else:
            self._refuse(_NO_HTTP)

    def _is_answering(self) -> bool:
        cycle = self.cycle
        return cycle is not None and not (cycle.response_complete or cycle.disconnected)

    def _close_when_answered(self) -> None:
        self._refusing = True
        self.cycle.keep_alive = False

    def _upgrade(self, rest: bytes) -> bytes:
        if not self._should_upgrade():
            self._ignore_upgrade()
            return rest
        if self._is_answering():
            self._close_when_answered()
            return b""
        self._end_request()
        make: Any = self.ws_protocol_class
        self.ws_protocol_class = partial(make, address=self.address)  # type: ignore[assignment]  # uvicorn only calls it
        self.handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]  # it would keep us alive until the next garbage collection
        self._refusing = True
        return rest

    def _ignores_upgrade(self) -> bool:
        """Whether this request asks for an upgrade that we don't know (`h2c`, of all that Java sends)."""
        return self.parser.should_upgrade() and not self._should_upgrade()

    def _ignore_upgrade(self) -> None:
        """Read the header again without it, as RFC 9110, section 7.8 allows: the parser has left out the body."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(_NO_PROXY)
            return
        lines = [b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % field for field in self.headers if field[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._feed(b"\r\n".join(lines) + b"\r\n\r\n")

    def on_message_begin(self) -> None:
        """Begin a request, unless too many wait."""
        if len(self.pipeline) >= _PIPELINED:
            raise _TooManyPipelined
        if self._deadline is None:
            self._begin_request()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the header; trailers have no meaning here."""
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request to the application."""
        self._fruitful = True
        if self._ignores_upgrade():
            return
        self._in_body = True
        super().on_headers_complete()
        self._gate.turns.spend(_REQUEST)

    def on_body(self, body: bytes) -> None:
        """Count a part of the body, and hand it on."""
        self._fruitful = True
        self._body_size += len(body)
        super().on_body(body)
        if self._is_answering() or self.cycle is None:
            return
        # It was refused before it was complete. A little more is let pass, so that the peer hears of it.
        self._discarded += len(body)
        if self._discarded > self._gate.limits.message_bytes:
            self.transport.abort()
            self._refusing = True

    def on_message_complete(self) -> None:
        """End a request."""
        self._fruitful = True
        if self._ignores_upgrade():
            return
        self._in_body = False
        self._end_request()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on to the next request, if it can be told where this one ends."""
        super().on_response_complete()
        if self._in_body and self.expect_100_continue and not self._body_size:
            # Refused before it sent the body, it may leave the body out (RFC 9110, section 10.1.1).
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._in_hand = cycle
        super()._start_asgi_task(cycle, partial(_answer_request, app, cycle))

    # Time.

    def _begin_request(self) -> None:
        self._began = self.loop.time()
        self._body_size = self._discarded = 0
        self._wait(self._gate.limits.header_deadline)

    def _end_request(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _wait(self, seconds: float) -> None:
        self._end_request()
        self._deadline = self.loop.call_later(seconds, self._on_deadline)

    def _on_deadline(self) -> None:
        self._deadline = None
        allowed = self._gate.limits.header_deadline + self._body_size / _SLOWEST_BODY
        left = self._began + allowed - self.loop.time()
        if self._kept or (self._in_body and self.flow.read_paused):
            # It is we who don't read.
            self._wait(self._gate.limits.header_deadline)
        elif self._in_body and left > 0:
            self._wait(left)
        elif self._in_body and not self._is_answering():
            self.transport.abort()  # It was answered long ago.
        elif self._in_body or self._fruitless:
            self._refuse(_TOO_LATE)
        else:
            self.transport.close()

    # Refusing.

    def _refuse(self, refusal: Refusal) -> None:
        """Answer the peer ourselves, for the last time; the application learns that it is gone."""
        self._end_request()
        self._refusing = True
        if self.transport.is_closing():
            return
        self._gate.journal.refused(refusal.reason, self.address)
        if self._is_answering():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.pipeline or self.cycle.response_started:
                # Ours would be taken for the answer to an earlier request, or for part of this one's.
                self.transport.abort()
                return
        self.transport.write(_answer(refusal))
        kernel.end(self.transport)
        self._deadline = self.loop.call_later(_LINGER, self.transport.abort)

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > self._gate.limits.message_bytes and not self._is_answering():
            self.transport.abort()

    # What the wheel asks.

    def unsent(self) -> int:
        """Return the bytes that the peer has not taken."""
        return kernel.unsent(self.transport)

    def taken(self) -> int:
        """Return a number that grows whenever the peer takes a byte."""
        return kernel.taken(self.transport)

    def cut(self, why: str) -> None:
        """End it: the peer does not take its answer."""
        self.transport.abort()

    def abort(self) -> None:
        """End it at once."""
        self.transport.abort()


async def _answer_request(
    app: Any, cycle: RequestResponseCycle, scope: Any, receive: Any, send: Any
) -> None:
    """Let the application answer, unless the server ends before."""
    try:
        await app(scope, receive, send)
    except asyncio.CancelledError:
        # The peer is cut off; uvicorn would log that as a defect of the application.
        cycle.disconnected = True


def _answer(refusal: Refusal) -> bytes:
    header, body = refusal.to_http()
    lines = [f"HTTP/1.1 {refusal.status} {http.HTTPStatus(refusal.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in header.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
