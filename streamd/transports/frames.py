"""How a message becomes a frame: the same bytes for every peer of a kind."""

from websockets.frames import Frame, Opcode

__all__ = ["text_frame"]


def text_frame(payload: bytes) -> bytes:
    """Return one text message as a server sends it."""
    return Frame(Opcode.TEXT, payload).serialize(mask=False)
