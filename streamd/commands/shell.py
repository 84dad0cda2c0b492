"""From a command line to a server and back: connecting, signals, errors as sentences, exit codes."""

import asyncio
import contextlib
import signal
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import typer
from streamd_client import (
    CallTimeout,
    Client,
    ConnectionLost,
    Info,
    RpcError,
    StreamdError,
    Unauthorized,
    Unreachable,
    connect,
    full_jitter,
)
from streamd_client.tokens import Token

from streamd.commands.text import printable

__all__ = ["DEFAULT_URL", "Server", "open_client", "run", "say", "sentence"]

DEFAULT_URL = "ws://127.0.0.1:8080/"

_GREETING = 10.0  # seconds that a server which took the connection has for its first answer


class Server(NamedTuple):
    """Where a server is, and who says that he calls."""

    url: str
    token: Token | None = None
    ca_file: Path | None = None


class _NoServer(Exception):
    """Nobody answers at the URL, or nobody who speaks our language."""


def say(text: str) -> None:
    """Write a line to the standard error: what people are told, beside the output."""
    with contextlib.suppress(OSError):
        typer.echo(printable(text), err=True)


def sentence(error: StreamdError) -> str:
    """Return what an error has to tell a person."""
    if isinstance(error, RpcError):
        return f"{error.message} ({error.code})"
    return str(error)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Do the work of a command and leave with its exit code; what goes wrong is told in a sentence."""
    try:
        asyncio.run(_terminable(work))
    except BrokenPipeError:
        raise  # The command line knows what that means.
    except (StreamdError, _NoServer) as error:  # First: a CallTimeout is an OSError, too.
        say(f"streamd: {sentence(error) if isinstance(error, StreamdError) else error}")
        code = 1
    except OSError as error:
        say(f"streamd: {error.strerror or error}")
        code = 1
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except asyncio.CancelledError:
        code = 128 + signal.SIGTERM
    else:
        return
    raise typer.Exit(code)


async def _terminable(work: Coroutine[Any, Any, None]) -> None:
    """Let SIGTERM cancel the work, as `asyncio.run` does with SIGINT."""
    task = asyncio.current_task()
    assert task is not None
    with contextlib.suppress(NotImplementedError):  # a system without such signals
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await work


@asynccontextmanager
async def open_client(server: Server) -> AsyncIterator[tuple[Client, Info]]:
    """Connect, and ask the server about itself. One that is not there is told of at once.

    From then on the client comes back by itself when the connection is lost.
    """
    failed = asyncio.Event()

    def wait_before(attempt: int) -> float:
        failed.set()
        return full_jitter(attempt)

    try:
        # What is too long for the server we tell by lines: the client need not know.
        client = connect(
            server.url,
            backoff=wait_before,
            message_bytes=None,
            token=server.token,
            ca_file=server.ca_file,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    except OSError as error:
        reason = "there is none" if isinstance(error, ssl.SSLError) else error.strerror
        raise typer.BadParameter(
            f"the certificates in {server.ca_file} can't be read: {reason}"
        ) from None
    async with client:
        try:
            info = await _greet(client, failed, server.url)
        except Unauthorized as error:
            if server.token is not None:
                raise
            raise _NoServer(
                f"the server wants to know who calls: give a token with --token-file ({error.code})"
            ) from None
        yield client, info


async def _greet(client: Client, failed: asyncio.Event, url: str) -> Info:
    greeting = asyncio.create_task(client.info(timeout=_GREETING))
    failure = asyncio.create_task(failed.wait())
    try:
        await asyncio.wait({greeting, failure}, return_when=asyncio.FIRST_COMPLETED)
        if not greeting.done():
            return await client.info(timeout=0)  # says what is wrong
        return await greeting
    except CallTimeout as error:
        if untrusted := _untrusted(error.__cause__):
            raise _NoServer(
                f"the server at {url} is not to be trusted ({untrusted}): "
                "name who signs its certificate with --ca-file"
            ) from None
        trouble = error.__cause__
        if isinstance(trouble, ConnectionLost) and not isinstance(trouble, Unreachable):
            raise _NoServer(f"the server at {url} does not let you in: {trouble.reason}") from None
        raise _NoServer(
            f"no server answers at {url}{_why(error.__cause__)}: "
            "start one with `streamd serve`, or name another with --url"
        ) from None
    finally:
        greeting.cancel()
        failure.cancel()


def _why(reason: BaseException | None) -> str:
    # That nobody listens is said already.
    if not isinstance(reason, ConnectionLost):
        return ""
    return "" if isinstance(reason.__cause__, ConnectionRefusedError) else f" ({reason.reason})"


def _untrusted(reason: BaseException | None) -> str:
    """Return what is wrong with the server's certificate, if it is that."""
    cause = reason and reason.__cause__
    return cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else ""
