"""Settings: one flat name each, from flags, the environment, a TOML file or the default, in this order.

`--window 1000`, `STREAMD_WINDOW=1000` and `window = 1000` are the same setting. A name that is none is
an error wherever it stands. The limits of `streamd.limits.Limits` are settings by their own names, all
but the limit `keys`: that name says which keys there are.
"""

import difflib
import os
import pickle
import re
import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, create_model, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from streamd.access import NOBODY
from streamd.errors import BadSettings, StartupError
from streamd.event import Keys
from streamd.guard import Guard
from streamd.kinds import OR_NONE, Duration, Joined, Maker, Texts, Url, in_words, limit_settings
from streamd.limits import Limits
from streamd.options import StoreMaker
from streamd.rules import RIGHTS, AccessRules
from streamd.stores.base import Stream
from streamd.transports.door import Door, is_loopback
from streamd.transports.proxies import Proxies
from streamd.transports.tls import Certificate

__all__ = ["LIMITS", "PREFIX", "Settings", "load_settings", "must_be", "without_secrets"]

PREFIX = "STREAMD_"
"""What the names of settings begin with in the environment."""

_NOT_OURS = ("STREAMD_TEST_", "STREAMD_URL")
"""What names in the environment begin with that mean something to tests and to clients."""

_CLIENTS = ("STREAMD_TOKEN", "STREAMD_TOKEN_FILE", "STREAMD_CA_FILE")
"""Names in the environment that mean something to clients."""

_STREAM = re.compile(r"[A-Za-z0-9_.-]{1,64}")


if TYPE_CHECKING:
    _LimitSettings = BaseSettings
else:
    _LimitSettings = create_model("_LimitSettings", __base__=BaseSettings, **limit_settings())

LIMITS = tuple(limit_settings())
"""The names of the settings that are limits."""


