"""Inventory: what looking at the packages of this host costs.

Inside the clock: processor time of one listing from nothing, in this process: stat, read, parse,
one entry a package. The first round of the packages sensor reads every package manager and states
all of it, writing its state to disk; a later one, which comes every ten minutes, finds that nothing
moved. Each is run several times and the middle is quoted, so the kernel's caches are warm.

Peer: ``dpkg-query -W`` with the same fields, its processor time and that of starting it.
"""

import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from agent.hostroot import HostRoot
from agent.sense.sensors.dpkg import DpkgListing
from agent.sense.sensors.inventory import InventorySensor
from agent.sense.sensors.packages import PackageSensor, PackageSettings
from bench.report import BenchFailed, Figures, against, median, medians
from runtime.clock import NS_PER_S, SystemClock

CLOCK = "one listing of the packages of this host"
SCALE = 9
UNIT = "rounds"

_FORMAT = "-f=${Package} ${Version} ${Architecture} ${Status}\\n"


def measure(scale: int) -> Figures:
    """List the packages of this host ``scale`` times.

    Raises:
        BenchFailed: this host has no dpkg.
    """
    host = HostRoot("/")
    counts: list[int] = []
    ours = {
        "dpkg_inventory_cpu_ms": median(
            [_cpu_ms(lambda: counts.append(_dpkg(host))) for _ in range(scale)]
        ),
        "packages": float(counts[-1]),
        **medians([_rounds(host) for _ in range(scale)]),
    }
    if not shutil.which("dpkg-query"):
        return Figures(ours)
    peer = {"dpkg_inventory_cpu_ms": median([_peer_cpu_ms() for _ in range(scale)])}
    return Figures(ours, {"dpkg_query": against(ours, peer)})


def _dpkg(host: HostRoot) -> int:
    listing = DpkgListing(host, 600)
    listing.look()
    steps = listing.read()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return len(end.value.things)


def _rounds(host: HostRoot) -> dict[str, float]:
    """Return the processor time of a first round and of the next."""
    with tempfile.TemporaryDirectory() as folder:
        sensor = PackageSensor(PackageSettings(), host, SystemClock(), Path(folder) / "packages.db")
        first = _cpu_ms(lambda: _round(sensor, b""))
        later = _cpu_ms(lambda: _round(sensor, sensor.cursor()))
    return {"first_round_cpu_ms": first, "later_round_cpu_ms": later}


def _round(sensor: InventorySensor, cursor: bytes) -> None:
    sensor.start(cursor)
    _drain(sensor)
    sensor.stop()


def _drain(sensor: InventorySensor) -> None:
    clock = SystemClock()
    for _ in range(10_000):
        due = sensor.due()
        if due is None or due > clock.boot_ns():
            return
        sensor.poll(clock.boot_ns() + NS_PER_S)
    raise BenchFailed("the sensor does not come to rest")


def _peer_cpu_ms() -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["dpkg-query", "-W", _FORMAT], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return seconds * 1000


def _cpu_ms(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1000
