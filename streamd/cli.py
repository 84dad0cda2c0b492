"""The command `streamd`."""

import sys
from typing import Annotated

import typer

from streamd import __version__
from streamd.commands.arguments import EXIT_CODES
from streamd.commands.check import check
from streamd.commands.config import config
from streamd.commands.explain import explain
from streamd.commands.export import export
from streamd.commands.import_ import import_
from streamd.commands.insert import insert
from streamd.commands.items import items
from streamd.commands.serve import serve
from streamd.commands.tail import tail
from streamd.commands.token import token
from streamd.errors import StreamdError

__all__ = ["app", "main"]

app = typer.Typer(
    name="streamd",
    help="A WebSocket real-time feed server: one filter for query and push, and no event lost.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _show_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"streamd {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version",
        callback=lambda wanted: _show_version(wanted=wanted),
        is_eager=True,
        help="Show the version.",
    ),
]


@app.callback()
def _commands(version: Version = False) -> None:
    """A WebSocket real-time feed server: one filter for query and push, and no event lost."""


app.command(epilog="Exit codes: 0 stopped as told, 1 could not start, 2 wrong usage.")(serve)
app.command(epilog=EXIT_CODES)(insert)
app.command(epilog=EXIT_CODES)(items)
app.command(epilog=EXIT_CODES)(tail)
app.command(epilog=EXIT_CODES)(explain)
app.command(epilog=EXIT_CODES)(export)
app.command("import", epilog=EXIT_CODES)(import_)
app.command(epilog=EXIT_CODES.replace("1 failed", "1 failed or something is wrong"))(check)
app.add_typer(config)
app.add_typer(token)


def main() -> None:
    """Run the command; an error that we foresaw is a sentence, not a traceback."""
    try:
        app()
    except StreamdError as exc:
        print(f"streamd: {exc}", file=sys.stderr)
        sys.exit(1)
