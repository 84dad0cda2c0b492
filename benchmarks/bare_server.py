"""What the kernel takes: a server that writes the bytes that it is given to whom it is told, and does nothing else.

`python -m benchmarks.bare_server PORT`. A subscriber says its number; a producer says for each
event how many are to get it, its size, their numbers, and what to write.
"""

import select
import socket
import struct
import sys

from benchmarks.load import open_files

HEAD = struct.Struct("!II")


class Server:
    """One loop over all sockets."""

    def __init__(self, port: int) -> None:
        open_files()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=2048)
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._open: dict[int, socket.socket] = {}
        self._subscribers: dict[int, socket.socket] = {}
        self._unread = b""

    def serve(self) -> None:
        """Serve until the process is ended."""
        while True:
            for number, _ in self._epoll.poll():
                if number == self._listener.fileno():
                    self._accept()
                else:
                    self._read(self._open[number])

    def _accept(self) -> None:
        accepted, _ = self._listener.accept()
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._epoll.register(accepted, select.EPOLLIN)
        self._open[accepted.fileno()] = accepted

    def _read(self, peer: socket.socket) -> None:
        data = peer.recv(1 << 20)
        if not data:
            self._epoll.unregister(peer)
            del self._open[peer.fileno()]
            peer.close()
        elif data.startswith(b"GET"):
            peer.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        elif data.startswith(b"SUB"):
            self._subscribers[int(data[3:])] = peer
            peer.send(b'{"id":0}')
        else:
            self._unread += data
            self._write()

    def _write(self) -> None:
        while len(self._unread) >= HEAD.size:
            count, size = HEAD.unpack_from(self._unread)
            begin = HEAD.size + 4 * count
            if len(self._unread) < begin + size:
                return
            readers = struct.unpack_from(f"!{count}I", self._unread, HEAD.size)
            frame, self._unread = self._unread[begin : begin + size], self._unread[begin + size :]
            for reader in readers:
                self._subscribers[reader].send(frame)


if __name__ == "__main__":
    Server(int(sys.argv[1])).serve()
