"""`streamd config`: every setting is shown, and every fault of those that are given."""

import os
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streamd.config import LIMITS, Settings
from tests.transports.certificates import make

SECRET = "hunter2-hunter2-hunter2-hunter2-hunter2"


def config(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMD_")}
    return subprocess.run(
        [sys.executable, "-m", "streamd", "config", *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=kept | environment,
    )


def uncommented(text: str) -> str:
    """Return it with every setting switched on; those without a default stay off."""
    return re.sub(r"^#(\w+(?: = |=).+)$", r"\1", text, flags=re.M)


def test_the_file_has_every_setting_with_its_default(tmp_path: Path) -> None:
    shown = config("default")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert tomllib.loads(shown.stdout) == {}, "nothing is set before somebody sets it"
    file = tmp_path / "streamd.toml"
    file.write_text(uncommented(shown.stdout))
    given = tomllib.loads(file.read_text())
    fields = {name: field.default for name, field in Settings.model_fields.items()}
    without = {name for name, value in fields.items() if value is None and name not in LIMITS}
    assert given.keys() == fields.keys() - without
    assert Settings(config=file).model_dump(exclude={"config"}) == {
        name: value for name, value in fields.items() if name != "config"
    }
    for name in without - {"config"}:
        assert f"\n#{name} =\n" in shown.stdout
    checked = config("check", str(file))
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "given are host, port, keys" in checked.stdout


def test_the_environment_has_every_setting_with_its_default() -> None:
    shown = config("env")
    assert (shown.returncode, shown.stderr) == (0, "")
    names = re.findall(r"^#STREAMD_([A-Z_]+)=", shown.stdout, re.M)
    assert sorted(names) == sorted(name.upper() for name in Settings.model_fields)
    given = dict(
        line.split("=", 1)
        for line in uncommented(shown.stdout).splitlines()
        if line and not line.startswith("#")
    )
    checked = config("check", **given)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_it_says_what_each_setting_means_and_may_be() -> None:
    for text in (config("default").stdout, config("env").stdout):
        for name, field in Settings.model_fields.items():
            assert name == "config" or f"# {field.description}: " in text, name
        assert "# port to listen on; 0 takes any free one: a whole number from 0 to 65535\n" in text


def test_it_names_no_kind_of_value_that_can_not_be_written_there() -> None:
    file, environment = config("default").stdout, config("env").stdout
    for text in (file, environment):
        assert "redis://, rediss:// or unix://: a URL\n" in text, "a class is for programs alone"
    assert "name=path, with commas: a text or a list of texts\n" in file
    assert "name=path, with commas: a text\n" in environment


def test_the_defaults_are_right_and_so_is_what_is_given_well() -> None:
    done = config("check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("streamd: the settings are right; none is given, all are the defaults\n")
    done = config("check", STREAMD_STORE=f"redis://:{SECRET}@127.0.0.1/", STREAMD_WORKERS="2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "streamd: the settings are right; given are store, workers\n"


def test_each_fault_is_a_sentence_and_no_value_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "streamd.toml"
    file.write_text(f'wimdow = "{SECRET}"\nport = "{SECRET}"\nmax_age = "{SECRET}"\n')
    environment = {"STREAMD_WORKERS": SECRET, "STREAMD_COLOUR": SECRET, "STREAMD_PONGS": SECRET}
    done = config("check", str(file), **environment)
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 6
    assert all(line.startswith("streamd: ") for line in lines)
    for name in ("wimdow", "port", "max_age", "workers", "COLOUR", "did you mean 'pong'"):
        assert sum(name in line for line in lines) == 1, name
    assert SECRET not in done.stderr


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ping = 5\npong = 6\n", "pong must be less than ping: a verdict comes before"),
        ('store = "memory:"\nworkers = 2\n', "workers must be 1 with the store memory:"),
        ('keys = "a b"\n', "'a b' is not a key"),
        ('store = "memory"\n', "there is no store 'memory'"),
        ('store = "mysql://h/x"\n', "there is no store 'mysql:'"),
        ('store = "redis://h:99999"\n', "is not one of redis://HOST:PORT/DB"),
        ('store = "sqlite://x"\n', "is not one of sqlite:///FILE"),
        ('admin_host = "0.0.0.0"\n', "name it with --admin-port"),
        ("port = \n", "is not TOML"),
        (None, "can't be read"),
    ],
)
def test_what_does_not_fit_together_is_told(
    tmp_path: Path, text: str | None, sentence: str
) -> None:
    file = tmp_path / "streamd.toml"
    if text is not None:
        file.write_text(text)
    done = config("check", str(file))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert sentence in done.stderr


def test_a_certificate_that_has_expired_is_told_and_keeps_nobody_from_starting(
    tmp_path: Path,
) -> None:
    files = make(tmp_path, end=datetime(2020, 1, 2, tzinfo=UTC))
    done = config("check", STREAMD_TLS_CERT=str(files.both))
    assert done.stderr == (
        f"streamd: the certificate in {files.both} has expired: clients that check it stay away\n"
    )
    assert (done.returncode, "the settings are right" in done.stdout) == (0, True)
    make(tmp_path)
    done = config("check", STREAMD_TLS_CERT=str(files.both))
    assert (done.returncode, done.stderr) == (0, "")


def test_without_the_package_that_reads_certificates_it_says_so(tmp_path: Path) -> None:
    files = make(tmp_path, end=datetime(2020, 1, 2, tzinfo=UTC))
    program = "import sys; sys.modules['cryptography'] = None; from streamd.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "config", "check"],
        env=os.environ | {"STREAMD_TLS_CERT": str(files.both)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == (
        f"streamd: when the certificate in {files.both} ends is not known, so nothing will tell of it: "
        "pip install 'streamd[crypto]'\n"
    )
    assert (done.returncode, "the settings are right" in done.stdout) == (0, True)


def test_a_certificate_that_has_no_plain_form_is_no_reason_to_install_anything(
    tmp_path: Path,
) -> None:
    files = make(tmp_path)
    text = files.cert.read_text()
    files.cert.write_text(text.replace(" CERTIFICATE-", " TRUSTED CERTIFICATE-"))  # OpenSSL's own
    done = config("check", STREAMD_TLS_CERT=str(files.cert), STREAMD_TLS_KEY=str(files.key))
    assert done.stderr == (
        f"streamd: when the certificate in {files.cert} ends is not known, so nothing will tell of it: "
        "give it as plain PEM (BEGIN CERTIFICATE)\n"
    )
    assert (done.returncode, "the settings are right" in done.stdout) == (0, True)


def test_without_a_command_it_says_what_there_is() -> None:
    done = config()
    assert all(name in done.stdout + done.stderr for name in ("default", "env", "check"))
