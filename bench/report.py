"""What every benchmark hands back, and how it is shown.

One object: the benchmark's name, the machine it ran on, its figures by name with their unit, and
the same figures of each peer that did the same work in the same run.
"""

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from runtime.errors import VedetteError

Numbers = Mapping[str, float]


class BenchFailed(VedetteError):
    """What should have been measured did not happen."""


class Figures(Struct, frozen=True):
    """What was measured: numbers by name with unit, and those of each peer."""

    metrics: Numbers
    peers: Mapping[str, Numbers] = {}


class Benchmark(Protocol):
    """What a module of this package offers.

    ``CLOCK`` says what is inside the clock, ``SCALE`` is the usual amount of work and ``UNIT`` what
    it counts.
    """

    CLOCK: str
    SCALE: int
    UNIT: str

    def measure(self, scale: int) -> Figures:
        """Measure with so much work; ends within about a minute at the usual scale.

        Raises:
            BenchFailed: what should have been measured did not happen.
        """
        ...


def machine() -> dict[str, object]:
    """Return what the figures depend on: processor, memory, kernel, Python, other load."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": int((_field("/proc/meminfo", "MemTotal") or "0").split()[0]) // 1024,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_1m": round(os.getloadavg()[0], 2),
    }


def _field(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    found = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in found if key.strip() == name), "")


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long something takes, in seconds of the wall."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def median(values: Sequence[float]) -> float:
    """Return the middle of several runs."""
    return statistics.median(values)


def medians(runs: Sequence[Numbers]) -> dict[str, float]:
    """Return the middle of each figure over several runs that all have the same figures."""
    return {name: median([run[name] for run in runs]) for name in runs[0]}


def against(ours: Numbers, peer: Numbers) -> dict[str, float]:
    """Return a peer's figures with ours as a multiple of each that both have."""
    ratios = {
        f"{name}_ratio": ours[name] / peer[name] for name in peer if name in ours and peer[name]
    }
    return {**peer, **ratios}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of all lies (nearest rank); ``share`` from 0 to 1."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def as_object(name: str, figures: Figures) -> dict[str, object]:
    """Return the object that ``--json`` prints."""
    return {
        "name": name,
        "machine": machine(),
        "metrics": _rounded(figures.metrics),
        "peers": {peer: _rounded(numbers) for peer, numbers in figures.peers.items()},
    }


def as_json(name: str, figures: Figures) -> str:
    """Return the object on one line."""
    return json.dumps(as_object(name, figures))


def as_text(name: str, clock: str, figures: Figures) -> str:
    """Return the figures for people, with what is inside the clock."""
    lines = [f"{name}: {clock}"]
    lines += [_line(metric, value) for metric, value in _rounded(figures.metrics).items()]
    for peer, numbers in figures.peers.items():
        lines += [_line(f"{peer}: {metric}", value) for metric, value in _rounded(numbers).items()]
    return "\n".join(lines)


def _line(label: str, value: float) -> str:
    return f"  {label:<48} {value:>16,}"


def _rounded(numbers: Numbers) -> dict[str, float]:
    """Return numbers with the four digits that a repeated run confirms."""
    return {name: _round(value) for name, value in numbers.items()}


def _round(value: float) -> float:
    short = float(f"{value:.4g}")
    return int(short) if short.is_integer() else short
