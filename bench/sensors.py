"""Sensors: what it takes to see every process that a busy host starts.

A process of its own starts a small program 500 times a second and waits for each, which lives well
below a millisecond. Inside the clock: the processor time, of the kernel on its behalf included, of
a process that does nothing but run the process sensor in a loop like that of `sense`, until the
last exec has been told. ``exec_cpu_percent`` is that time over the time in which the programs were
started, in percent of one core, on the best rung this host gives us; the lower rungs are run too,
shorter. Programs that others start on the machine meanwhile are sensed and cost
(``other_execs_per_second``); no peer on the machine does this. ``socket_snapshot_cpu_ms`` is that
of ``python -m bench sockets``, with its peer.

Needs root for the rungs above polling; what the kernel refuses is left out.
"""

import json
import os
import resource
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import UNSET, Struct

from agent.hostroot import HostRoot
from agent.sense.sensors.processes import ProcessSensor, ProcessSettings
from bench import sockets
from bench.report import BenchFailed, Figures
from proto.model import Drop, Observation, ObservationKind, Process
from runtime.clock import NS_PER_MS, NS_PER_S, SystemClock

CLOCK = "processor time of a process that runs the process sensor alone, by programs started"
SCALE = 60
UNIT = "seconds"

PER_SECOND: Final = 500
PROGRAM: Final = "/bin/true"
SLICE_MS: Final = 50
LOWER_PART: Final = 6
SETTLE_S: Final = 3
WAIT_S_MAX: Final = 0.25

# Sections of the settings that end at each rung.
RUNGS: Final = {
    "audit": ProcessSettings(),
    "fanotify": ProcessSettings(audit_records=False),
    "procconn": ProcessSettings(audit_records=False, fanotify=False),
}


class Run(Struct):
    """What came of one run on one rung."""

    started: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    seen: int = 0
    hashed: int = 0
    with_argv: int = 0
    with_parent: int = 0
    others: int = 0
    drops: int = 0

    def metrics(self) -> dict[str, float]:
        """Return the figures by their names."""
        told = max(self.seen, 1)
        return {
            "execs_seen_percent": 100 * self.seen / self.started,
            "exec_cpu_percent": 100 * self.cpu_seconds / self.seconds,
            "exec_cpu_us": 1e6 * self.cpu_seconds / max(self.seen + self.others, 1),
            "hash_known_percent": 100 * self.hashed / told,
            "argv_known_percent": 100 * self.with_argv / told,
            "parent_known_percent": 100 * self.with_parent / told,
            "execs_per_second": self.started / self.seconds,
            "other_execs_per_second": self.others / self.seconds,
            "declared_losses": self.drops,
            "undeclared_losses": 0 if self.drops else max(self.started - self.seen, 0),
        }


def measure(scale: int) -> Figures:
    """Watch ``scale`` seconds of programs being started on the best rung, and less on the others.

    Raises:
        BenchFailed: there are no process events here, or the programs could not be started.
    """
    metrics: dict[str, float] = {}
    for rung, settings in RUNGS.items():
        seconds = max(scale // LOWER_PART, 1) if metrics else scale
        run = _on_rung(rung, settings, seconds)
        if run is None:
            continue
        if not metrics:
            metrics = run.metrics()
        metrics |= {f"{rung}_{name}": value for name, value in run.metrics().items()}
    if not metrics:
        raise BenchFailed("the kernel gives no process events here", hint="run as root")
    looks = sockets.measure(max(sockets.SCALE * min(scale, SCALE) // SCALE, 2))
    name = "socket_snapshot_cpu_ms"
    return Figures({**metrics, name: looks.metrics[name]}, looks.peers)


def _on_rung(rung: str, settings: ProcessSettings, seconds: int) -> Run | None:
    clock = SystemClock()
    sensor = ProcessSensor(settings, HostRoot(), clock)
    sensor.start(b"")
    try:
        loop = _Loop(sensor, clock)
        subprocess.run([PROGRAM], check=True)
        settled = clock.boot_ns() + SETTLE_S * NS_PER_S
        loop.run(Run(), 0, lambda: clock.boot_ns() >= settled)
        return _watched(loop, seconds) if sensor.health().rung == rung else None
    finally:
        sensor.stop()


def _watched(loop: "_Loop", seconds: int) -> Run:
    run = Run()
    with _spawner(seconds * PER_SECOND) as child:
        before = resource.getrusage(resource.RUSAGE_SELF)
        loop.run(run, child.pid, _Quiet(child, loop.clock))
        after = resource.getrusage(resource.RUSAGE_SELF)
        output = child.stdout.read() if child.stdout is not None else b""
    try:
        done = json.loads(output)
    except ValueError as error:
        raise BenchFailed("the programs could not be started") from error
    run.started, run.seconds = int(done["count"]), float(done["seconds"])
    run.cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return run


class _Quiet:
    """Whether a process has ended, and a second has passed since."""

    def __init__(self, child: "subprocess.Popen[bytes]", clock: SystemClock) -> None:
        self._child = child
        self._clock = clock
        self._ended_at = 0
        self._look_at = 0

    def __call__(self) -> bool:
        now = self._clock.boot_ns()
        if self._ended_at:
            return now - self._ended_at > NS_PER_S
        if now >= self._look_at:
            self._look_at = now + NS_PER_S // 4
            self._ended_at = now if self._child.poll() is not None else 0
        return False


class _Loop:
    """The sensor and a selector, turned as `sense` does."""

    def __init__(self, sensor: ProcessSensor, clock: SystemClock) -> None:
        self.sensor = sensor
        self.clock = clock
        self._selector = selectors.PollSelector()
        self._watched: list[int] = []

    def run(self, run: Run, parent: int, is_over: Callable[[], bool]) -> None:
        """Poll when there is reason to, until it is over; count what is told."""
        while not is_over():
            is_ready = self._wait()
            due = self.sensor.due() or 0
            now = self.clock.boot_ns()
            if is_ready or due <= now:
                _count(run, self.sensor.poll(now + SLICE_MS * NS_PER_MS), parent)

    def _wait(self) -> bool:
        wanted = list(self.sensor.descriptors())
        if wanted != self._watched:
            for fd in self._watched:
                self._selector.unregister(fd)
            for fd in wanted:
                self._selector.register(fd, selectors.EVENT_READ)
            self._watched = wanted
        wait = max((self.sensor.due() or 0) - self.clock.boot_ns(), 0) / NS_PER_S
        return bool(self._selector.select(min(wait, WAIT_S_MAX)))


def _count(run: Run, told: Sequence[object], parent: int) -> None:
    for fact in told:
        if isinstance(fact, Drop):
            run.drops += 1
        if not isinstance(fact, Observation) or fact.kind is not ObservationKind.PROCESS_EXEC:
            continue
        process = fact.subject.value
        if not isinstance(process, Process) or process.ppid != parent:
            run.others += 1
            continue
        run.seen += 1
        run.hashed += process.sha256 is not UNSET
        run.with_argv += bool(process.argv)
        run.with_parent += bool(fact.ancestry) and fact.ancestry[0].pid == parent


@contextmanager
def _spawner(count: int) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "bench.spawner", PROGRAM, str(PER_SECOND), str(count)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    ) as child:
        try:
            yield child
        finally:
            child.kill()
