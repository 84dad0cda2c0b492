"""A module imports only from lower floors; the pure ones know no I/O; each has its tests."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import streamd

ROOT = Path(streamd.__file__).parent
TESTS = Path(__file__).parent

FLOORS = (
    (
        "cells",
        "closing",
        "collector",
        "deadlines",
        "errors",
        "fairqueue",
        "types",
        "outbox",
        "systemd",
        "turns",
        "units",
    ),
    ("limits", "cursor", "logs", "meters", "tokens"),
    ("jsonrpc", "log", "rates", "schemas"),
    ("exchange", "jwks", "signatures"),
    ("event", "notifications", "openrpc"),
    ("asyncapi", "columns", "filters"),
    ("access", "index", "matcher", "stores.base"),
    ("guard", "ledger", "stores.failure", "stores.outage", "window"),
    ("metrics", "stores.retention"),
    ("search", "subscription", "stores", "stores.measured", "stores.placing", "options", "walk"),
    ("view", "moving", "checking", "stores.memory", "stores.redis.*", "stores.sql.*"),
    ("catchup", "committer", "progress"),
    ("fanout",),
    ("hub", "calls"),
    ("inserts", "measured", "queries", "watch"),
    ("explanations", "feeds"),
    ("methods",),
    ("oneshot", "session"),
    ("worker",),
    ("transports.*",),
    ("kinds", "rules"),
    ("address", "config"),
    ("application",),
    ("process",),
    ("server",),
    ("commands.*",),
    ("cli",),
    ("__main__",),
)
"""From the lowest up. The modules of `x.*` may import each other, in no circle."""

PURE = (
    "errors", "types", "closing", "limits", "cursor", "jsonrpc", "log", "schemas", "signatures", "openrpc", "asyncapi", "event", "notifications", "filters",
    "access", "rates", "columns", "index", "matcher", "window", "exchange", "fairqueue", "units",
)  # fmt: skip
"""They do no I/O, know no clock and no chance: values in, values out."""

IMPURE = {
    "asyncio", "concurrent", "datetime", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random",
    "secrets", "select", "selectors", "signal", "socket", "ssl", "subprocess", "sys", "threading", "time", "urllib",
}  # fmt: skip

TECHNOLOGIES = {
    "aiosqlite": ("stores.sql",),
    "asyncpg": ("stores.sql",),
    "cryptography": ("transports.x509",),
    "hiredis": ("stores.redis",),
    "httptools": ("transports",),
    "jwt": ("tokens",),
    "prometheus_client": ("metrics",),
    "pydantic": ("config", "kinds"),
    "pydantic_settings": ("config", "kinds"),
    "redis": ("stores.redis",),
    "rich": ("commands",),
    "socket": ("transports", "address", "application", "process", "server", "systemd"),
    "sqlalchemy": ("stores.sql",),
    "sqlite3": ("stores.sql",),
    "ssl": ("transports", "commands"),
    "starlette": ("transports", "application"),
    "structlog": ("logs",),
    "streamd_client": ("commands",),
    "typer": ("commands", "cli"),
    "uvicorn": ("transports", "process"),
    "uvloop": ("process",),
    "websockets": ("transports",),
}
"""A technology stays in its place: the packages or modules that may import it."""

ELSEWHERE = {
    "__init__": "test_library.py",
    "__main__": "test_cli.py",
    "application": "test_server.py",
    "checking": "stores/test_checking.py",
    "closing": "test_documents.py",
    "commands": None,
    "commands.serve": "test_cli.py",
    "kinds": "test_config.py",
    "moving": "stores/test_moving.py",
    "options": "test_config.py",
    "process": "test_server.py",
    "stores": "stores/test_contract.py",
    "stores.base": "stores/test_contract.py",
    "stores.memory": "stores/test_contract.py",
    "transports": None,
    "transports.admin": "transports/test_operations.py",
    "transports.gate": "transports/test_handshake.py",
    "transports.seat": "transports/test_census.py",
    "types": None,
    "walk": "stores/test_walk.py",
    "units": "test_config.py",
}
"""Modules whose tests have another name, or that hold nothing to test."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


SOURCES = {name_of(path): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}


def imported(name: str) -> Iterator[str]:
    """Yield the full names of the modules that a module imports, wherever in it."""
    for node in ast.walk(SOURCES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}".removeprefix("streamd.")
                yield f"streamd.{inner}" if inner in SOURCES else node.module


def inner_imports(name: str) -> set[str]:
    """Return the modules of streamd that a module imports, but for the package itself."""
    found = {
        each.removeprefix("streamd.") for each in imported(name) if each.startswith("streamd.")
    }
    return found & set(SOURCES)


def floor_of(name: str) -> int:
    for number, names in enumerate(FLOORS):
        if name in names or any(
            pattern.endswith(".*") and f"{name}.".startswith(pattern[:-1]) for pattern in names
        ):
            return number
    raise AssertionError(f"{name} is on no floor: give it one")


def family_of(name: str) -> str | None:
    """Return the package whose modules may import each other."""
    for pattern in (pattern for names in FLOORS for pattern in names if pattern.endswith(".*")):
        if f"{name}.".startswith(pattern[:-1]):
            return pattern
    return None


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "__init__"])
def test_imports_point_down(name: str) -> None:
    for below in inner_imports(name):
        same_family = family_of(name) is not None and family_of(name) == family_of(below)
        assert floor_of(below) < floor_of(name) or same_family, f"{name} imports {below}"


def test_there_is_no_circle() -> None:
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " → ".join((*path, name))
        if name not in done:
            for below in inner_imports(name):
                walk(below, (*path, name))
            done.add(name)

    for name in SOURCES:
        walk(name, ())


def test_every_floor_is_lived_on() -> None:
    for names in FLOORS:
        for name in names:
            if name.endswith(".*"):
                assert any(f"{module}.".startswith(name[:-1]) for module in SOURCES), name
            else:
                assert name in SOURCES, name


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_know_no_input_and_output(name: str) -> None:
    for module in imported(name):
        top = module.partition(".")[0]
        assert top not in IMPURE, f"{name} imports {module}"
        assert top in sys.stdlib_module_names | {"streamd", "orjson"}, f"{name} imports {module}"
        if top == "streamd":
            assert module.removeprefix("streamd.") in PURE, f"{name} imports {module}"


@pytest.mark.parametrize("technology", TECHNOLOGIES)
def test_a_technology_stays_in_its_place(technology: str) -> None:
    for name in SOURCES:
        if any(module.partition(".")[0] == technology for module in imported(name)):
            places = TECHNOLOGIES[technology]
            assert any(f"{name}.".startswith(f"{place}.") for place in places), name


@pytest.mark.parametrize("name", SOURCES)
def test_every_module_has_its_tests(name: str) -> None:
    if name.startswith("stores.redis"):
        place: str | None = "stores/redis/test_store.py"
    elif name.startswith("stores.sql"):
        place = "stores/test_sql.py"
    elif name in ELSEWHERE:
        place = ELSEWHERE[name]
    else:
        *packages, last = name.split(".")
        place = "/".join([*packages, f"test_{last}.py"])
    assert place is None or (TESTS / place).exists(), f"{name} has no tests at {place}"
