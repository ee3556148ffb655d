"""Files: what watching ``--scale`` files costs, and how soon a burst beyond every queue is known.

A tree of its own, files of 15 KiB, read once before the clock starts. Then:

``baseline_cpu_seconds``    the first sweep: each file read, hashed, told, stored
``stat_sweep_cpu_seconds``  a later sweep, nothing changed
``sweep_memory_mib``        how much memory the sweep takes at its peak beyond what was there before
``watch_setup_ms``          hearing of changes in a tree of 16,000 directories: one mark on the file
                            system where that is permitted, else a watch on each directory
``foreign_event_cpu_us``    throwing away an event of a directory that is in no tree
``burst_known_percent``     files known after 30,000 were made while nobody read the events
``burst_known_seconds``     from the first reading until the last of them was told
``burst_gaps_declared``     what was said of the events that were lost
``package_index_cpu_ms``    reading which package each watched file of this host came with

The peer is inotify on the same 16,000 directories in the same run. Times are of the processor but
that of the burst, which is by the clock on the wall.
"""

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from agent.hostroot import HostFileError, HostRoot
from agent.sense.sensors.fileevents import FANOTIFY, FileEvents
from agent.sense.sensors.filemarks import Marks, Own
from agent.sense.sensors.filepackages import read_index
from agent.sense.sensors.files import FileSensor
from agent.sense.sensors.filetrees import DEFAULT_TREES, FileSettings, Place, Scope, Tree
from bench.report import BenchFailed, Figures, median
from proto.model import Drop, Observation
from runtime.clock import NS_PER_MS, NS_PER_S, SystemClock

CLOCK = "processor time of this process; wall time for burst_known_seconds"
SCALE = 40_000
UNIT = "files"
FILE_BYTES = 15 * 1024
FILES_A_DIRECTORY = 20
DIRECTORIES = 16_000
BURST = 30_000
FOREIGN = 8_000
ROUNDS = 3
SWEEP_S = 5
SLICE_NS = 50 * NS_PER_MS
DEADLINE_S = 120
_MS, _US = 1e3, 1e6
_MAKE = """
import os, sys
where, count = sys.argv[1], int(sys.argv[2])
for n in range(count):
    os.close(os.open(f"{where}/{n}", os.O_CREAT | os.O_WRONLY))
"""


def measure(scale: int) -> Figures:
    """Watch ``scale`` files.

    Raises:
        BenchFailed: what was made was not found.
    """
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as directory:
        root = Path(directory)
        ours: dict[str, float] = {"files": scale}
        ours |= sweep_figures(root, scale)
        setup, peer = setup_figures(root, min(DIRECTORIES, scale))
        ours |= setup
        ours |= burst_figures(root, min(BURST, scale))
        if (cost := _package_index_ms()) is not None:
            ours["package_index_cpu_ms"] = cost
        return Figures(ours, {"inotify": peer})


def sweep_figures(root: Path, count: int) -> dict[str, float]:
    """Return what the first sweep and a later one cost.

    Raises:
        BenchFailed: not every file was told.
    """
    tree = root / "tree"
    data = os.urandom(FILE_BYTES)
    for n in range(count):
        place = tree / f"d{n // FILES_A_DIRECTORY}"
        if n % FILES_A_DIRECTORY == 0:
            place.mkdir(parents=True)
        (place / f"file-{n}").write_bytes(b"%d" % n + data)
    # Without marks: what the rest of the machine does meanwhile is no part of a sweep.
    sensor, clock = _a_sensor(root, tree, count, fanotify=False)
    before, began = _peak_mib(reset=True), _now()
    sensor.start(b"")
    told = _swept(sensor, clock)
    baseline = _now() - began
    if told != count:
        raise BenchFailed(f"{told} of {count} files were told")
    began = _now()
    _swept(sensor, clock)
    later = _now() - began
    sensor.stop()
    return {
        "baseline_cpu_seconds": baseline,
        "stat_sweep_cpu_seconds": later,
        "sweep_memory_mib": _peak_mib() - before,
    }


def _swept(sensor: FileSensor, clock: SystemClock) -> int:
    """Poll until one more sweep is over; return how many files were told.

    Raises:
        BenchFailed: it is not over in time.
    """
    before, told = sensor.health().last_success, 0
    give_up = time.monotonic() + DEADLINE_S
    while sensor.health().last_success == before:
        if time.monotonic() > give_up:
            raise BenchFailed(f"a sweep is not over after {DEADLINE_S} s")
        due = sensor.due()
        if due is not None and due > clock.boot_ns():
            time.sleep((due - clock.boot_ns()) / NS_PER_S)
        seen = sensor.poll(clock.boot_ns() + SLICE_NS)
        told += sum(isinstance(one, Observation) for one in seen)
    return told


