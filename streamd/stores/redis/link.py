"""Connections to a Redis server: one attempt at a time, and what it may have done when it fails."""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import hiredis
from redis import exceptions as driver
from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from streamd.errors import StartupError
from streamd.stores.failure import Failure
from streamd.stores.redis.scripts import Script

__all__ = ["FOREIGN", "Argument", "Link", "read_url"]

logger = logging.getLogger("streamd.stores.redis")

Argument = str | bytes | int

_DATABASE = re.compile(r"/?|/[0-9]+")
_CONNECTIONS = 8
"""Calls under way at a time. Redis does one thing at a time; more would only wait there."""


FOREIGN = "something else has written into the stream's keys in Redis"
_PASSING = {
    "LOADING": "Redis is still loading its data",
    "BUSY": "Redis is busy with a script",
    "READONLY": "Redis is a read-only replica",
    "MASTERDOWN": "Redis is a replica without its primary",
    "CLUSTERDOWN": "the Redis cluster is down",
    "TRYAGAIN": "the Redis cluster is moving the stream",
    "OWNER": "Redis has changed hands",
}
_LASTING = {
    "OOM": "Redis is out of memory",
    "MISCONF": "Redis can't write to its disk",
    "NOREPLICAS": "Redis has too few replicas in sync",
    "NOAUTH": "Redis wants a user name and password",
    "WRONGPASS": "Redis refuses our user name or password",
    "NOPERM": "Redis denies our user a command or key that streamd needs",
    "DAMAGED": FOREIGN,
    "WRONGTYPE": FOREIGN,
    "BROKEN": "the stream has entries in Redis, but its meta key is gone",
    "MOVED": "the stream lives on another node of the Redis cluster",
    "ASK": "the stream is moving to another node of the Redis cluster",
}
_OURS = {
    "ABSENT": "the stream in Redis is gone",
    "KEYS": "the stream in Redis has other keys by now",
    "SCHEMA": "the stream in Redis was written by another version of streamd",
}
"""What `open.lua` answers with, and what it has found."""
_CODES: dict[type[Exception], str] = {
    # The driver cuts these codes off the text.
    driver.BusyLoadingError: "LOADING",
    driver.ReadOnlyError: "READONLY",
    driver.OutOfMemoryError: "OOM",
    driver.NoPermissionError: "NOPERM",
    driver.NoScriptError: "NOSCRIPT",
    driver.AuthenticationError: "WRONGPASS",
    driver.MasterDownError: "MASTERDOWN",
    driver.ClusterDownError: "CLUSTERDOWN",
    driver.TryAgainError: "TRYAGAIN",
    driver.MovedError: "MOVED",
    driver.AskError: "ASK",
}


_WORDS = {
    # Errors without a code of their own; scripts that write have asked before the first write.
    "The user executing the script can't": "NOPERM",
    "Protocol error: unauthenticated": "NOAUTH",
}


_ANSWERS = (driver.AuthenticationError, driver.BusyLoadingError)
"""Answers that the driver takes for lost connections."""


def _refusal(error: driver.RedisError) -> Failure:
    """Return what an error means that Redis answered with: the command was not executed."""
    text = str(error)
    code = _CODES.get(type(error)) or text.split(" ", 1)[0]
    for words, meant in _WORDS.items():
        if text.startswith(words):
            code = meant
    if code in _PASSING:
        return Failure(code, _PASSING[code], repeat=True)
    if code in _LASTING:
        return Failure(code, _LASTING[code], repeat=False)
    if code in _OURS:
        return Failure(code, _OURS[code], repeat=False, found=text.partition(" ")[2])
    if code == "NOSCRIPT":
        return Failure(code, text, repeat=False)
    # A defect of a script shows in its middle: what it had written by then stays.
    logger.error("Redis answered with an unexpected error: %s", text)
    return Failure(code, "Redis answered with an unexpected error", repeat=False, executed=True)


def _reason(error: BaseException | None) -> str:
    """Return why no connection came about, in the system's words: the driver's tell less."""
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            return f"Redis can't be reached ({error.strerror})"
        error = error.__cause__ or error.__context__
    return "Redis can't be reached"


def read_url(url: str) -> dict[str, Any]:
    """Return the connection's parameters, or raise StartupError; the password is never shown."""
    try:
        parts = urlsplit(url)
        if parts.scheme.lower() != "unix" and not _DATABASE.fullmatch(parts.path):
            raise ValueError  # The driver would take 0, or of 1/2 the twelfth.
        return dict(parse_url(url))
    except ValueError as exc:
        raise StartupError(
            "the store's URL is not one of redis://HOST:PORT/DB, rediss://… or unix://PATH"
        ) from exc