class Settings(_LimitSettings):
    """What a server is told; the limits are attributes too, generated from Limits."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", description="address or name to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0 takes any free one")
    keys: Joined = Field(
        "user,kind,repo", description="declared keys: name or name=path, with commas"
    )
    store: Url | Maker = Field(
        "sqlite:///streamd.db",
        description="URL of the store: sqlite:///FILE, memory:, postgresql://, redis://, rediss:// or unix://",
    )
    stream: str = Field("streamd", description="name of the stream within the store")
    workers: int = Field(
        1, ge=1, le=256, description="worker processes; all but memory: can be shared"
    )
    allow_host: Texts = Field([], description="further names that this server goes by (Host)")
    allow_origin: Texts = Field([], description="web pages that may come in (Origin)")
    tls_cert: Path | None = Field(
        None, description="file with the certificate chain (PEM): speak https and wss"
    )
    tls_key: Path | None = Field(
        None, description="file with the certificate's key (PEM); none: it is in the same file"
    )
    trusted_proxy: Texts = Field(
        [], description="proxies whose X-Forwarded-For counts: addresses or networks"
    )
    allow_anonymous: Texts = Field(
        [], description="what may be done without a token: read, write, or both"
    )
    token_secret: SecretStr | None = Field(
        None, description="secret that signs tokens (HS256); others see it on a command line"
    )
    token_secret_file: Path | None = Field(
        None, description="file with this secret, or with several, one a line"
    )
    token_key_file: Path | None = Field(
        None,
        description="file with the public key of tokens, or several (PEM; RS256, ES256 or EdDSA)",
    )
    token_jwks_url: str | None = Field(
        None, description="https:// URL of the issuer's public keys (JSON Web Key Set)"
    )
    token_algorithms: Texts = Field(
        [], description="signatures allowed; none: all that are for this kind of key"
    )
    token_audience: str | None = Field(None, description="what a token must have as aud")
    token_issuer: str | None = Field(None, description="what a token must have as iss")
    token_leeway: Duration = Field(
        30.0, description="seconds by which the issuer's clock may differ"
    )
    admin_port: Annotated[int | None, OR_NONE] = Field(
        None,
        ge=0,
        le=65535,
        description="port for operators alone: /metrics, /health; 0 takes any free one",
    )
    admin_host: str = Field("127.0.0.1", description="address or name for the admin port")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="what is logged: debug, info, warning or error, and what is worse"
    )
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="how: text, json, or auto: text on a terminal, else json"
    )
    compression: bool = Field(
        False, description="compress messages for WebSockets that ask for it (permessage-deflate)"
    )
    dashboard: bool = Field(
        True, description="serve a dashboard (GET /) and an example to copy (GET /example)"
    )
    config: Path | None = Field(None, description="TOML file with settings by these names")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put flags first, then the environment, then the file that one of them names."""
        path = init_settings().get("config") or env_settings().get("config")
        file = _read_toml(Path(path)) if isinstance(path, (str, os.PathLike)) else {}
        return init_settings, env_settings, InitSettingsSource(settings_cls, file)

    @field_validator("allow_anonymous")
    @classmethod
    def _check_rights(cls, names: list[str]) -> list[str]:
        if not set(names) <= set(RIGHTS):
            raise ValueError(f"must be {' or '.join(RIGHTS)}, or both")
        return names

    @field_validator("stream")
    @classmethod
    def _check_stream(cls, name: str) -> str:
        if not _STREAM.fullmatch(name):
            raise ValueError("must be 1 to 64 letters, digits, dots, - or _")
        return name

    @property
    def limits(self) -> Limits:
        """The limits alone."""
        return Limits(**{name: getattr(self, name) for name in LIMITS})

    def to_stream(self) -> Stream:
        """Return the stream to be served; raise StartupError for keys that can't be."""
        limits = self.limits
        return Stream(self.stream, Keys.parse(self.keys, limits), limits)

    def to_door(self) -> Door:
        """Return the door; raise StartupError for hosts or origins that can't be."""
        return Door(hosts=[self.host, *self.allow_host], origins=self.allow_origin)

    def to_admin_door(self) -> Door:
        """Return the door of the admin port; raise StartupError for hosts that can't be."""
        return Door(hosts=[self.admin_host, *self.allow_host])

    @property
    def local(self) -> bool:
        """Whether nobody but this machine gets to metrics at the port of everybody."""
        return self.admin_port is None and is_loopback(self.host)

    @property
    def needs_tokens(self) -> bool:
        """Whether nobody may do anything without a token."""
        return self.to_guard(self.to_stream()).newcomer is NOBODY

    def to_guard(self, stream: Stream) -> Guard:
        """Return who may do what; raise StartupError for rules that can't be kept."""
        given = {name: getattr(self, name) for name in AccessRules.names()}
        if self.token_secret is not None:
            given["token_secret"] = self.token_secret.get_secret_value()
        return AccessRules(**given).to_guard(stream)

    def to_proxies(self) -> Proxies:
        """Return the proxies that are trusted; raise StartupError for what has no such address."""
        return Proxies(self.trusted_proxy)

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.tls_cert is not None

    def to_certificate(self) -> Certificate | None:
        """Return what the server shows its peers, if TLS is spoken; raise StartupError."""
        return None if self.tls_cert is None else Certificate(self.tls_cert, self.tls_key)

    @property
    def store_name(self) -> str:
        """What the store is called where people see it: no secret is in it."""
        if isinstance(self.store, str):
            return without_secrets(self.store)
        return getattr(self.store, "__qualname__", type(self.store).__name__)

    def check(self) -> None:
        """Raise StartupError for what no server can be started with."""
        stream = self.to_stream()
        self.to_door()
        self.to_proxies()
        self._check_access(stream)
        self._check_tls()
        limits = self.limits
        if (
            self.admin_port is None
            and self.admin_host != type(self).model_fields["admin_host"].default
        ):
            raise StartupError("admin_host is given without a port: name it with --admin-port")
        if self.port and self.admin_port == self.port:
            raise StartupError("admin_port must be another than port: it is for operators alone")
        if limits.pong >= limits.ping:
            raise StartupError("pong must be less than ping: a verdict comes before the next ping")
        if self.workers > 1:
            self._check_shared()

    def _check_access(self, stream: Stream) -> None:
        guard = self.to_guard(stream)
        if not (is_loopback(self.host) or guard.looks or self.allow_anonymous):
            raise StartupError(
                f"host {self.host} lets other machines in, and there are no access rules: name a source of "
                "tokens such as --token-secret-file, or say --allow-anonymous read,write"
            )

    def _check_tls(self) -> None:
        if self.tls_key is not None and self.tls_cert is None:
            raise StartupError("tls_key is given without a certificate: name it with --tls-cert")
        self.to_certificate()

    def _check_shared(self) -> None:
        if not isinstance(self.store, str):
            if not _importable(self.store):
                raise StartupError(
                    f"workers must be 1 with the store {self.store_name}, which other processes can't "
                    "import; for more define it by name at the top level of a module or script"
                )
        elif self.store.lower().startswith("memory:"):
            raise StartupError(
                "workers must be 1 with the store memory:, whose events only one process sees; "
                "for more name a store that they can share, such as --store sqlite:///streamd.db"
            )