def setup_figures(root: Path, count: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return what it costs to hear of a tree of so many directories, by a mark and by watches."""
    tree = root / "wide"
    paths = [tree, *(tree / f"{n // 250}/{n % 250}" for n in range(count - 1))]
    for path in paths:
        path.mkdir(parents=True, exist_ok=True)
    watches, _ = _setup_ms(root, paths, fanotify=False)
    marks, rung = _setup_ms(root, paths, fanotify=True)
    ours = {"watch_setup_ms": marks, "watched_directories": len(paths)}
    if rung == FANOTIFY:
        ours["foreign_event_cpu_us"] = _foreign_us(root, tree)
    return ours, {"watch_setup_ms": watches, "watch_setup_ms_ratio": marks / watches}


def burst_figures(root: Path, count: int) -> dict[str, float]:
    """Return how much of a burst is known, how soon, and whether the loss of events was said."""
    tree = root / "burst"
    tree.mkdir()
    sensor, clock = _a_sensor(root, tree, count)
    sensor.start(b"")
    for _ in _drained(sensor, clock):
        pass
    argv = [sys.executable, "-P", "-c", _MAKE, str(tree), str(count)]
    subprocess.run(argv, check=True)
    began, known, gaps = time.monotonic(), 0, 0
    last = began
    while known < count and time.monotonic() - began < DEADLINE_S:
        # Not only what is due: in the loop the events themselves would wake us.
        first = sensor.poll(clock.boot_ns() + SLICE_NS)
        for seen in chain(first, _drained(sensor, clock)):
            known += isinstance(seen, Observation)
            gaps += isinstance(seen, Drop)
        last = time.monotonic()
        time.sleep(0.02)
    sensor.stop()
    return {
        "burst_files": count,
        "burst_known_percent": 100 * known / count,
        "burst_known_seconds": last - began,
        "burst_gaps_declared": gaps,
    }


def _a_sensor(
    root: Path, tree: Path, count: int, *, fanotify: bool = True
) -> tuple[FileSensor, SystemClock]:
    clock = SystemClock()
    settings = FileSettings(
        trees=(Tree(str(tree)),),
        entries_max=2 * count + 1,
        sweep_interval_s=SWEEP_S,
        fanotify=fanotify,
    )
    state = root / f"state-{tree.name}"
    state.mkdir()
    return FileSensor(settings, HostRoot(), clock, state / "files.db"), clock


def _drained(sensor: FileSensor, clock: SystemClock) -> Iterator[object]:
    """Poll as the loop does until nothing is due now."""
    while (due := sensor.due()) is not None and due <= clock.boot_ns():
        yield from sensor.poll(clock.boot_ns() + SLICE_NS)


def _setup_ms(root: Path, paths: list[Path], *, fanotify: bool) -> tuple[float, str]:
    """Return the cost of asking for events of every directory, and on which rung that was."""
    settings = FileSettings(fanotify=fanotify, watches_max=len(paths) + 1)
    spent, rung = [], ""
    for _ in range(ROUNDS):
        events = FileEvents(
            HostRoot(), SystemClock(), Scope((Tree(str(paths[0])),)), settings, Own(-1, str(root))
        )
        began = _now()
        events.open()
        # A mark is made at the root; the directories below are asked for only without one.
        for depth, path in enumerate(paths):
            _add(events, path, min(depth, 1))
            if events.marks.fileno() >= 0:
                break
        spent.append((_now() - began) * _MS)
        rung = events.rung
        events.close()
    return median(spent), rung


def _add(events: FileEvents, path: Path, depth: int) -> None:
    fd = os.open(path, os.O_PATH if depth else os.O_RDONLY | os.O_DIRECTORY)
    try:
        events.add(fd, os.fstat(fd).st_dev, Place(os.fsencode(path), 0, depth))
    finally:
        os.close(fd)


def _foreign_us(root: Path, tree: Path) -> float:
    """Return what an event costs that is of no interest, in directories not known before."""
    marks = Marks(HostRoot(), Scope((Tree(str(tree)),)), Own(-1, str(root / "tree")))
    marks.open()
    fd = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    marks.add(fd, os.fstat(fd).st_dev, Place(os.fsencode(tree), 0))
    os.close(fd)
    foreign = root / "foreign"
    for n in range(FOREIGN // 80):
        (foreign / f"{n}").mkdir(parents=True)
    while marks.read().seen:
        pass
    for n in range(FOREIGN):
        (foreign / f"{n % (FOREIGN // 80)}/{n}").touch()
    seen, began = 0, _now()
    while (changes := marks.read()).seen:
        seen += changes.seen
    spent = _now() - began
    marks.close()
    return spent * _US / max(seen, 1)


def _package_index_ms() -> float | None:
    """Return what it costs to read the package database; None where there is none."""
    scope = Scope(DEFAULT_TREES)
    spent = []
    for _ in range(ROUNDS):
        began = _now()
        try:
            for _step in read_index(HostRoot(), scope.may_hold):
                pass
        except HostFileError:
            return None
        spent.append((_now() - began) * _MS)
    return median(spent)


def _peak_mib(*, reset: bool = False) -> float:
    """Return the most memory this process has had, since the last reset if the kernel lets us."""
    if reset:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", "ascii")
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise BenchFailed("the kernel does not tell how much memory this process has")


def _now() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
