"""What a measurement says: a figure of several rounds, held against its goal."""

import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = [
    "Failed",
    "Figure",
    "Measurement",
    "Outcome",
    "Scale",
    "Skipped",
    "machine",
    "ratios",
    "repeat",
]


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured: the whole, or just enough to see that the measurement works."""

    quick: bool = False

    @property
    def rounds(self) -> int:
        """How often each figure is taken, after one round that warms up and is thrown away."""
        return 1 if self.quick else 5

    def size(self, whole: int) -> int:
        """Return how many of something there are: a hundredth, at least 10, where it is quick."""
        return max(10, whole // 100) if self.quick else whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure: what was measured, round by round."""

    name: str
    """Short and unique: `feed.bursts.ratio`."""
    what: str
    """For people: one line of the table."""
    unit: str
    rounds: list[float]
    at_least: float | None = None
    """The goal, if it is a least value."""
    at_most: float | None = None
    """The goal, if it is a most value."""
    headline: bool = False
    """Whether the README shows it though it has no goal."""

    @property
    def median(self) -> float:
        """The figure itself."""
        return statistics.median(self.rounds)

    @property
    def holds(self) -> bool | None:
        """Whether the median reaches the goal; None without one."""
        if self.at_least is not None:
            return self.median >= self.at_least
        return None if self.at_most is None else self.median <= self.at_most

    @property
    def goal(self) -> str:
        """The goal as text."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return "" if self.at_most is None else f"≤ {self.at_most:g}"

    def to_json(self) -> dict[str, Any]:
        """Return everything there is to say."""
        derived = {"median": self.median, "least": min(self.rounds), "most": max(self.rounds)}
        return {**asdict(self), **derived, "holds": self.holds}


@dataclass(frozen=True, slots=True)
class Skipped:
    """What could not be measured here, and why."""

    name: str
    why: str

    def to_json(self) -> dict[str, Any]:
        """Return everything there is to say."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Failed:
    """A measurement that went wrong, and how."""

    name: str
    why: str

    def to_json(self) -> dict[str, Any]:
        """Return everything there is to say."""
        return asdict(self)


Outcome = Figure | Skipped | Failed
Measurement = Callable[[Scale], Iterable[Outcome]]
"""A measurement yields its figures one by one, as they are there."""


def repeat(scale: Scale, once: Callable[[], float]) -> list[float]:
    """Return what `once` says in each round; the first is for warming up."""
    once()
    return [once() for _ in range(scale.rounds)]


def ratios(above: list[float], below: list[float]) -> list[float]:
    """Divide round by round: both sides of a ratio are taken in turns, as machines are shared."""
    return [a / b for a, b in zip(above, below, strict=True)]


def _version(program: list[str]) -> str | None:
    try:
        said = subprocess.run(program, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return None
    found = re.search(r"\d+(\.\d+)+", said.stdout or said.stderr)
    return found and found[0]


def _cpu() -> str:
    if sys.platform != "linux":
        return platform.processor()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def machine() -> dict[str, str]:
    """Return what the figures depend on: the day, the hardware, the versions."""
    packages = ("streamd", "websockets", "uvicorn", "uvloop", "orjson", "redis", "hiredis")
    programs = {
        "Redis": ["redis-server", "--version"],
        "nginx": ["nginx", "-v"],
        "NATS": ["nats-server", "--version"],
    }
    versions = {name: _version(program) for name, program in programs.items()}
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cpu": f"{os.cpu_count()} × {_cpu()}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **dict(_installed(packages)),
        **{name: version for name, version in versions.items() if version is not None},
    }


def _installed(packages: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in packages:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
