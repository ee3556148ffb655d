"""Processes: every exec the kernel tells of, and the process table as base line and check.

Source: the process events connector where the kernel gives it to us (rung ``procconn``), and
``/proc/<pid>`` always. Without the connector (rung ``poll``) only passes over /proc remain.
Privilege: none to begin with; CAP_SYS_PTRACE to see the executables of others, CAP_NET_ADMIN for a
receive buffer that holds through a burst. Cost: one read of /proc an exec, one pass a minute, each
new executable hashed once.
Misses: the image and the arguments of a process that ended before it was read (the exec itself is
told); on rung ``poll`` whatever begins and ends between two passes.

An exec is told when its image is hashed, so in order: a process never overtakes the one before it.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct

from agent.hostroot import HostFileError, HostRoot
from agent.sense.ports import POLL_SIGHTINGS_MAX, SensorHealth, SensorSpec, Sighting
from agent.sense.sensors.family import Family
from agent.sense.sensors.hashqueue import HashQueue, Seen
from agent.sense.sensors.identity import ProcessReader
from agent.sense.sensors.imagehash import ImageHashes
from agent.sense.sensors.losses import KINDS_MAX, Losses
from agent.sense.sensors.namespaces import may_look_into_others, sees_host_processes
from agent.sense.sensors.procconn import Connector, ConnectorRefused
from agent.sense.sensors.procintake import ProcessIntake
from agent.sense.sensors.procscan import ProcessScan
from proto.model import Entity, HealthState, Observation, Process, Role, Source
from runtime.clock import NS_PER_S, Clock

NAME: Final = "processes"
TOLD_MAX: Final = POLL_SIGHTINGS_MAX - KINDS_MAX
EVENTS_PER_TURN: Final = 16
GAP_SCANS_EVERY_S: Final = 2

SPEC: Final = SensorSpec(
    name=NAME,
    source="the kernel's process events connector; /proc/<pid>",
    coverage=(
        "rung procconn: every exec; rung poll: processes alive at a pass. Executables of new images"
        " are hashed from the file the process runs, not from its path"
    ),
    misses=(
        "image and arguments of processes that end within about a millisecond; on rung poll all"
        " that begins and ends between two passes; executables on remote file systems and above"
        " the size limit are not hashed"
    ),
    privilege="none for events on recent kernels; CAP_SYS_PTRACE to see executables of others",
    cost="about 0.2 ms of CPU an exec; one pass over /proc a minute; each new image hashed once",
)

_COVERAGE_EVENTS: Final = "every exec; identity partial where a process ended before it was read"
_COVERAGE_LIMITED: Final = "every exec; executables of other users are not seen"
_COVERAGE_POLL: Final = "processes alive at a pass every {} s; shorter ones are missed"
_NO_OTHERS: Final = "executables of other users cannot be read"
_COPY: Final = "this is a copy of a /proc: no events belong to it"
_NOT_HASHED: Final = "executables were not hashed: too many at once"
_PRIVATE: Final = "private pid namespace: processes of the host are not seen"


class ProcessSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the process sensor."""

    # How long an exec stays unseen at most when no event told of it.
    reconcile_interval_s: Annotated[int, Meta(ge=5, le=3600)] = 60
    # Whether the ends of processes are told too; doubles the wakeups of a busy host.
    exits: bool = False
    # Larger executables are not hashed, and say so.
    hash_size_bytes_max: Annotated[int, Meta(ge=0, le=1 << 40)] = 256 * 1024 * 1024
    # About 250 bytes each; more than a host has executables in use.
    hash_entries_max: Annotated[int, Meta(ge=16, le=1_000_000)] = 4096
    # Images held open while they wait to be hashed, a descriptor each.
    images_held_max: Annotated[int, Meta(ge=1, le=512)] = 128
    # Arguments beyond it are cut; a record holds 256 KiB.
    argv_bytes_max: Annotated[int, Meta(ge=256, le=65_536)] = 32_768
    # Processes remembered for ancestry, and looked at in a pass; about 1.5 KiB each.
    processes_max: Annotated[int, Meta(ge=64, le=1_000_000)] = 16_384
    # 8 MiB holds 13 s of 500 execs a second with no reader.
    receive_buffer_bytes: Annotated[int, Meta(ge=2304, le=1 << 30)] = 8 * 1024 * 1024


class _View(Struct, frozen=True):
    """What is open, and what narrows it."""

    reader: ProcessReader
    scan: ProcessScan
    intake: ProcessIntake
    connector: Connector | None
    source: Source
    limits: tuple[str, ...]


