"""The files of deploy/: what can be run of them is run, the rest is read and held against the settings."""

import asyncio
import http.client
import json
import logging
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import orjson
import pytest
import trustme
import yaml
from streamd_client import connect
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import InvalidStatus

from streamd.config import PREFIX, Settings
from streamd.limits import Limits
from streamd.server import RunningServer
from tests.documents import ROOT
from tests.harness import running, until
from tests.services import RedisServer, free_port, need
from tests.services.process import Guard
from tests.transports.certificates import make

DEPLOY = ROOT / "deploy"
OURS = ("Dockerfile", "compose.yaml", "nginx.conf", "streamd.service")
NAME = "feed.example.org"
"""The name that the example for nginx serves."""
UNITS = {"s": 1, "ms": 0.001, "m": 60}


def text_of(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)([a-z]+)", text)
    assert found, text
    return int(found[1]) * UNITS[found[2]]


def checked(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Return what `streamd config check` says of an environment."""
    kept = {name: value for name, value in os.environ.items() if PREFIX not in name}
    return subprocess.run(
        [sys.executable, "-m", "streamd", *(words or ("config", "check"))],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("name", OURS)
def test_the_settings_that_are_named_exist(name: str) -> None:
    named = set(re.findall(rf"\b{PREFIX}([A-Z_]+)", text_of(name)))
    assert named
    assert named <= {setting.upper() for setting in Settings.model_fields}


@pytest.mark.parametrize("name", OURS)
def test_the_defaults_that_are_told_are_those_of_the_settings(name: str) -> None:
    for setting, told in re.findall(rf"\b{PREFIX}([A-Z_]+), (\d+ s|1 MiB)", text_of(name)):
        default = getattr(Limits(), setting.lower())
        assert told == ("1 MiB" if default == 1 << 20 else f"{default:g} s")


# The image.


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, in order."""
    text = re.sub(r"^\s*#.*\n", "", text_of("Dockerfile"), flags=re.M)
    lines = re.sub(r"\s*\\\n\s*", " ", text).splitlines()
    pairs = [line.split(None, 1) for line in lines if line.strip()]
    return [(word, rest) for word, rest in pairs]


def last_stage() -> dict[str, str]:
    """Return the instructions of the image itself; of some there is one only."""
    found = instructions()
    (start,) = [n for n, (word, rest) in enumerate(found) if word == "FROM" and " AS " not in rest]
    return dict(found[start:])


def variables() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in last_stage()["ENV"].split())


def test_every_instruction_of_the_image_is_one() -> None:
    known = {
        "FROM", "WORKDIR", "COPY", "RUN", "ENV", "VOLUME", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK",
        "ENTRYPOINT", "CMD",
    }  # fmt: skip
    assert {word for word, _ in instructions()} <= known
    assert [word for word, _ in instructions()].count("FROM") == 2
    for word, rest in instructions():
        if word == "FROM":
            assert re.match(r"python:3\.\d+-slim( AS build)?$", rest), rest


def test_the_image_runs_the_server_itself_and_not_as_root() -> None:
    stage = last_stage()
    assert json.loads(stage["ENTRYPOINT"]) == ["streamd"]
    assert json.loads(stage["CMD"]) == ["serve"]
    assert stage["STOPSIGNAL"] == "SIGTERM"
    assert int(stage["USER"]) > 0
    assert f"--uid {stage['USER']} " in stage["RUN"]
    assert int(stage["EXPOSE"]) == Settings.model_fields["port"].default
    assert [word for word, _ in instructions()].index("USER") < [
        word for word, _ in instructions()
    ].index("ENTRYPOINT")


def test_the_image_starts_only_when_it_is_said_who_may_come_in() -> None:
    given = {name: value for name, value in variables().items() if name.startswith(PREFIX)}
    done = checked(given)
    assert done.returncode == 1
    assert "--allow-anonymous" in done.stderr
    assert checked(given | {"STREAMD_ALLOW_ANONYMOUS": "read"}).returncode == 0
    path = given["STREAMD_STORE"].removeprefix("sqlite:///")
    assert Path(path).parent == Path(last_stage()["VOLUME"])


