"""The command `streamd`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from streamd import __version__
from streamd.commands.arguments import EXIT_CODES
from streamd.commands.reader import has_gone, let_go
from streamd.errors import StreamdError

__all__ = ["main", "make_app"]

_EPILOGS = {
    "serve": "Exit codes: 0 stopped as told, 1 could not start, 2 wrong usage.",
    "insert": EXIT_CODES,
    "items": EXIT_CODES,
    "tail": EXIT_CODES,
    "explain": EXIT_CODES,
    "export": EXIT_CODES,
    "import": EXIT_CODES,
    "check": EXIT_CODES.replace("1 failed", "1 failed or something is wrong"),
}
"""What the help says below a command."""

_FAMILIES = ("config", "token")
"""Those that have commands of their own."""

_COMMANDS = (*_EPILOGS, *_FAMILIES)
"""The names of all commands, in the order of the help."""


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


class _Commands(TyperGroup):
    """The commands, which end quietly when the reader of a pipe has what he wanted: `| head -1`."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Read the command line; this is where help is shown."""
        with _while_read():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with _while_read():
            return super().invoke(ctx)


@contextmanager
def _while_read() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        # It may be another pipe that broke, and that is a defect.
        if not has_gone():
            raise
        let_go()
        raise typer.Exit from None
    except SystemExit as end:
        # Rich, which shows the help, ends the program by itself, as if something had failed.
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        raise typer.Exit from None


def make_app(*names: str) -> typer.Typer:
    """Return the command with these of its commands; without names, all."""
    app = typer.Typer(
        name="streamd",
        cls=_Commands,
        help=_start.__doc__,
        callback=_start,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
    )
    for name in names or _COMMANDS:
        _add(app, name)
    return app


def _start(version: Version = False) -> None:
    """A WebSocket real-time feed server: one filter for query and push, and no event lost."""


def _add(app: typer.Typer, name: str) -> None:
    """Import a command, and let it be called."""
    # A command's name may be a word of Python.
    word = "import_" if name == "import" else name
    command: Any = getattr(import_module(f"streamd.commands.{word}"), word)
    if name in _FAMILIES:
        app.add_typer(command)
    else:
        app.command(name, epilog=_EPILOGS[name])(command)


def main() -> None:
    """Run the command; an error that we foresaw is a sentence, not a traceback."""
    # Most of the time before a command does anything goes into imports: none into those of others.
    asked = [name for name in sys.argv[1:2] if name in _COMMANDS]
    app = make_app(*asked)
    try:
        app()
    except StreamdError as exc:
        print(f"streamd: {exc}", file=sys.stderr)
        sys.exit(1)