class ProcessSensor:
    """See the module."""

    spec = SPEC

    def __init__(self, settings: ProcessSettings, host: HostRoot, clock: Clock) -> None:
        self._settings = settings
        self._host = host
        self._clock = clock
        self._family = Family(settings.processes_max)
        hashes = ImageHashes(
            clock,
            size_bytes_max=settings.hash_size_bytes_max,
            entries_max=settings.hash_entries_max,
        )
        self._queue = HashQueue(hashes, settings.images_held_max)
        self._losses = Losses(NAME, clock)
        self._view: _View | None = None
        self._blind = ""
        self._has_gap = False
        self._trust_events = False
        self._scan_at = 0
        self._scan_not_before = 0
        self._last_success = 0

    def start(self, cursor: bytes) -> None:  # noqa: ARG002  (events cannot be read again)
        """Open the connector and /proc; the first pass is due at once."""
        self._losses.nothing_lost_until_now()
        try:
            self._view = self._opened()
        except HostFileError as error:
            self._blind = str(error)
        self._scan_at = self._clock.boot_ns()

    def descriptors(self) -> Sequence[int]:
        """Return the connector, where there is one."""
        connector = self._view.connector if self._view else None
        return () if connector is None else (connector.fileno(),)

    def due(self) -> int | None:
        """Return now while there is work, else the time of the next pass."""
        if self._view is None:
            return None
        if len(self._queue) or self._view.scan.is_running:
            return self._clock.boot_ns()
        return self._scan_at

    def poll(self, deadline: int) -> Sequence[Sighting]:
        """Return what was executed, and what a pass over /proc found besides."""
        view = self._view
        told: list[Sighting] = []
        if view is None:
            return told
        self._begin_scan(view)
        while len(told) < TOLD_MAX:
            heard = self._listen(view)
            if len(self._queue):
                self._tell(view, told)
            elif view.scan.is_running:
                self._look(view)
            elif not heard:
                self._losses.nothing_lost_until_now()
                break
            if self._clock.boot_ns() >= deadline:
                break
        self._losses.overflow(_NOT_HASHED, self._queue.take_skipped())
        self._last_success = self._clock.wall_ns()
        return [*self._losses.take(), *told]

    def cursor(self) -> bytes:
        """Return nothing: events cannot be read again."""
        return b""

    def health(self) -> SensorHealth:
        """Return the rung, and what narrows the view."""
        view = self._view
        limits = list(view.limits) if view else []
        if view and view.scan.omitted:
            limits.append(f"{view.scan.omitted} processes beyond the limit are not looked at")
        state = HealthState.DEGRADED if limits else HealthState.OK
        return SensorHealth(
            state=HealthState.BLIND if view is None else state,
            rung=view.source.rung if view else "none",
            reason="; ".join(limits) if view else self._blind or "not started",
            last_success=self._last_success,
            dropped=self._losses.total,
        )

    def stop(self) -> None:
        """Close everything; harmless when repeated or never started."""
        self._queue.clear()
        if self._view is not None:
            if self._view.connector is not None:
                self._view.connector.close()
            self._view.reader.close()
            self._view = None

    def _opened(self) -> _View:
        settings = self._settings
        reader = ProcessReader(self._host, self._clock, argv_bytes_max=settings.argv_bytes_max)
        connector = None
        limits = []
        reader.is_foreign = not sees_host_processes(self._host, reader.proc)
        if reader.is_foreign:
            limits.append(_PRIVATE)
        elif not reader.proc.is_genuine:
            limits.append(_COPY)
        else:
            try:
                connector = Connector(
                    self._clock, settings.receive_buffer_bytes, exits=settings.exits
                )
            except ConnectorRefused as error:
                limits.append(error.message)
        sees_others = may_look_into_others(self._host)
        if not sees_others:
            limits.append(_NO_OTHERS)
        coverage = _COVERAGE_EVENTS if sees_others else _COVERAGE_LIMITED
        if connector is None:
            coverage = _COVERAGE_POLL.format(settings.reconcile_interval_s)
        return _View(
            reader=reader,
            scan=ProcessScan(reader, self._family),
            intake=ProcessIntake(reader, self._family, self._queue, self._losses),
            connector=connector,
            source=Source(NAME, "procconn" if connector else "poll", coverage),
            limits=tuple(limits),
        )

    def _listen(self, view: _View) -> bool:
        """Take a few events; a loss makes a pass due at once."""
        events = view.connector.receive(EVENTS_PER_TURN) if view.connector else []
        if events and view.intake.take(events, self._clock):
            self._has_gap = True
            self._scan_at = min(self._scan_at, self._scan_not_before)
        return bool(events)

    def _begin_scan(self, view: _View) -> None:
        """Begin the pass that is due, unless one is going on."""
        now = self._clock.boot_ns()
        if now < self._scan_at or view.scan.is_running:
            return
        interval = self._settings.reconcile_interval_s * NS_PER_S
        self._scan_at = (now // interval + 1) * interval
        self._trust_events = view.connector is not None and not self._has_gap
        if self._has_gap:
            self._has_gap = False
            self._scan_not_before = now + GAP_SCANS_EVERY_S * NS_PER_S
        view.reader.images.forget_mounts()
        view.scan.begin(self._settings.processes_max)

    def _look(self, view: _View) -> None:
        """Look at one process of the pass."""
        sight = view.scan.step(trust_events=self._trust_events)
        if sight is not None:
            view.intake.find(sight, self._clock.wall_ns(), verify=view.connector is None)

    def _tell(self, view: _View, told: list[Sighting]) -> None:
        """Tell all that is ready, then hash one slice."""
        while len(told) < TOLD_MAX and (seen := self._queue.ready()) is not None:
            told.append(self._observation(view, seen))
        if len(told) < TOLD_MAX and (seen := self._queue.step()) is not None:
            told.append(self._observation(view, seen))

    def _observation(self, view: _View, seen: Seen) -> Observation:
        self._family.learn_digest(seen.process)
        return Observation(
            kind=seen.kind,
            source=view.source,
            event_time=seen.event_time,
            event_precision=seen.precision,
            observed_at=self._clock.wall_ns(),
            subject=Entity(Role.ACTOR, seen.process),
            ancestry=seen.ancestry,
        )


def snapshot(host: HostRoot, clock: Clock) -> Iterator[Process]:
    """Yield the processes that are there now, without hashing anything.

    Raises:
        HostFileError: the host has no /proc where we look.
    """
    reader = ProcessReader(host, clock, argv_bytes_max=ProcessSettings().argv_bytes_max)
    try:
        reader.is_foreign = not sees_host_processes(host, reader.proc)
        for pid in reader.proc.pids():
            if (sight := reader.read(pid)) is not None:
                yield sight.process
    finally:
        reader.close()