def load_settings(**flags: Any) -> Settings:
    """Return the settings as flags, environment and file give them; raise StartupError.

    BadSettings has a sentence for each fault that is seen without the others being mended.
    """
    faults = list(_strangers(os.environ))
    try:
        settings = Settings(**flags)
    except ValidationError as exc:
        raise BadSettings(faults + _sentences(exc)) from None
    if faults:
        raise BadSettings(faults)
    settings.check()
    return settings


def _importable(maker: StoreMaker) -> bool:
    """Tell whether a worker process gets it: pickle sends a name, which it imports."""
    try:
        sent = pickle.dumps(maker)
    except (AttributeError, TypeError, pickle.PicklingError):
        return False
    # What was typed into an interpreter is nowhere to be imported from.
    return b"__main__" not in sent or hasattr(sys.modules["__main__"], "__file__")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise StartupError(f"config: {path} can't be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise StartupError(f"config: {path} is not TOML: {exc}") from exc


def _strangers(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each name that looks like a setting's and is none."""
    for name in environment:
        setting = name.upper().removeprefix(PREFIX)
        others = name.upper().startswith(_NOT_OURS) or name.upper() in _CLIENTS
        if setting == name.upper() or others:
            continue
        if setting.lower() not in Settings.model_fields:
            yield f"{name} is in the environment, {_no_setting(setting.lower())}"


def _no_setting(name: str) -> str:
    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "; see streamd serve --help"
    return f"but {name!r} is not a setting{hint}"


def _sentences(exc: ValidationError) -> list[str]:
    """Say what is wrong, and with which setting; never a value: it may be a secret."""
    sentences = []
    for error in exc.errors(include_input=False, include_url=False, include_context=False):
        name = str(error["loc"][0]) if error["loc"] else "settings"
        if error["type"] == "extra_forbidden":
            sentences.append(f"{name} is given, {_no_setting(name)}")
            continue
        own = error["type"] == "value_error"
        must = error["msg"].removeprefix("Value error, ") if own else f"must be {must_be(name)}"
        sentence = f"{name} (--{name.replace('_', '-')}, {PREFIX}{name.upper()}) {must}"
        if sentence not in sentences:
            sentences.append(sentence)
    return sentences


def must_be(name: str, but: Collection[str] = ()) -> str:
    """Return in words what a setting may be: its declared type and bounds, which are in its JSON Schema.

    `but` has the types of that schema which are left out.
    """
    return in_words(Settings.model_json_schema()["properties"][name], but)


def without_secrets(url: str) -> str:
    """Return a URL fit for eyes and logs: without password and query."""
    scheme, slashes, rest = url.partition("?")[0].partition("://")
    user, at, place = rest.rpartition("@")
    if at and ":" in user:
        user = f"{user.partition(':')[0]}:***"
    return f"{scheme}{slashes}{user}{at}{place}"