def test_every_extra_is_in_the_image() -> None:
    (install,) = [rest for word, rest in instructions() if "pip install" in rest]
    (extras,) = re.findall(r"'\.\[(.*?)\]'", install)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (declared,) = re.findall(
        r"^\[project\.optional-dependencies\]\n(.*?)\n\n", project, re.M | re.S
    )
    assert set(extras.split(",")) == set(re.findall(r"^([a-z]+) = ", declared, re.M))


def test_what_is_copied_is_enough_to_build_the_wheels(tmp_path: Path) -> None:
    source, here, there = tmp_path / "src", tmp_path / "here", tmp_path / "there"
    source.mkdir()
    excluded = shutil.ignore_patterns("__pycache__", "node_modules", "tests")
    for word, rest in instructions():
        if word == "COPY" and "--from" not in rest:
            *names, target = rest.split()
            for name in names:
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, source / target, ignore=excluded)
                else:
                    shutil.copy(ROOT / name, source / target)
    for project in (".", "clients/python"):
        for root, target in ((ROOT, here), (source, there)):
            command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
            subprocess.run(command, cwd=root / project, check=True, capture_output=True)
    assert len(list(here.iterdir())) == 2
    for wheel in here.iterdir():
        assert ZipFile(there / wheel.name).namelist() == ZipFile(wheel).namelist()


def test_what_is_copied_is_not_kept_from_the_builder() -> None:
    ignored = text_of("Dockerfile.dockerignore").splitlines()
    assert ignored[0] == "*"
    kept = {line[1:] for line in ignored if line.startswith("!")}
    sources = {
        name
        for word, rest in instructions()
        if word == "COPY" and "--from" not in rest
        for name in rest.split()[:-1]
    }
    assert kept == sources
    assert all((ROOT / name).exists() for name in sources)


@pytest.mark.parametrize("secure", [False, True])
async def test_the_image_knows_whether_it_is_alive(tmp_path: Path, secure: bool) -> None:
    options, _, command = last_stage()["HEALTHCHECK"].partition(" CMD ")
    assert re.fullmatch(r"(--[a-z-]+=\w+ ?)+", options)
    program, *words = json.loads(command)
    assert program == "python"
    assert int(variables()["STREAMD_ADMIN_PORT"]) != Settings.model_fields["port"].default
    port = free_port()

    async def alive() -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            env={"STREAMD_ADMIN_PORT": str(port)},
            stderr=subprocess.DEVNULL,
        )
        return await asyncio.wait_for(process.wait(), 30)

    tls = make(tmp_path).options if secure else {}
    scheme = "wss" if secure else "ws"
    rules = {"host": "0.0.0.0", "allow_anonymous": "read", "connections": 1}
    async with running(admin_port=port, **rules, **tls) as server:
        trusted = ssl.create_default_context(cafile=tmp_path / "ca.pem") if secure else None
        async with open_websocket(f"{scheme}://127.0.0.1:{server.port}/", ssl=trusted):
            assert await alive() == 0, "it is full, and well"
    assert await alive() != 0


# With Redis.


def services() -> dict[str, Any]:
    compose = yaml.safe_load(text_of("compose.yaml"))
    assert compose.keys() <= {"name", "services", "volumes"}
    found: dict[str, Any] = compose["services"]
    for service in found.values():
        mounted = [mount.partition(":")[0] for mount in service.get("volumes", ())]
        assert set(mounted) <= compose["volumes"].keys()
        assert service.get("depends_on", {}).keys() <= found.keys()
        assert seconds(service["stop_grace_period"]) > Limits().drain
    return found


