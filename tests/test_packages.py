"""What is packed for others has in it all that a server serves."""

import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import orjson
import pytest

from streamd import __version__
from streamd.transports.pages import read_pages
from tests.documents import ROOT

PROGRAM = """
import json, streamd
from streamd.transports.pages import read_pages
tags = {path: page.headers["ETag"] for path, page in read_pages(dashboard=True).items()}
print(json.dumps([streamd.__file__, tags]))
"""


def build(source: Path, target: Path, *kinds: str) -> None:
    wanted = [word for kind in kinds for word in ("-t", kind)]
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target), *wanted]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution of this checkout."""
    folder = tmp_path_factory.mktemp("built")
    build(ROOT, folder, "wheel", "sdist")
    return folder


def wheel_in(folder: Path) -> ZipFile:
    (file,) = folder.glob("*.whl")
    return ZipFile(file)


def test_an_installed_server_serves_what_the_checkout_does(built: Path, tmp_path: Path) -> None:
    with wheel_in(built) as wheel:
        wheel.extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    package, tags = orjson.loads(done.stdout)
    assert Path(package) == tmp_path / "streamd" / "__init__.py"
    assert tags == {path: page.headers["ETag"] for path, page in read_pages(dashboard=True).items()}


def test_nothing_else_of_the_checkout_is_installed(built: Path) -> None:
    with wheel_in(built) as wheel:
        names = [Path(name) for name in wheel.namelist()]
    code = {".css", ".html", ".js", ".lua", ".py", ".svg", ".typed"}
    assert {name.parts[0] for name in names} == {
        "streamd",
        f"streamd-{__version__}.dist-info",
    }
    assert {name.suffix for name in names if name.parts[0] == "streamd"} <= code


def test_the_source_distribution_makes_the_same_wheel(built: Path, tmp_path: Path) -> None:
    (file,) = built.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        archive.extractall(tmp_path, filter="data")
    build(tmp_path / file.name.removesuffix(".tar.gz"), tmp_path, "wheel")
    with wheel_in(built) as wheel, wheel_in(tmp_path) as again:
        assert {each.filename: each.CRC for each in again.infolist()} == {
            each.filename: each.CRC for each in wheel.infolist()
        }


def test_what_is_packed_by_itself_brings_the_licence() -> None:
    licence = (ROOT / "LICENSE").read_text()
    for package in ("python", "js"):
        assert (ROOT / "clients" / package / "LICENSE").read_text() == licence
