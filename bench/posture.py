"""Posture: one pass of every shipped check over the host it runs on.

Inside the clock: every question put to the host (files, kernel settings, mounts, accounts,
processes) and every check judged, in one process without other sensors. A pass is run several times
and the middle is quoted, so the kernel's caches are warm, as they are on a host that is looked at
every hour. There is no peer.
"""

import time

from agent.hostroot import HostRoot
from agent.sense.posture.rows import rows
from bench.report import Figures, medians
from runtime.clock import SystemClock

CLOCK = "one pass: every question put to this host, every check judged"
SCALE = 7
UNIT = "passes"


def measure(scale: int) -> Figures:
    """Look at this host ``scale`` times."""
    return Figures(medians([_pass() for _ in range(scale)]))


def _pass() -> dict[str, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    judged = list(rows(HostRoot("/"), SystemClock()))
    return {
        "checks": len(judged),
        "checks_known": sum(row["state"] != "unknown" for row in judged),
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
    }