def test_the_two_of_compose_fit_together() -> None:
    service = services()["streamd"]
    build = service["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    given = {name: value for name, value in variables().items() if name.startswith(PREFIX)}
    done = checked(given | service["environment"])
    assert (done.returncode, done.stderr) == (0, "")
    assert int(service["environment"]["STREAMD_WORKERS"]) == 2
    assert (
        re.fullmatch(r"redis://(\w+):6379/\d", service["environment"]["STREAMD_STORE"])[1]
        in services()
    )  # type: ignore[index]
    (port,) = service["ports"]
    assert port == f"127.0.0.1:8080:{last_stage()['EXPOSE']}", (
        "anybody may come in: not from outside"
    )
    assert service["depends_on"]["redis"]["condition"] == "service_healthy"
    assert "healthcheck" in services()["redis"]


@pytest.mark.redis
async def test_redis_runs_as_compose_has_it_and_streamd_serves_on_it(
    new_redis: Callable[..., RedisServer], stream_name: str
) -> None:
    program, *words = services()["redis"]["command"]
    assert program == "redis-server"
    options = {
        name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)
    }
    assert all(word.startswith("--") for word in words[::2])
    server = new_redis(**options)
    get: Callable[[str], Any] = server.client.config_get
    assert get("appendonly") == {"appendonly": "yes"}
    assert get("appendfsync") == {"appendfsync": "always"}
    assert get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert get("maxmemory") == {"maxmemory": str(1 << 30)}
    limits = get("client-output-buffer-limit")["client-output-buffer-limit"]
    assert f"pubsub {128 << 20} {64 << 20} 60" in limits
    async with running(store=server.url, stream=stream_name) as streamd:
        async with connect(streamd.ws_url) as client:
            await client.insert({"user": 291})
            assert await client.items(user=291) == [{"user": 291}]


# As a service.


