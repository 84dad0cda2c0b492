"""`streamd serve`: its options are the settings."""

import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamd.commands.reader import let_go
from streamd.config import LIMITS, PREFIX, Settings, load_settings

if TYPE_CHECKING:
    from streamd.address import Address

__all__ = ["serve"]

_FIRST = ("host", "port", "keys", "store", "stream", "workers", "window", "max_events", "max_age")
"""The options that are asked for most, in the order of the help."""


_KEPT = {
    "memory": "   (the events live as long as this process)",
    "sqlite": "   (the events are kept in this file)",
}
"""What is said of a store beside its URL."""


def serve(**options: Any) -> None:
    """Start the server."""
    # The other commands start sooner without it.
    from streamd.server import log_start, serve_settings

    given = {name: value for name, value in options.items() if value is not None}
    settings = load_settings(**given)

    def started(address: "Address") -> None:
        _announce(settings, address)
        if not sys.stderr.isatty():
            log_start(address)  # On a terminal that was just said.

    serve_settings(settings, started)


def _announce(settings: Settings, address: "Address") -> None:
    store = settings.store_name
    store += _KEPT.get(store.partition(":")[0], "")
    url = "" if address.port == 8080 and not address.secure else f" --url {address.ws_url}"
    known = " --token-file FILE" if settings.needs_tokens else ""
    # The event below is in this feed if `user` is read where its name says; else all are shown.
    feed = " user=291" if "user" in map(str.strip, settings.keys.split(",")) else ""
    dashboard = address.url if settings.dashboard else "none"
    lines = (
        f"streamd serves {address.ws_url} and {address.url}",
        f"  store      {store}",
        f"  stream     {settings.stream}",
        f"  keys       {settings.keys}",
        f"  dashboard  {dashboard}",
        f"  metrics    {_metrics(settings, address)}",
        "",
        "Follow the feed in one terminal, insert an event in another:",
        f"  {_program()} tail{feed}{url}{known}",
        f"""  {_program()} insert '{{"kind": "watch", "user": 291, "repo": 2842}}'{url}{known}""",
        "",
    )
    try:
        typer.echo("\n".join(lines))
    except BrokenPipeError:
        let_go()  # A server serves, whether or not anybody reads of it.


def _program() -> str:
    """Return what this program was called as."""
    called = Path(sys.argv[0])
    return f"{sys.executable} -m streamd" if called.name == "__main__.py" else str(called)


def _metrics(settings: Settings, address: "Address") -> str:
    if settings.local:
        return f"{address.url}metrics"
    if settings.admin_port is None:
        return "for tokens with admin alone; --admin-port gives them a port"
    return f"on port {settings.admin_port or 'any'} of {settings.admin_host}"


def _options() -> list[inspect.Parameter]:
    others = [name for name in Settings.model_fields if name not in (*_FIRST, *LIMITS)]
    limits = [name for name in LIMITS if name not in _FIRST]
    panels = {"Server": (*_FIRST, *others), "Limits": limits}
    return [_option(name, panel) for panel, names in panels.items() for name in names]


def _option(name: str, panel: str) -> inspect.Parameter:
    """Make an option of a setting. It is only taken as text here: what it may be, the settings say."""
    field = Settings.model_fields[name]
    several, switch = isinstance(field.default, list), isinstance(field.default, bool)
    default = "" if several or field.default is None else f" (default {field.default})"
    flag = f"--{name.replace('_', '-')}"
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if switch else flag,
        metavar=_metavar(field.default),
        help=field.description if switch else f"{field.description}{default}",
        show_default=False,
        rich_help_panel=panel,
    )
    kind: Any = bool if switch else list[str] if several else str
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _metavar(default: object) -> str:
    return {int: "N", float: "SECONDS", list: "NAME", bool: ""}.get(type(default), "TEXT")


_parameters = _options()
serve.__signature__ = inspect.Signature(_parameters)  # type: ignore[attr-defined]  # typer reads options off it
serve.__annotations__ = {parameter.name: parameter.annotation for parameter in _parameters}
serve.__doc__ = f"""Start the server.

Every option can also be given in the environment, as {PREFIX}PORT=8080, and in a TOML file,
as port = 8080. Flags come before the environment, the environment before the file.

Sizes may have a unit, as 64KiB or 1MiB, and so may times, as 90s, 15m, 12h or 30d.
"""
