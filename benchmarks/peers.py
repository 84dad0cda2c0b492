"""Servers that do a comparable thing, with the same load: one feed that everybody reads."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from benchmarks.dialects import NATS, NCHAN
from benchmarks.feed import BURST, BURSTS, FEED, SUBSCRIBERS, burst
from benchmarks.figures import Figure, Outcome, Scale, Skipped
from benchmarks.processes import free_port, running
from benchmarks.rigs import Rig, Taken, figures, in_turns, plain_rig, ratio, rig, streamd_rig

__all__ = ["peers"]

_NCHAN_MODULES = (
    Path("/usr/lib/nginx/modules/ngx_nchan_module.so"),
    Path("/usr/lib64/nginx/modules/ngx_nchan_module.so"),
)

_NGINX = """
load_module {module};
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/pid;
error_log stderr crit;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  nchan_shared_memory_size 256M;
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location = /subscribe {{
      nchan_subscriber websocket;
      nchan_channel_id feed;
      nchan_subscriber_first_message newest;
    }}
    location = /publish {{
      nchan_publisher http;
      nchan_channel_id feed;
      nchan_message_buffer_length 1000;
    }}
  }}
}}
"""

_NATS = """
host: 127.0.0.1
port: {own}
ping_interval: "1h"
websocket {{ host: 127.0.0.1, port: {port}, no_tls: true }}
"""


def _has_nchan() -> bool:
    return shutil.which("nginx") is not None and any(map(Path.exists, _NCHAN_MODULES))


def _has_nats() -> bool:
    return shutil.which("nats-server") is not None


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="streamd-bench-") as folder:
        yield Path(folder)


@contextmanager
def _nchan(wanted: Sequence[object]) -> Iterator[Rig]:
    with _folder() as folder:
        port, config = free_port(), folder / "nginx.conf"
        (module,) = filter(Path.exists, _NCHAN_MODULES)
        user = "user root;" if folder.owner() == "root" else ""
        config.write_text(_NGINX.format(module=module, folder=folder, port=port, user=user))
        command = ["nginx", "-p", str(folder), "-c", str(config)]
        with running(command, port) as served, rig(served, NCHAN, wanted) as made:
            yield made


@contextmanager
def _nats(wanted: Sequence[object]) -> Iterator[Rig]:
    with _folder() as folder:
        port, config = free_port(), folder / "nats.conf"
        config.write_text(_NATS.format(own=free_port(), port=port))
        with running(["nats-server", "-c", str(config)], port) as served:
            with rig(served, NATS, wanted) as made:
                yield made


Opener = Callable[[Sequence[object]], AbstractContextManager[Rig]]
_INSTALLED: tuple[tuple[str, Opener], ...] = (
    ("streamd", streamd_rig),
    ("websockets", plain_rig),
    ("websockets on uvloop", lambda wanted: plain_rig(wanted, "uvloop")),
)
_PROGRAMS: tuple[tuple[str, Opener, Callable[[], bool], str], ...] = (
    ("nchan", _nchan, _has_nchan, "nginx with nchan: apt install nginx-light libnginx-mod-nchan"),
    ("NATS", _nats, _has_nats, "nats-server: apt install nats-server"),
)


def peers(scale: Scale) -> Iterator[Outcome]:
    """Measure bursts, one event at a time, and as much as each server can."""
    subscribers = scale.size(SUBSCRIBERS)
    openers = dict(_INSTALLED)
    for name, opener, installed, package in _PROGRAMS:
        if installed():
            openers[name] = opener
        else:
            yield Skipped(f"peers: {name}", f"not installed: {package}")
    bursts = [burst(subscribers, BURST)] * scale.size(BURSTS)
    singles = [burst(subscribers, 1)] * scale.size(100)

    def push_bursts(_: str, rig: Rig) -> Taken:
        return rig.push(bursts)

    def push_singles(_: str, rig: Rig) -> Taken:
        return rig.push(singles)

    def push_all(_: str, rig: Rig) -> Taken:
        return rig.push(bursts, ahead=8)

    with ExitStack() as stack:
        rigs = {
            name: stack.enter_context(opener([FEED] * subscribers))
            for name, opener in openers.items()
        }
        for prefix, how, once in (
            ("peers.bursts", f"bursts of {BURST}", push_bursts),
            ("peers.single", "one event at a time", push_singles),
            ("peers.full", f"full load, up to 8 bursts of {BURST} under way", push_all),
        ):
            taken = in_turns(scale, rigs, once)
            for name in rigs:
                if name != "streamd":
                    yield Figure(
                        name=f"{prefix}.ratio.{name}",
                        what=f"{how}: CPU per delivery, {name} ÷ streamd",
                        unit="×",
                        rounds=ratio(taken[name], taken["streamd"]),
                        headline=once is push_all or name in ("nchan", "NATS"),
                    )
            headlines = ("rate",) if once is push_all else ()
            yield from figures(prefix, how, taken, headlines=headlines)
