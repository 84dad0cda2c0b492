"""
A small HTTP server in threads, with the log of `FakeServer`, that can be told to misbehave.
"""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6, SHUT_RDWR, SHUT_WR
from ssl import SSLContext
from typing import Any, Self

import orjson

from clients.python.tests.fake_server import Call, FakeServer, Fault

Trick = Callable[["Handler", Call], None]
"""Handles one request in place of the server."""


class FakeHttp(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 100

    def __init__(self, host: str = "127.0.0.1", port: int = 0, tls: SSLContext | None = None):
        if ":" in host:
            self.address_family = AF_INET6
        super().__init__((host, port), Handler)
        self.tls = tls
        self.world = FakeServer()
        self.tricks: deque[Trick] = deque()
        self.requests: list[Handler] = []
        """What came, with its headers; one object for each connection's."""
        self.calls: list[Call] = []
        self.opened = 0
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.connections: set[Any] = set()
        name = f"[{host}]" if ":" in host else host
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://{name}:{self.server_address[1]}/"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.shutdown()
        self._thread.join()
        with self.lock:
            for connection in self.connections:
                hang_up(connection)
        self.server_close()

    def opens(self, connection: Any) -> None:
        with self.lock:
            self.opened += 1
            self.connections.add(connection)

    def closes(self, connection: Any) -> None:
        with self.lock:
            self.connections.discard(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A broken connection is nothing to tell of."""

    @property
    def events(self) -> list[dict[str, Any]]:
        return self.world.events


class Handler(BaseHTTPRequestHandler):
    server: FakeHttp
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        if self.server.tls is not None:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()
        self.server.opens(self.connection)

    def finish(self) -> None:
        self.server.closes(self.connection)
        super().finish()
        if self.server.tls is not None:
            self.connection.close()  # the socket that the server knows of is not this one

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""

    def do_POST(self) -> None:
        body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
        call = Call(None, body["id"], body["method"], body["params"])
        with self.server.lock:
            self.server.requests.append(self)
            self.server.calls.append(call)
            trick = self.server.tricks.popleft() if self.server.tricks else answer
        trick(self, call)

    def respond(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def perform(self, call: Call) -> bytes:
        """Do what is asked, and return the answer to it."""
        try:
            with self.server.lock:
                outcome = {"result": self.server.world.perform(call)}
        except Fault as fault:
            outcome = {"error": fault.error}
        return orjson.dumps({"jsonrpc": "2.0", "id": call.id, **outcome})

    def hang_up(self) -> None:
        self.close_connection = True
        hang_up(self.connection)


def hang_up(connection: Any) -> None:
    with suppress(OSError):  # the peer may have been faster
        connection.shutdown(SHUT_RDWR)


# Tricks for `FakeHttp.tricks`.


def answer(handler: Handler, call: Call) -> None:
    """No trick."""
    handler.respond(200, handler.perform(call), Content_Type="application/json")


def drop_before(handler: Handler, call: Call) -> None:
    """Break the connection off without doing what was asked."""
    handler.hang_up()


def drop_after(handler: Handler, call: Call) -> None:
    """Do what was asked, and break the connection off instead of answering."""
    handler.perform(call)
    handler.hang_up()


def drop_within(handler: Handler, call: Call) -> None:
    """Break the connection off in the middle of the answer."""
    body = handler.perform(call)
    handler.respond(200, body[:10], Content_Length=str(len(body)))
    handler.hang_up()


def leave_quietly(handler: Handler, call: Call) -> None:
    """Answer, and close the connection without having said so."""
    answer(handler, call)
    handler.close_connection = True
    handler.connection.shutdown(SHUT_WR)


def ignore(handler: Handler, call: Call) -> None:
    """Do what was asked, and never answer."""
    handler.perform(call)
    handler.server.over.wait()
    handler.hang_up()


def in_pieces(handler: Handler, call: Call) -> None:
    """Answer with an encoding that does not tell the length."""
    body = handler.perform(call)
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for byte in body:
        handler.wfile.write(b"1\r\n%c\r\n" % byte)
    handler.wfile.write(b"0\r\n\r\n")


def endless(pause: float, piece: bytes) -> Trick:
    """Begin an answer that does not end."""

    def trick(handler: Handler, call: Call) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(10**12))
        handler.end_headers()
        while not handler.server.over.wait(pause):
            handler.wfile.write(piece)

    return trick


def say(status: int, body: bytes = b"", **headers: str) -> Trick:
    """Answer with a status, do nothing."""
    return lambda handler, call: handler.respond(status, body, **headers)


def fail(code: int, data: Any = None, status: int = 200) -> Trick:
    """Answer with an error, do nothing."""

    def trick(handler: Handler, call: Call) -> None:
        error = Fault(code, "told to", data).error
        handler.respond(status, orjson.dumps({"jsonrpc": "2.0", "id": call.id, "error": error}))

    return trick
