"""Settings: one name each, four places, and errors that name the setting and no secret."""

import dataclasses
import pickle
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from streamd import options
from streamd.config import LIMITS, Settings, load_settings, without_secrets
from streamd.errors import StartupError
from streamd.event import Keys
from streamd.limits import Limits
from streamd.options import Options, Seconds, Size
from streamd.stores.base import Store, Stream
from streamd.stores.memory import MemoryStore


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in os.environ:
        if name.startswith("STREAMD_"):
            monkeypatch.delenv(name)


def test_defaults() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.store) == (
        "127.0.0.1",
        8080,
        "sqlite:///streamd.db",
    )
    assert settings.to_stream().keys.names == ("user", "kind", "repo")
    assert settings.limits == Limits()


def test_every_limit_is_a_setting_with_its_help() -> None:
    limits = {limit.name: limit for limit in dataclasses.fields(Limits)}
    assert set(LIMITS) == set(limits) - {"keys"}
    for name in LIMITS:
        assert Settings.model_fields[name].description == limits[name].metadata["help"]


def test_flags_before_environment_before_file_before_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "streamd.toml"
    file.write_text('window = 1\nport = 1\nkeys = "a"\nallow_host = ["x", "y"]\n')
    monkeypatch.setenv("STREAMD_WINDOW", "2")
    monkeypatch.setenv("STREAMD_PORT", "2")
    settings = load_settings(config=str(file), port="3")
    assert (settings.port, settings.limits.window, settings.keys) == (3, 2, "a")
    assert settings.allow_host == ["x", "y"]
    assert settings.limits.window_bytes == Limits().window_bytes


def test_the_environment_can_name_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "streamd.toml"
    file.write_text("port = 1\n")
    monkeypatch.setenv("STREAMD_CONFIG", str(file))
    assert load_settings().port == 1


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_age", "30d", 30 * 86400.0),
        ("max_age", "12h", 12 * 3600.0),
        ("max_age", "90s", 90.0),
        ("max_age", "1.5", 1.5),
        ("max_age", "2w", 14 * 86400.0),
        ("max_age", "none", None),
        ("max_events", "None", None),
        ("max_events", "1000", 1000),
        ("drain", "500", 500.0),
        ("window_bytes", "256MiB", 256 << 20),
        ("event_bytes", "64 KiB", 64 << 10),
        ("message_bytes", "1048576", 1 << 20),
        ("window", "1000", 1000),
    ],
)
def test_numbers_with_units(name: str, text: str, value: object) -> None:
    assert getattr(load_settings(**{name: text}).limits, name) == value


