"""Settings: one name each, four places, and errors that name the setting and no secret."""

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest

from streamd.config import LIMITS, Settings, load_settings, without_secrets
from streamd.errors import StartupError
from streamd.limits import Limits


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in os.environ:
        if name.startswith("STREAMD_"):
            monkeypatch.delenv(name)


def test_defaults() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.store) == ("127.0.0.1", 8080, "memory:")
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
    settings = load_settings(config=str(file), port="3", keys=None)
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


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"port": "http"}, "--port"),
        ({"port": 65536}, "--port"),
        ({"port": -1}, "--port"),
        ({"workers": 0}, "--workers"),
        ({"window": "many"}, "--window"),
        ({"window": 0}, "--window"),
        ({"window_bytes": "7kb"}, "--window-bytes"),
        ({"max_age": "3 years"}, "--max-age"),
        ({"max_age": "nan"}, "--max-age"),
        ({"ping": "0"}, "--ping"),
        ({"ping": 5, "pong": 5}, "pong"),
        ({"stream": "my stream"}, "--stream"),
        ({"stream": ""}, "--stream"),
        ({"stream": "x" * 65}, "--stream"),
        ({"allow_origin": "null"}, "origin"),
        ({"allow_host": "http://x"}, "host"),
        ({"host": "not a host"}, "host"),
        ({"keys": "user,user"}, "twice"),
        ({"keys": ""}, "key"),
        ({"workers": 2}, "memory:"),
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


@pytest.mark.parametrize("name", ["STREAMD_TEST_EVENTS", "STREAMD_URL", "PATH"])
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
