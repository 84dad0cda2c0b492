"""`streamd config`: the settings that there are, and whether those that are given are right."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from streamd.commands.shell import say
from streamd.config import LIMITS, PREFIX, Settings, load_settings, must_be
from streamd.errors import BadSettings, StartupError
from streamd.stores import open_store

__all__ = ["config"]

config = typer.Typer(
    name="config",
    help="Show the settings that there are, and check those that are given.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

_NAMES = [*(name for name in Settings.model_fields if name not in LIMITS), *LIMITS]

_TOML_HEADING = """\
# The settings of streamd, each with its default. Remove the # before what you change.
# Flags and the environment come before this file: streamd serve --config FILE
"""
_ENV_HEADING = """\
# The settings of streamd, each with its default. Remove the # before what you change.
# Flags come before the environment, the environment before a file.
"""

File = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="TOML file with settings, as `streamd serve --config`."),
]


@config.command()
def default() -> None:
    """Print a TOML file with every setting, its default and what it means."""
    # The file can't name itself.
    names = [name for name in _NAMES if name != "config"]
    lines = ((name, f"{name} = {_toml(name)}".rstrip()) for name in names)
    _show(_TOML_HEADING, lines, but=("maker",))


@config.command()
def env() -> None:
    """Print the same as lines for the environment, as systemd and Docker read them from a file."""
    lines = ((name, f"{PREFIX}{name.upper()}={_plain(name)}") for name in _NAMES)
    _show(_ENV_HEADING, lines, but=("maker", "array"))


@config.command(epilog="Exit codes: 0 all is right, 1 something is wrong, 2 wrong usage.")
def check(file: File = None) -> None:
    """Check the settings in the environment and in a file, and tell each fault in a sentence.

    Values are not shown: they may be secrets. Whether the store can be reached is not looked at.
    """
    try:
        settings = load_settings(**({} if file is None else {"config": str(file)}))
        # It reads the URL, and opens nothing.
        open_store(str(settings.store), settings.to_stream())
    except StartupError as error:
        for fault in error.faults if isinstance(error, BadSettings) else [str(error)]:
            say(f"streamd: {fault}")
        raise typer.Exit(1) from None
    certificate = settings.to_certificate()
    if certificate is not None and certificate.trouble is not None:
        say(f"streamd: {certificate.trouble}")  # A server starts with it, and tells so in its log.
    given = [name for name in _NAMES if name in settings.model_fields_set - {"config"}]
    told = f"given are {', '.join(given)}" if given else "none is given, all are the defaults"
    typer.echo(f"streamd: the settings are right; {told}")


def _show(heading: str, lines: Iterator[tuple[str, str]], but: tuple[str, ...]) -> None:
    """Write each setting: what it means and may be, `but` for what can't be written there."""
    typer.echo(heading)
    for name, line in lines:
        meaning = Settings.model_fields[name].description
        typer.echo(f"# {meaning}: {must_be(name, but)}\n#{line}\n")


def _value(name: str) -> Any:
    """Return a default; no limit is `none`, and of what else there is none nothing is shown."""
    value = Settings.model_fields[name].default
    return ("none" if name in LIMITS else "") if value is None else value


def _toml(name: str) -> str:
    value = _value(name)
    # What JSON has for these types, TOML has, too.
    return "" if value == "" else json.dumps(value)


def _plain(name: str) -> str:
    value = _value(name)
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list) else str(value)
