"""How a message becomes a frame, compressed (RFC 7692) or not, and how compressed ones are read.

No context is taken over from one message to the next, either way. So a compressed frame too is the
same bytes for every peer, and a connection that is quiet holds no window.
"""

from collections.abc import Callable, Sequence

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import (
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.frames import Frame, Opcode
from websockets.typing import ExtensionParameter

__all__ = ["Deflate", "deflated_frame", "frame_for", "text_frame"]

_WINDOW_BITS = 12
"""On real events, 15 would save one byte in a hundred more, and only in answers of many events."""

_SETTINGS = {"level": 1, "memLevel": 5}
"""Level 6 saves two bytes in a hundred more, and takes up to nine times as long where a producer means it to."""

_LEAST = 128
"""Bytes below which a message saves a sixth at most, and takes ten times as long to frame."""

_MOST = 256 << 10
"""Bytes whose compression takes one turn of the event loop: 3 ms, and 7 at the worst."""

_PADDING = 1
"""Bytes after the final block of a message that has one (RFC 7692, section 7.2.3.4)."""


def text_frame(payload: bytes) -> bytes:
    """Return one text message as a server sends it."""
    return Frame(Opcode.TEXT, payload).serialize(mask=False)


def deflated_frame(payload: bytes) -> bytes:
    """Return one text message for peers with compression: compressed where that pays."""
    if _LEAST <= len(payload) <= _MOST:
        # Not shared: it has state, and servers may run in several threads.
        deflate = PerMessageDeflate(True, True, _WINDOW_BITS, _WINDOW_BITS, _SETTINGS)
        deflated = Frame(Opcode.TEXT, payload).serialize(mask=False, extensions=(deflate,))
        if len(deflated) < len(payload):
            return deflated
    return text_frame(payload)


def frame_for(extensions: Sequence[Extension]) -> Callable[[bytes], bytes]:
    """Return what makes the frames of a peer that has negotiated these extensions."""
    for extension in extensions:
        if isinstance(extension, _Deflate) and extension.local_max_window_bits == _WINDOW_BITS:
            return deflated_frame
    return text_frame


class Deflate(ServerPerMessageDeflateFactory):
    """Negotiate compression with those who ask for it."""

    def __init__(self) -> None:
        super().__init__(
            server_no_context_takeover=True,
            client_no_context_takeover=True,
            server_max_window_bits=_WINDOW_BITS,
            client_max_window_bits=_WINDOW_BITS,
        )

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        """Return what is answered to an offer, and what it means; raise NegotiationError."""
        answer, agreed = super().process_request_params(params, accepted_extensions)
        deflate = _Deflate(
            agreed.remote_no_context_takeover,
            agreed.local_no_context_takeover,
            agreed.remote_max_window_bits,
            agreed.local_max_window_bits,
        )
        return answer, deflate


class _Deflate(PerMessageDeflate):
    """Read compressed messages within bounds, however they are cut into fragments."""

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Return the frame inflated; raise PayloadTooBig or ProtocolError."""
        decoded = super().decode(frame, max_size=max_size)
        # zlib keeps what follows the final block, and as no message grows by it, nothing counts it.
        decoder = getattr(self, "decoder", None)
        if decoder is not None and len(decoder.unused_data) > _PADDING:
            raise ProtocolError("compressed data after its final block")
        # Where nothing is left of it, zlib takes the bound for none.
        if max_size is not None and len(decoded.data) > max_size:
            raise PayloadTooBig(len(decoded.data), max_size)
        return decoded
