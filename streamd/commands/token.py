"""`streamd token`: make tokens, and tell what one says, grants, and why it would be refused."""

import asyncio
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from streamd.access import parse_grants
from streamd.commands.arguments import EXIT_CODES
from streamd.commands.shell import say
from streamd.commands.stores import ConfigFile
from streamd.config import Settings, load_settings
from streamd.errors import CallError, StartupError, StoreUnavailable
from streamd.event import Keys
from streamd.limits import Limits
from streamd.tokens import CLAIM, make_token, peek
from streamd.units import read_duration

__all__ = ["token"]

token = typer.Typer(
    name="token",
    help="Make tokens, and tell what one says, what it grants, and why it would be refused.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

_LONGEST = 10 * 365 * 86_400
"""Seconds that a token may be made for."""

_SHOWN = 20
"""Values of a key that are shown."""

SecretFile = Annotated[
    Path | None,
    typer.Option(
        "--secret-file", metavar="FILE", help="Sign with the first secret in this file (HS256)."
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key", metavar="FILE", help="Sign with this private key (PEM; RS256, ES256 or EdDSA)."
    ),
]
KeyName = Annotated[str | None, typer.Option("--kid", help="Name of the key.")]
Subject = Annotated[str, typer.Option("--sub", metavar="TEXT", help="Whom the token names.")]
GrantsOf = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILTER", help="""A grant, as '{"user": [23]}'; {} grants all. Repeatable."""
    ),
]
Admin = Annotated[bool, typer.Option("--admin", help="Grant what is for operators, too.")]
Expires = Annotated[
    str, typer.Option(metavar="TIME", help="How long it lasts: 90s, 15m, 12h or 30d.")
]
Audience = Annotated[str | None, typer.Option("--aud", metavar="TEXT", help="Whom it is for.")]
Issuer = Annotated[str | None, typer.Option("--iss", metavar="TEXT", help="Who makes it.")]
KeysOf = Annotated[
    str | None, typer.Option(metavar="KEYS", help="The server's keys, to check the grants.")
]
TokenOf = Annotated[
    str | None, typer.Argument(metavar="TOKEN", help="The token; - or nothing reads one line.")
]


@token.command(epilog=EXIT_CODES)
def make(
    sub: Subject,
    secret_file: SecretFile = None,
    key: KeyFile = None,
    kid: KeyName = None,
    read: GrantsOf = None,
    write: GrantsOf = None,
    admin: Admin = False,
    expires: Expires = "1h",
    aud: Audience = None,
    iss: Issuer = None,
    keys: KeysOf = None,
) -> None:
    """Print a token. Without --read and --write it grants nothing."""
    grants = {
        "read": [_read_grant(each, "--read") for each in read or []],
        "write": [_read_grant(each, "--write") for each in write or []],
        **({"admin": True} if admin else {}),
    }
    _check_grants(grants, keys)
    claims = {
        "sub": sub,
        "exp": int(time.time() + _read_seconds(expires)),
        "aud": aud,
        "iss": iss,
        CLAIM: grants,
    }
    said = {name: value for name, value in claims.items() if value is not None}
    typer.echo(_sign(said, secret_file, key, kid))


def _sign(claims: dict[str, Any], secret: Path | None, key: Path | None, kid: str | None) -> str:
    if (secret is None) == (key is None):
        raise typer.BadParameter("sign with one of --secret-file and --key")
    try:
        if secret is not None:
            return make_token(claims, secret=secret.read_bytes(), kid=kid)
        assert key is not None, "one of both is given"
        return make_token(claims, pem=key.read_bytes(), kid=kid)
    except OSError as error:
        raise StartupError(f"{secret or key} can't be read: {error.strerror}") from None


def _read_grant(text: str, option: str) -> Any:
    try:
        grant = orjson.loads(text)
    except orjson.JSONDecodeError:
        grant = None
    if not isinstance(grant, dict):
        raise typer.BadParameter(f"{option} must be a filter as JSON, such as '{{\"user\": [23]}}'")
    return grant


def _check_grants(grants: dict[str, Any], keys: str | None) -> None:
    """Raise BadParameter for what no server with these keys can read; by default it has all that are named."""
    named = {name for right in ("read", "write") for grant in grants[right] for name in grant}
    given = ",".join(sorted(named)) if keys is None else keys
    try:
        parse_grants(grants, Keys.parse(given) if given else Keys([]), Limits())
    except CallError as error:
        raise typer.BadParameter(error.message) from None


def _read_seconds(text: str) -> float:
    try:
        seconds = float(read_duration(text))  # type: ignore[arg-type]  # a text that it can't read is no number
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _LONGEST:
        raise typer.BadParameter(
            "--expires must be a time such as 90s, 15m, 12h or 30d, of ten years at most"
        )
    return seconds


# Explaining.


@token.command(epilog=EXIT_CODES.replace("1 failed", "1 failed or the token would be refused"))
def explain(text: TokenOf = None, config: ConfigFile = None) -> None:
    """Tell what a token says, what it grants, and whether a server with these settings takes it.

    The settings are those of `streamd serve`, from the environment and --config. Without any that
    say which tokens are to be believed, the signature is not checked. Secrets are never shown.
    """
    settings = load_settings(**({} if config is None else {"config": config}))
    given = sys.stdin.readline() if text is None or text == "-" else text
    try:
        header, claims = peek(given.strip())
    except CallError as error:
        say(f"streamd: {error.message}")
        raise typer.Exit(1) from None
    typer.echo("\n".join([*_said(header, claims), *_granted(claims.get(CLAIM))]))
    verdict, good = asyncio.run(_judge(settings, given.strip()))
    typer.echo(f"verdict    {verdict}")
    if not good:
        raise typer.Exit(1)


def _said(header: dict[str, Any], claims: dict[str, Any]) -> list[str]:
    named = {
        "signed by": header.get("alg"),
        "key": header.get("kid"),
        "subject": claims.get("sub"),
        "audience": claims.get("aud"),
        "issuer": claims.get("iss"),
        "not before": _time(claims.get("nbf")),
        "expires": _time(claims.get("exp")),
    }
    return [f"{name:<10} {_line(value)}" for name, value in named.items() if value is not None]


def _line(value: Any) -> str:
    """Return a value in one line: it may be anybody's."""
    return value if isinstance(value, str) and value.isprintable() else ascii(value)


def _time(value: Any) -> str | None:
    if value is None:
        return None
    try:
        moment = datetime.fromtimestamp(float(value), UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        return f"{value!a}, which is no time"
    left = moment.timestamp() - time.time()
    words = f"in {left:,.0f} s" if left > 0 else f"{-left:,.0f} s ago"
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC ({words})"


def _granted(claim: Any) -> list[str]:
    if claim is None:
        return [f"grants     nothing: there is no claim {CLAIM}"]
    if not isinstance(claim, dict):
        return [f"grants     nothing that can be understood in the claim {CLAIM}"]
    lines = []
    for right in ("read", "write"):
        given = claim.get(right, [])
        grants = given if isinstance(given, list) else [given]
        lines += [f"{'may ' + right:<10} {_words(grant)}" for grant in grants or [None]]
    if claim.get("admin") is True:
        lines.append("may see    what is for operators")
    return lines


def _words(grant: Any) -> str:
    if grant is None:
        return "nothing"
    if not isinstance(grant, dict):
        return _line(ascii(grant))
    if not grant:
        return "everything"
    return " and ".join(f"{_line(key)} = {_values(value)}" for key, value in grant.items())


def _values(value: Any) -> str:
    values = value if isinstance(value, list) else [value]
    if not values:
        return "none (so nothing)"
    shown = [_line(each if isinstance(each, str) else str(each)) for each in values[:_SHOWN]]
    more = f", … ({len(values):,} in all)" if len(values) > _SHOWN else ""
    return " or ".join(shown) + more


async def _judge(settings: Settings, made: str) -> tuple[str, bool]:
    """Return what a server with these settings would say of a token, and whether it takes it."""
    stream = settings.to_stream()
    guard = settings.to_guard(stream)
    if not guard.looks:
        return "not checked: no setting says which tokens are to be believed", True
    try:
        access = await guard.judge(made)
    except StoreUnavailable as error:
        return f"can't be said now: {error.message}", False
    except CallError as error:
        return f"refused: {error.message}", False
    finally:
        await guard.aclose()
    if not (access.reads or access.writes or access.admin):
        return "good, but it grants nothing", True
    return "good", True