@pytest.mark.parametrize(
    "value", ["a.example,b.example", ["a.example", "b.example"], [" a.example , b.example"]]
)
def test_lists(value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(allow_host=value).allow_host == ["a.example", "b.example"]
    monkeypatch.setenv("STREAMD_ALLOW_HOST", "c.example, d.example")
    assert load_settings().allow_host == ["c.example", "d.example"]


def test_proxies_that_are_trusted() -> None:
    proxies = load_settings(trusted_proxy="10.0.0.0/8, 192.0.2.7").to_proxies()
    assert [proxies.trusts(each) for each in ("10.1.2.3", "192.0.2.7", "192.0.2.8")] == [True, True, False]  # fmt: skip
    with pytest.raises(StartupError, match=r"'proxy\.example' is not a proxy's address"):
        load_settings(trusted_proxy=["10.0.0.1", "proxy.example"])


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("false", False)])
def test_switches(text: str, value: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load_settings().compression is False
    file = tmp_path / "streamd.toml"
    file.write_text("compression = true\n")
    assert load_settings(config=file).compression is True
    monkeypatch.setenv("STREAMD_COMPRESSION", text)
    assert load_settings(config=file).compression is value
    assert load_settings(config=file, compression=not value).compression is not value


@pytest.mark.parametrize(
    "keys", ["user,kind=type", ["user", "kind=type"], ("user", "kind=type"), ["user,kind=type"]]
)
def test_keys_are_a_text_or_a_list(keys: object, tmp_path: Path) -> None:
    assert load_settings(keys=keys).to_stream().keys == Keys.parse("user,kind=type")
    file = tmp_path / "streamd.toml"
    file.write_text('keys = ["page=title", "user"]\n')
    assert load_settings(config=file).keys == "page=title,user"


def test_none_is_a_value_and_not_the_absence_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMD_MAX_AGE", "30d")
    assert load_settings().limits.max_age == 30 * 86400.0
    assert load_settings(max_age=None).limits.max_age is None


@pytest.mark.parametrize(
    ("setting", "values", "must"),
    [
        ("port", ["http", 65536, -1, 80.5, None, []], "be a whole number from 0 to 65535"),
        ("workers", [0, "257", "many"], "be a whole number from 1 to 256"),
        ("window", ["many", 0, "9" * 5000], "be a whole number of at least 1"),
        ("max_events", ["0", "all"], "be a whole number of at least 1 or none"),
        ("nesting", [0, 255], "be a whole number from 1 to 254"),
        (
            "window_bytes",
            ["7kb", "0"],
            "be a whole number of at least 1 (or with a unit: 64KiB, 1MiB)",
        ),
        ("ping", ["0", "x", "inf"], "be a number above 0 (or with a unit: 90s, 15m, 12h, 30d)"),
        (
            "max_age",
            ["3 years", "nan", -1, "0s", []],
            "be a number above 0 (or with a unit: 90s, 15m, 12h, 30d) or none",
        ),
        ("compression", ["maybe", 2, None, []], "be a boolean, true or false"),
        ("host", [5, None, ["x"]], "be a text"),
        ("keys", [5, [5], {}], "be a text or a list of texts"),
        ("allow_host", [5, [5], None], "be a text or a list of texts"),
        ("stream", ["my stream", "", "x" * 65], "be 1 to 64 letters, digits, dots, - or _"),
        ("config", [5, []], "be a path or none"),
        ("store", [5, None, []], "be a URL or a function or class that makes a store of a Stream"),
    ],
)
def test_what_a_setting_must_be_is_said_in_words(
    setting: str, values: list[object], must: str
) -> None:
    names = f"{setting} (--{setting.replace('_', '-')}, STREAMD_{setting.upper()})"
    for value in values:
        with pytest.raises(StartupError) as caught:
            load_settings(**{setting: value})
        assert str(caught.value) == f"{names} must {must}"


@pytest.mark.parametrize("setting", Settings.model_fields)
def test_no_setting_is_told_of_in_the_words_of_a_library(setting: str) -> None:
    with pytest.raises(StartupError, match=r"\) must be (a|none|one of)\b.*[^.]$") as caught:
        load_settings(**{setting: object()})
    assert "nput" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"port": "x", "window": 0}, "--window.*; port.*--port"),
        ({"ping": 5, "pong": 5}, "pong"),
        ({"allow_origin": "null"}, "origin"),
        ({"allow_host": "http://x"}, "host"),
        ({"host": "not a host"}, "host"),
        ({"keys": "user,user"}, "twice"),
        ({"keys": ""}, "key"),
        ({"workers": 2, "store": "memory:"}, "memory:"),
        ({"wimdow": 5}, "did you mean 'window'"),
        ({"config": "/no/such/file"}, "/no/such/file"),
    ],
)
def test_what_is_wrong_is_said(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(StartupError, match=named) as caught:
        load_settings(**settings)
    assert "\n" not in str(caught.value)


def test_unknown_names_are_errors_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMD_PORTS", "1")
    with pytest.raises(StartupError, match=r"STREAMD_PORTS.*did you mean 'port'"):
        load_settings()


@pytest.mark.parametrize("name", ["STREAMD_TEST_EVENTS", "STREAMD_URL", "STREAMD_CA_FILE", "PATH"])
def test_names_of_others_are_not(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    load_settings()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("colour = 1", "colour"),
        ("[limits]\nwindow = 5", "limits"),
        ("x", "TOML"),
        ("port = []", "port"),
    ],
)
def test_what_is_wrong_in_the_file(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "streamd.toml"
    file.write_text(text)
    with pytest.raises(StartupError, match=named):
        load_settings(config=str(file))


def test_values_are_not_repeated_in_errors() -> None:
    with pytest.raises(StartupError) as caught:
        load_settings(store=["redis://:secret@localhost"], port="secret")
    assert "secret" not in str(caught.value)


def test_options_are_the_settings_with_types() -> None:
    hints = get_type_hints(Options)
    assert set(hints) == set(Settings.model_fields)
    limits = get_type_hints(Limits)
    for name in LIMITS:
        size = Size if name.endswith("_bytes") else int
        time = float if name.endswith("_per_second") else Seconds
        kinds = {int: size, float: time, int | None: size | None, float | None: time | None}
        assert hints[name] == kinds[limits[name]], name
    assert hints["keys"] == hints["allow_host"] == options.Texts


def test_a_rate_is_a_number_without_a_unit() -> None:
    assert load_settings(calls_per_second="2.5").calls_per_second == 2.5
    assert load_settings(calls_per_second="none").calls_per_second is None
    for wrong in ("15m", 0, -1, "inf"):
        with pytest.raises(StartupError, match="must be a number above 0 or none"):
            load_settings(calls_per_second=wrong)


def memory_of(stream: Stream) -> Store:
    return MemoryStore("memory:", stream)


@pytest.mark.parametrize("maker", [memory_of, MemoryStore, partial(MemoryStore, "memory:")])
def test_a_store_of_ones_own_is_any_maker(maker: Callable[[Stream], Store]) -> None:
    settings = load_settings(store=maker, workers=2)
    assert settings.store == maker
    assert pickle.loads(pickle.dumps(settings)).store_name == settings.store_name
    assert re.fullmatch("memory_of|MemoryStore|partial", settings.store_name)


@pytest.mark.parametrize(
    "maker", [lambda stream: memory_of(stream), partial(lambda url, stream: memory_of(stream), "")]
)
def test_a_store_that_workers_cannot_import_is_for_one(maker: Callable[[Stream], Store]) -> None:
    load_settings(store=maker)
    with pytest.raises(StartupError, match=r"workers must be 1 .* other processes can't import"):
        load_settings(store=maker, workers=2)


def test_settings_can_be_sent_to_worker_processes() -> None:
    settings = load_settings(port=0, max_age="1d", allow_host="x")
    assert pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory:", "memory:"),
        ("redis://localhost:6379/1", "redis://localhost:6379/1"),
        ("redis://:pass@localhost", "redis://:***@localhost"),
        ("rediss://me:p@ss@localhost/0?password=x", "rediss://me:***@localhost/0"),
        ("redis://me@localhost", "redis://me@localhost"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock"),
    ],
)
def test_urls_are_shown_without_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