class Link:
    """Run commands and scripts on some connections to one server."""

    def __init__(self, options: Mapping[str, Any], connect_timeout: float) -> None:
        options = dict(options)
        self._class: type[AbstractConnection] = options.pop("connection_class", Connection)
        self._options = options | {
            # Whoever repeats must know what he repeats: the driver never does by itself.
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": None,
            "socket_connect_timeout": connect_timeout,
            "health_check_interval": 0,
            "driver_info": None,
            "decode_responses": False,
            "protocol": 2,
        }
        try:
            self._class(**self._options)
        except (TypeError, ValueError, driver.RedisError) as exc:
            # The driver's words may show the password.
            raise StartupError("the store's URL has an option that Redis connections lack") from exc
        self._idle: list[AbstractConnection] = []
        self._room = asyncio.Semaphore(_CONNECTIONS)
        self._closed = False
        self.database = int(options.get("db", 0))
        self.where = options.get("path") or (
            f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        )
        """The server, for people."""

    async def connect(self) -> AbstractConnection:
        """Return a new connection; it is the caller's to close."""
        if self._closed:
            raise Failure("CLOSED", "the store is closed", repeat=False)
        connection = self._class(**self._options)
        try:
            await connection.connect()  # type: ignore[no-untyped-call] # so is the driver
        except BaseException as exc:
            # Cancelled in the middle of the handshake, what comes next answers nothing.
            await self.close(connection)
            for error in (exc, exc.__cause__):  # The driver wraps what it met in the handshake.
                if isinstance(error, _ANSWERS):
                    raise _refusal(error) from exc
            if isinstance(exc, (driver.ConnectionError, driver.TimeoutError)):
                raise Failure("UNREACHABLE", _reason(exc), repeat=True) from exc
            if isinstance(exc, driver.RedisError):
                raise _refusal(exc) from exc
            raise
        return connection

    @staticmethod
    async def close(connection: AbstractConnection) -> None:
        """Close a connection at once, whatever is under way on it."""
        await connection.disconnect(nowait=True)

    async def aclose(self) -> None:
        """Close all connections, those in use when they are given back; idempotent."""
        self._closed = True
        await self._close_idle()

    async def _close_idle(self) -> None:
        while self._idle:
            await self.close(self._idle.pop())

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[AbstractConnection]:
        async with self._room:
            connection = await self._take()
            clean = False
            try:
                yield connection
                clean = True
            except driver.ReadOnlyError:
                raise  # After a failover the name may lead to another server.
            except driver.ResponseError:
                clean = True
                raise
            finally:
                if clean and not self._closed:
                    self._idle.append(connection)
                else:
                    await self.close(connection)  # Half an answer may be on it.

    async def _take(self) -> AbstractConnection:
        while self._idle:
            connection = self._idle.pop()
            # Nothing is owed on an idle connection: what can be read is its end.
            if connection.is_connected and not await connection.can_read():
                return connection
            await self.close(connection)
        return await self.connect()

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        *,
        timeout: float,
    ) -> list[Any]:
        """Run a script, sending its source only where Redis does not know it."""
        command: tuple[Argument, ...] = ("EVALSHA", script.digest, len(keys), *keys, *arguments)
        try:
            reply = await self.call(command, timeout=timeout)
        except Failure as failure:
            if failure.code != "NOSCRIPT":
                raise
            command = ("EVAL", script.source, *command[2:])
            reply = await self.call(command, timeout=timeout)
        assert isinstance(reply, list)
        return reply

    async def call(self, command: tuple[Argument, ...], *, timeout: float) -> Any:
        """Run one command, once; raise Failure with what that may have done."""
        packed = hiredis.pack_command(command)  # type: ignore[arg-type] # its stub takes one argument
        sent = False
        try:
            async with asyncio.timeout(timeout), self._connection() as connection:
                sent = True
                await connection.send_packed_command(packed, check_health=False)
                return await connection.read_response()
        except (driver.ResponseError, *_ANSWERS) as exc:
            if isinstance(exc, driver.ReadOnlyError):
                await self._close_idle()
            raise _refusal(exc) from exc
        except TimeoutError as exc:
            await self._close_idle()
            raise Failure("SILENT", "Redis does not answer", repeat=True, executed=sent) from exc
        except (driver.RedisError, OSError) as exc:
            # What became of this connection may have become of the others.
            await self._close_idle()
            raise Failure("LOST", "Redis hung up", repeat=True, executed=sent) from exc
