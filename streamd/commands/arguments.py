"""What the command lines of several commands have in common: filters, and where the server is."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streamd_client.tokens import Token

__all__ = [
    "EXIT_CODES",
    "CaFile",
    "Entries",
    "FilterWords",
    "TokenFile",
    "TokenText",
    "Url",
    "read_filter",
    "read_token",
]

EXIT_CODES = (
    "Exit codes: 0 done (or the reader of the pipe has gone), 1 failed, 2 wrong usage, "
    "130 interrupted, 143 terminated."
)

FILTER_RULES = (
    "Filter: AND between keys, OR between the values of a key; without any, everything. "
    "Values are texts, 291 is 291 however the event has it. "
    r"Write `\,` for a comma within a value, and `\\` for a backslash before one. "
    "`user=a user=b` is the same as `user=a,b`; `user=` names no value, so that nothing matches."
)

Url = Annotated[
    str,
    typer.Option(
        "--url",
        metavar="URL",
        envvar="STREAMD_URL",
        help="The server: ws, wss, http or https.",
    ),
]

TokenText = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        envvar="STREAMD_TOKEN",
        help="Says who calls, if the server wants to know; others can see it on a command line.",
    ),
]

TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        envvar="STREAMD_TOKEN_FILE",
        help="File with the token; it is read again when the token has expired.",
    ),
]

CaFile = Annotated[
    Path | None,
    typer.Option(
        "--ca-file",
        metavar="FILE",
        envvar="STREAMD_CA_FILE",
        help="Certificates (PEM) to trust in place of the system's, for wss and https.",
    ),
]

FilterWords = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE,VALUE...", help=FILTER_RULES)
]

Entries = Annotated[
    bool,
    typer.Option(
        "--entries",
        help='Write {"cursor", "time", "event"} instead of the bare events, in a pipe or file.',
    ),
]

_PART = re.compile(r"\\([,\\])|(,)|([^,\\]+|\\)")


def read_token(text: str | None, file: Path | None) -> "Token | None":
    """Return the token, or what reads it; None if neither is given. Raise BadParameter (exit code 2)."""
    if file is None:
        return text
    if text is not None:
        raise typer.BadParameter("give a token or a file with it, not both")

    def read() -> str:
        try:
            return file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not ASCII"
            raise typer.BadParameter(f"the token in {file} can't be read: {reason}") from None

    read()  # What is wrong is told at once.
    return read


def read_filter(words: list[str] | None) -> dict[str, list[str]]:
    """Return the filter that words such as `user=23,291` name; raise BadParameter (exit code 2)."""
    wanted: dict[str, list[str]] = {}
    for word in words or []:
        key, equals, values = word.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"{word!r} is no filter: write a key and values, as user=23")
        wanted.setdefault(key, []).extend(_split(_decodable(values)))
    return wanted


def _decodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("a value is not valid UTF-8") from None
    return text


def _split(text: str) -> list[str]:
    if not text:
        return []
    values = [""]
    for escaped, comma, plain in _PART.findall(text):
        if comma:
            values.append("")
        else:
            values[-1] += escaped or plain
    return values
