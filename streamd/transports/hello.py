"""The first message of a TLS client, waited for before anything is done about it."""

import asyncio
import socket

__all__ = ["hear", "size_of"]

_RECORD = 5
"""Bytes before the content of a record: its type, a version, its size (RFC 8446, section 5.1)."""
_MESSAGE = 4
"""Bytes before the content of a message: its type and its size (section 4)."""
_HANDSHAKE = 22
"""The type of records that have such messages."""
_CLIENT_HELLO = 1
"""The type of the first of them."""
_MOST = 16 << 10
"""Bytes that are waited for: a ClientHello has some hundreds, or 2,000."""
_RECORDS = 16
"""Records that are waited for: whoever cuts it finer would have us look at all of them anew for each."""


def size_of(data: bytes) -> int:
    """Return how many bytes a ClientHello has that begins with `data`, as far as that can be told.

    It may be cut into several records. What is none is complete: to refuse it costs nothing. So is what is cut
    into very many: to go on with it costs no more than a handshake.
    """
    message = b""
    size = records = 0
    while records < _RECORDS and not _is_whole(message):
        records += 1
        header = data[size : size + _RECORD]
        if len(header) < _RECORD:
            return size + _RECORD
        length = int.from_bytes(header[3:])
        if header[0] != _HANDSHAKE or not length:
            return size
        message += data[size + _RECORD : size + _RECORD + length]
        size += _RECORD + length
        if size > len(data):
            return size
    return size


def _is_whole(message: bytes) -> bool:
    """Tell whether a message is all there, or none that is waited for."""
    if len(message) < _MESSAGE:
        return False
    length = int.from_bytes(message[1:_MESSAGE])
    return message[0] != _CLIENT_HELLO or length > _MOST or len(message) >= _MESSAGE + length


async def hear(sock: socket.socket) -> None:
    """Wait until a whole ClientHello can be read from a socket, or nothing more comes; nothing is read.

    Bytes that come one by one wake nobody: the system tells when there are as many as are missing.
    """
    had = -1
    try:
        while (size := size_of(data := _peek(sock))) > len(data) > had and size <= _MOST:
            had = len(data)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
            await _readable(sock)
    finally:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


def _peek(sock: socket.socket) -> bytes:
    try:
        return sock.recv(_MOST, socket.MSG_PEEK)
    except BlockingIOError:
        return b""


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sock, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sock)
