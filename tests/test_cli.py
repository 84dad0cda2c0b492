"""The command `streamd serve`: its options are the settings, its help says so."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from streamd.config import Settings


def streamd(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if "STREAMD" not in name}
    return subprocess.run(
        [sys.executable, "-m", "streamd", *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=inherited | {"COLUMNS": "120", "TERM": "dumb", "NO_COLOR": "1"} | environment,
    )


def test_help_has_every_setting() -> None:
    done = streamd("serve", "--help")
    assert done.returncode == 0
    named = set(re.findall(r"--([a-z-]+)", done.stdout))
    assert {name.replace("_", "-") for name in Settings.model_fields} <= named
    assert "STREAMD_PORT" in done.stdout


def test_without_a_command_it_says_what_there_is() -> None:
    done = streamd()
    assert "serve" in done.stdout + done.stderr
    assert done.returncode == 2


def test_a_command_that_asks_a_server_does_not_wait_for_what_a_server_is_made_of() -> None:
    program = "import atexit, sys; from streamd.cli import main; atexit.register(lambda: print(*sys.modules)); main()"
    command = [sys.executable, "-c", program, "items", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    imported = told.splitlines()[-1].split()
    assert "streamd.commands.items" in imported
    assert set(imported).isdisjoint(["streamd.config", "streamd.server", "sqlalchemy", "jwt"])


@pytest.mark.parametrize("words", [["serve", "--colour"], ["serve", "red"], ["nothing"]])
def test_wrong_usage(words: list[str]) -> None:
    done = streamd(*words)
    assert (done.returncode, done.stdout) == (2, "")


def test_settings_that_cannot_be() -> None:
    for done in (streamd("serve", "--window", "0"), streamd("serve", STREAMD_WINDOW="0")):
        assert done.returncode == 1
        assert done.stderr == (
            "streamd: window (--window, STREAMD_WINDOW) must be a whole number of at least 1\n"
        )


def test_unknown_name_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "streamd.toml"
    file.write_text("wimdow = 5\n")
    done = streamd("serve", "--config", str(file))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "wimdow" in done.stderr


@pytest.mark.parametrize(
    ("keys", "feed", "rest", "kept", "dashboard"),
    [
        (
            "user,page=title",
            " user=291",
            "",
            "sqlite:///streamd.db   (the events are kept in",
            r"dashboard  http://127\.0\.0\.1:[1-9]\d*/\n",
        ),
        (
            "user=actor.id",
            "",
            'store = "memory:"\ndashboard = false',
            "memory:   (the events live as long as this",
            r"dashboard  none\n",
        ),
    ],
)
def test_what_it_says_at_its_start(
    tmp_path: Path, keys: str, feed: str, rest: str, kept: str, dashboard: str
) -> None:
    file = tmp_path / "streamd.toml"
    file.write_text(f'keys = "{keys}"\nport = 0\n{rest}\n')
    environment = {name: value for name, value in os.environ.items() if "STREAMD" not in name}
    process = subprocess.Popen(
        [sys.executable, "-m", "streamd", "serve", "--config", str(file)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment | {"STREAMD_STREAM": "edits"},
        cwd=tmp_path,
    )
    try:
        assert process.stdout is not None
        said = "".join(process.stdout.readline() for _ in range(10))
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert re.search(r"ws://127\.0\.0\.1:[1-9]\d*/ and http://127\.0\.0\.1:[1-9]\d*/", said)
    assert re.search(dashboard, said)
    assert re.search(r"metrics    http://127\.0\.0\.1:[1-9]\d*/metrics\n", said)
    assert kept in said
    assert (tmp_path / "streamd.db").exists() is ("sqlite" in kept)
    assert keys in said
    assert "edits" in said
    assert f"  {sys.executable} -m streamd insert '{{" in said
    assert f"  {sys.executable} -m streamd tail{feed} --url ws://" in said
    assert process.returncode == 0