def unit() -> dict[str, dict[str, list[str]]]:
    """Return the unit by section and name; a name may come several times."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in text_of("streamd.service").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
            found[section] = {}
        elif "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[section].setdefault(name, []).append(value)
    return found


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    streamd = Path(sys.executable).parent / "streamd"
    (tmp_path / "streamd.service").write_text(
        text_of("streamd.service").replace("/opt/streamd/bin/streamd", str(streamd))
    )
    done = subprocess.run(
        [need("systemd-analyze"), "verify", str(tmp_path / "streamd.service")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_tries_on_while_the_store_is_not_there() -> None:
    assert unit()["Unit"]["StartLimitIntervalSec"] == ["0"], "else five quick failures are the end"
    assert unit()["Service"]["Restart"] == ["always"]


def test_the_unit_leaves_the_server_its_time_and_its_files() -> None:
    service = unit()["Service"]
    assert service["Type"] == ["notify"]
    assert seconds(service["WatchdogSec"][0]) > 10, "a sign of life comes each second"
    assert seconds(service["TimeoutStopSec"][0]) > Limits().drain
    assert int(service["LimitNOFILE"][0]) >= 65_536
    (store,) = service["Environment"]
    assert store == f"STREAMD_STORE={variables()['STREAMD_STORE']}"
    assert service["WorkingDirectory"] == [f"/var/lib/{service['StateDirectory'][0]}"]
    for name in ("ExecStartPre", "ExecStart"):
        (command,) = service[name]
        done = checked({}, *command.split()[1:], "--help")
        assert done.returncode == 0


# Behind nginx.


def settings_of(directive: str) -> list[str]:
    return re.findall(rf"^\s*{directive} (.*?);", text_of("nginx.conf"), re.M)


def test_nginx_waits_longer_than_the_server() -> None:
    limits = Limits()
    for directive in ("proxy_read_timeout", "proxy_send_timeout"):
        (time,) = settings_of(directive)
        assert seconds(time) > max(limits.ping + limits.pong, limits.write_deadline)
    (kept,) = settings_of("keepalive_timeout")
    assert seconds(kept) < limits.header_deadline
    assert settings_of("client_max_body_size") == ["2m"]
    assert limits.message_bytes < 2 << 20


@asynccontextmanager
async def fronted(server: RunningServer, authority: trustme.CA, folder: Path) -> AsyncIterator[int]:
    """Run the example in front of a server; yield its port."""
    port = free_port()
    certificate = authority.issue_cert("feed.example.org", "localhost")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    example = text_of("nginx.conf")
    for told, real in (
        ("127.0.0.1:8080", f"127.0.0.1:{server.port}"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/certs/feed.example.org.pem", str(folder / "cert.pem")),
        ("/etc/ssl/private/feed.example.org.key", str(folder / "key.pem")),
    ):
        assert example.count(told) == 1
        example = example.replace(told, real)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user}daemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{example}\n}}\n"
    )
    command = [
        need("nginx", Path("/usr/sbin")),
        "-p",
        str(folder),
        "-c",
        str(folder / "nginx.conf"),
    ]
    done = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr
    guard = Guard(command, log=folder / "log", end="TERM")
    try:
        await until(lambda: listens(port))
        yield port
    finally:
        await asyncio.to_thread(guard.end)


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


async def test_nginx_lets_those_in_whom_the_server_lets_in(tmp_path: Path) -> None:
    authority = trustme.CA()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    page = "https://feed.example.org"
    async with running(allow_host="feed.example.org") as server:
        async with fronted(server, authority, tmp_path) as port:

            def through(origin: str) -> open_websocket:
                address = {"host": "127.0.0.1", "port": port, "server_hostname": NAME}
                return open_websocket(
                    f"wss://{NAME}/", ssl=trust, origin=origin, proxy=None, **address
                )

            async with through(page) as websocket:
                subscribe = {"jsonrpc": "2.0", "id": 1, "method": "subscribe"}
                await websocket.send(orjson.dumps(subscribe).decode())
                assert orjson.loads(await websocket.recv())["result"]["live"]
                status, answer = await asyncio.to_thread(post, port, trust, page)
                assert (status, answer["result"]["duplicate"]) == (200, False)
                assert orjson.loads(await websocket.recv())["params"]["event"] == {"user": 291}
            with pytest.raises(InvalidStatus, match="403"):
                await through("https://evil.example").__aenter__()
            status, _ = await asyncio.to_thread(post, port, trust, "https://evil.example")
            assert status == 403
            status, answer = await asyncio.to_thread(post, port, trust, page, b" " * (1 << 20))
            assert (status, answer["error"]["code"]) == (413, -32004)
            status, _ = await asyncio.to_thread(ask, port, trust, "GET", "/metrics")
            assert status == 404


async def test_nginx_lets_the_quiet_stay_and_says_who_comes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    authority = trustme.CA()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with (
        running(allow_host=NAME, trusted_proxy="127.0.0.1", ping=1, pong=0.5) as server,
        fronted(server, authority, tmp_path) as port,
    ):
        async with open_websocket(
            f"wss://{NAME}/",
            ssl=trust,
            proxy=None,
            ping_interval=None,
            host="127.0.0.1",
            port=port,
            server_hostname=NAME,
            local_addr=("127.0.0.2", 0),
        ) as websocket:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(websocket.recv(), 2.5)
            await websocket.send('{"jsonrpc": "2.0", "id": 1, "method": "ping"}')
            assert orjson.loads(await websocket.recv())["result"] == "pong"
        await until(lambda: gone(caplog))
        assert [record.__dict__["address"] for record in gone(caplog)] == ["127.0.0.2"]
        for path, content in (("/", b"<!doctype html>"), ("/streamd.js", b"export")):
            status, body = await asyncio.to_thread(ask, port, trust, "GET", path)
            assert (status, content in body.lower()) == (200, True)


def gone(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.message == "disconnected"]


def ask(
    port: int, trust: ssl.SSLContext, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, bytes]:
    connection = http.client.HTTPSConnection("localhost", port, context=trust, timeout=30)
    try:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Host": NAME} | given)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def post(port: int, trust: ssl.SSLContext, origin: str, more: bytes = b"") -> tuple[int, Any]:
    call = {"jsonrpc": "2.0", "id": 1, "method": "insert", "params": {"event": {"user": 291}}}
    headers = {"Content_Type": "application/json", "Origin": origin}
    status, body = ask(port, trust, "POST", "/", orjson.dumps(call) + more, **headers)
    return status, orjson.loads(body)
