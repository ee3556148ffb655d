"""Processes: every exec the kernel tells of, and the process table as base line and check.

A ladder, each rung tried and never guessed. ``poll``: passes over ``/proc``, which always go on.
``procconn``: the kernel's process events tell every exec, in order, and every fork. ``fanotify``:
each file that is opened for execution comes with a descriptor of it, so that its digest is that of
the very file, however short the process lived, and an exec that failed is seen too. ``audit``:
records of the kernel tell the arguments, which /proc forgets and the process may write over.

Privilege: none to begin with; CAP_SYS_PTRACE to see the executables of others, CAP_NET_ADMIN for a
receive buffer that holds through a burst (older kernels: for the events at all), both for the start
only; CAP_SYS_ADMIN for rung ``fanotify``, and for as long as file systems mounted later are to be
watched. Cost: about 0.4 ms of CPU an exec, a quarter of it above 200 a second, when reads are put
together; one pass a minute; each new file hashed once.

An exec is told when its files are hashed, so in order: a process never overtakes the one before it.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct

from agent.hostroot import HostFileError, HostRoot
from agent.sense.ports import POLL_SIGHTINGS_MAX, Ease, SensorHealth, SensorSpec, Sighting
from agent.sense.sensors.argvjoin import ArgvJoin
from agent.sense.sensors.auditexecs import AuditSettings, open_audit
from agent.sense.sensors.descriptors import Descriptors
from agent.sense.sensors.execopens import ExecOpens
from agent.sense.sensors.execrecord import ArgvSource
from agent.sense.sensors.family import Family
from agent.sense.sensors.hashqueue import HashQueue, Seen
from agent.sense.sensors.identity import ProcessReader
from agent.sense.sensors.imagehash import ImageHashes
from agent.sense.sensors.known import Known
from agent.sense.sensors.losses import KINDS_MAX, Losses
from agent.sense.sensors.namespaces import may_look_into_others, sees_host_processes
from agent.sense.sensors.overlays import Overlays
from agent.sense.sensors.pace import Pace
from agent.sense.sensors.procevents import Event, Exec
from agent.sense.sensors.procintake import Means, ProcessIntake
from agent.sense.sensors.procscan import ProcessScan
from agent.sense.sensors.procsources import OpenArgv, Sources, Wanted, open_sources, renew
from proto.model import Entity, HealthState, Observation, ObservationKind, Process, Role, Source
from runtime.clock import NS_PER_MS, NS_PER_S, Clock

NAME: Final = "processes"
TOLD_MAX: Final = POLL_SIGHTINGS_MAX - KINDS_MAX
EVENTS_PER_TURN: Final = 128
GAP_SCANS_EVERY_S: Final = 2
PRUNE_EVERY_S: Final = 10
EASED_INTERVALS: Final = 4
STARVED_RETRY_MS: Final = 200

SPEC: Final = SensorSpec(
    name=NAME,
    source="the kernel's process events, fanotify events, audit records; /proc/<pid>",
    coverage=(
        "rungs procconn, fanotify and audit: every exec; rung poll: processes alive at a pass."
        " Executables are hashed from the file the process runs, not from its path"
    ),
    misses=(
        "below rung audit the arguments, below rung fanotify the image, of processes that end"
        " within about a millisecond; on rung poll all that begins and ends between two passes;"
        " executables on remote file systems and above the size limit are not hashed"
    ),
    privilege=(
        "none for events on recent kernels; CAP_SYS_PTRACE to see executables of others;"
        " CAP_SYS_ADMIN, kept, for images by fanotify; CAP_NET_ADMIN, for the start only"
    ),
    cost=(
        "about 0.4 ms of CPU an exec, 0.1 ms above 200 a second; one pass over /proc a minute;"
        " each new file hashed once"
    ),
)

_EVERY: Final = "every exec; "
_OF_FANOTIFY: Final = "image and digest by its open file; "
_OF_PROC: Final = "image only where it was read in time; "
_ARGV_TOLD: Final = "arguments by audit records, where a rule of the host asks for them"
_ARGV_RACY: Final = "arguments from /proc, where the process may have changed them or ended before"
_LIMITED: Final = "; processes of other users in part"
_COVERAGE_POLL: Final = "processes alive at a pass every {} s; shorter ones are missed"
_NO_OTHERS: Final = "executables of other users cannot be read"
_COALESCING: Final = "coalescing: execs are read every 20 ms, with less from /proc"
_EASED: Final = "over budget: new executables are not hashed"
_EASED_MORE: Final = "over budget: new executables are not hashed, processes not looked up"
_STARVED: Final = "no descriptors left: executables wait"
_BROKEN: Final = "file system events are not understood: executables are read from /proc"
_NOT_HASHED: Final = "executables were not hashed: too many at once"
_OPENS_LOST: Final = "executables lost: no room for their events, or no descriptor"
_UNREAD: Final = "processes not read: no descriptor left"
_ARGV_LOST: Final = "the kernel had no room for audit records"


class ProcessSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the process sensor."""

    # How long an exec stays unseen at most when no event told of it.
    reconcile_interval_s: Annotated[int, Meta(ge=5, le=3600)] = 60
    # Whether the ends of processes are told too; doubles the wakeups of a busy host.
    exits: bool = False
    # Whether executables are taken from fanotify where the kernel lets us.
    fanotify: bool = True
    # Whether arguments are taken from audit records where the host has a rule for them.
    audit_records: bool = True
    audit: AuditSettings = AuditSettings()
    # Above it execs are read every 20 ms and not at once.
    coalesce_above_per_s: Annotated[int, Meta(ge=1, le=1_000_000)] = 200
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
    sources: Sources
    opens: ExecOpens | None
    join: ArgvJoin | None
    sees_others: bool
    limits: tuple[str, ...]

    @property
    def has_argv(self) -> bool:
        """Whether arguments are told, as far as was seen."""
        return self.join is not None and self.join.is_telling


class ProcessSensor:
    """See the module.

    Args:
        settings: of this sensor.
        host: the host's files.
        clock: the time.
        open_argv: opens a source of arguments; None for the kernel's audit records.
    """

    spec = SPEC

    def __init__(
        self,
        settings: ProcessSettings,
        host: HostRoot,
        clock: Clock,
        open_argv: OpenArgv | None = None,
    ) -> None:
        self._settings = settings
        self._host = host
        self._clock = clock
        self._open_argv = open_argv or self._open_audit
        self._family = Family(settings.processes_max)
        self._losses = Losses(NAME, clock)
        self._overlays = Overlays()
        self._pace = Pace(clock, settings.coalesce_above_per_s)
        self._queue: HashQueue | None = None
        self._view: _View | None = None
        self._heard: list[Event] = []
        self._source = Source(NAME, "none", "")
        self._ease = Ease.NORMAL
        self._blind = ""
        self._has_gap = False
        self._trust_events = False
        self._retry_at = 0
        self._scan_at = 0
        self._scan_not_before = 0
        self._prune_at = 0
        self._last_success = 0
        self.known = Known()

    def start(self, cursor: bytes) -> None:  # noqa: ARG002  (events cannot be read again)
        """Open the sources and /proc; the first pass is due at once."""
        self._losses.nothing_lost_until_now()
        try:
            self._view = self._opened()
        except HostFileError as error:
            self._blind = str(error)
        else:
            self._source = self._named(self._view)
        self._scan_at = self._clock.boot_ns()

    def descriptors(self) -> Sequence[int]:
        """Return the sources of events; none while they are read by the clock."""
        view = self._view
        if view is None or self._is_by_clock(view):
            return ()
        files = view.sources.files
        opens = view.opens if view.opens is not None and not view.opens.is_broken else None
        found = (view.sources.connector, opens, files.watch if files else None, view.join)
        return [source.fileno() for source in found if source is not None]

    def due(self) -> int | None:
        """Return now while there is work, else the time of what comes next."""
        view, queue = self._view, self._queue
        if view is None or queue is None:
            return None
        now = self._clock.boot_ns()
        if queue.is_hashing or view.scan.is_running:
            return now
        times = [self._scan_at]
        if len(queue):
            times.append(queue.waits_until())
        if self._pace.is_coalescing:
            times.append(self._pace.due())
        if view.opens is not None:
            if view.opens.is_starved:
                times.append(self._retry_at)
            elif (due := view.opens.due()) is not None:
                times.append(due)
        return min(times)

    def poll(self, deadline: int) -> Sequence[Sighting]:
        """Return what was executed, and what a pass over /proc found besides."""
        view, queue = self._view, self._queue
        told: list[Sighting] = []
        if view is None or queue is None:
            return told
        self._follow_mounts(view)
        self._begin_scan(view)
        self._forget_dead(view)
        while len(told) < TOLD_MAX:
            heard = self._listen(view)
            self._tell(view, queue, told)
            if queue.is_hashing:
                queue.step()
            elif view.scan.is_running and not heard:
                self._look(view)
            elif not heard:
                self._losses.nothing_lost_until_now()
                break
            if self._clock.boot_ns() >= deadline:
                break
        self._tell(view, queue, told)
        self._note_losses(view, queue)
        self._last_success = self._clock.wall_ns()
        return [*self._losses.take(), *told]

    def cursor(self) -> bytes:
        """Return nothing: events cannot be read again."""
        return b""

    def health(self) -> SensorHealth:
        """Return the rung, and what narrows the view."""
        view = self._view
        limits = list(view.limits) if view else []
        notes: list[str] = []
        if view is not None:
            limits += self._passing_limits(view)
            notes = self._notes(view)
        state = HealthState.DEGRADED if limits else HealthState.OK
        return SensorHealth(
            state=HealthState.BLIND if view is None else state,
            rung=self._source.rung if view else "none",
            reason="; ".join(limits + notes) if view else self._blind or "not started",
            last_success=self._last_success,
            dropped=self._losses.total,
        )

    def stop(self) -> None:
        """Close everything; harmless when repeated or never started."""
        if self._queue is not None:
            self._queue.clear()
            self._queue = None
        self._heard = []
        if self._view is not None:
            self._view.sources.close()
            self._view.reader.close()
            self._view = None

    @property
    def remembered(self) -> int:
        """How many processes are remembered for ancestry, those that ended included."""
        return len(self._family)

    def ease(self, level: Ease) -> None:
        """Look over the processes less often, then hash nothing new, then read events alone."""
        self._ease = level
        if self._queue is not None:
            self._queue.hashes_new = level < Ease.NO_HASHING
        if self._view is not None:
            self._view.intake.looks_up = level < Ease.NO_ENRICHMENT

    def _opened(self) -> _View:
        settings = self._settings
        reader = ProcessReader(self._host, self._clock, argv_bytes_max=settings.argv_bytes_max)
        wanted = Wanted(
            receive_buffer_bytes=settings.receive_buffer_bytes,
            exits=settings.exits,
            opens=settings.fanotify,
            argv=self._open_argv if settings.audit_records else None,
        )
        sources = open_sources(self._host, reader.proc, self._clock, wanted)
        reader.is_foreign = sources.is_foreign
        hashes = ImageHashes(
            self._clock,
            size_bytes_max=settings.hash_size_bytes_max,
            entries_max=settings.hash_entries_max,
        )
        queue = HashQueue(hashes, settings.images_held_max, self._clock, reader.runs)
        opens = join = None
        if sources.files is not None:
            opens = ExecOpens(
                sources.files.group, queue, Descriptors(self._clock), self._clock, reader.running
            )
            self._renew(sources)
        if sources.argv is not None:
            join = ArgvJoin(sources.argv, reader.accounts, self._clock)
        means = Means(reader, self._family, queue, self._losses, self._overlays, opens, join)
        sees_others = may_look_into_others(self._host)
        self._queue = queue
        return _View(
            reader=reader,
            scan=ProcessScan(reader, self._family),
            intake=ProcessIntake(means),
            sources=sources,
            opens=opens,
            join=join,
            sees_others=sees_others,
            limits=(*sources.limits, *(() if sees_others else (_NO_OTHERS,))),
        )

    def _open_audit(self) -> ArgvSource:
        """Listen to audit records.

        Raises:
            AuditRefused: none of an exec would come.
        """
        settings = self._settings
        return open_audit(self._host, self._clock, settings.audit, settings.argv_bytes_max)

    def _named(self, view: _View) -> Source:
        """Return the rung that is reached now, and what it can miss."""
        sources = view.sources
        if sources.connector is None:
            interval = self._settings.reconcile_interval_s
            return Source(NAME, "poll", _COVERAGE_POLL.format(interval))
        rung = "procconn" if sources.files is None else "fanotify"
        coverage = (
            _EVERY
            + (_OF_FANOTIFY if sources.files is not None else _OF_PROC)
            + (_ARGV_TOLD if view.has_argv else _ARGV_RACY)
            + ("" if view.sees_others else _LIMITED)
        )
        return Source(NAME, "audit" if view.has_argv else rung, coverage)

    def _is_by_clock(self, view: _View) -> bool:
        """Whether sources are not waited on but read when the time has come."""
        is_starved = view.opens is not None and view.opens.is_starved
        return self._pace.is_coalescing or is_starved

    def _listen(self, view: _View) -> bool:
        """Take events that wait; return whether there may be more.

        No exec is taken before every file that was opened before it has been.
        """
        connector = view.sources.connector
        if connector is None:
            return False
        if not self._heard:
            self._heard = connector.receive(EVENTS_PER_TURN)
        events = self._heard
        if view.opens is not None and not view.opens.fill():
            self._retry_at = self._clock.boot_ns() + STARVED_RETRY_MS * NS_PER_MS
            return bool(events) and not view.opens.is_starved
        has_records = view.join is not None and view.join.receive()
        if view.has_argv is not (self._source.rung == "audit"):
            self._source = self._named(view)
        self._heard = []
        self._pace.note(sum(type(event) is Exec for event in events))
        if events and view.intake.take(events, self._clock):
            self._gap()
        if not connector.is_drained:
            return True
        if view.opens is not None:
            to_wall = self._clock.wall_ns() - self._clock.boot_ns()
            for pid, tried in view.opens.failed():
                view.intake.failed(pid, tried, tried.at + to_wall)
        return has_records

    def _gap(self) -> None:
        """Let a pass make good what was lost, soon."""
        self._has_gap = True
        self._scan_at = min(self._scan_at, self._scan_not_before)

    def _follow_mounts(self, view: _View) -> None:
        files = view.sources.files
        if files is not None and files.watch.changed():
            self._renew(view.sources)
            view.reader.images.forget_mounts()

    def _renew(self, sources: Sources) -> None:
        if sources.files is None:
            return
        try:
            renew(sources.files, self._overlays)
        except OSError:
            self._losses.gap(_OPENS_LOST)

    def _begin_scan(self, view: _View) -> None:
        """Begin the pass that is due, unless one is going on."""
        now = self._clock.boot_ns()
        if now < self._scan_at or view.scan.is_running:
            return
        interval = self._settings.reconcile_interval_s * NS_PER_S
        if self._ease >= Ease.SLOWER:
            interval *= EASED_INTERVALS
        self._scan_at = (now // interval + 1) * interval
        self._trust_events = view.sources.connector is not None and not self._has_gap
        if self._has_gap:
            self._has_gap = False
            self._scan_not_before = now + GAP_SCANS_EVERY_S * NS_PER_S
        view.reader.images.forget_mounts()
        view.scan.begin(self._settings.processes_max, now)

    def _forget_dead(self, view: _View) -> None:
        """Where many processes come and go, do not keep the dead until the next pass."""
        now = self._clock.boot_ns()
        if now >= self._prune_at and self._family.is_crowded and not view.scan.is_running:
            self._prune_at = now + PRUNE_EVERY_S * NS_PER_S
            self._family.prune(view.reader.proc.pids(), now)

    def _look(self, view: _View) -> None:
        """Look at one process of the pass."""
        sight = view.scan.step(trust_events=self._trust_events)
        if sight is not None:
            verify = view.sources.connector is None
            view.intake.find(sight, self._clock.wall_ns(), verify=verify)

    def _tell(self, view: _View, queue: HashQueue, told: list[Sighting]) -> None:
        """Tell all that is ready."""
        while len(told) < TOLD_MAX and (seen := queue.ready()) is not None:
            if view.join is not None:
                view.join.tell(seen)
            told.append(self._observation(seen))

    def _observation(self, seen: Seen) -> Observation:
        self._family.learn_digest(seen.process)
        if seen.kind is ObservationKind.PROCESS_EXEC:
            self.known.count(seen.process, has_parent=bool(seen.ancestry))
        return Observation(
            kind=seen.kind,
            source=self._source,
            event_time=seen.event_time,
            event_precision=seen.precision,
            observed_at=self._clock.wall_ns(),
            subject=Entity(Role.ACTOR, seen.process),
            ancestry=seen.ancestry,
        )

    def _note_losses(self, view: _View, queue: HashQueue) -> None:
        """State what was lost in this poll; a pass looks for what can still be seen of it."""
        self._losses.overflow(_NOT_HASHED, queue.take_skipped())
        unread, view.reader.starved = view.reader.starved, 0
        self._losses.overflow(_UNREAD, unread)
        opens_lost = view.opens.take_lost() if view.opens is not None else 0
        for _ in range(opens_lost):
            self._losses.gap(_OPENS_LOST)
        for _ in range(view.join.take_lost() if view.join is not None else 0):
            self._losses.gap(_ARGV_LOST)
        if unread or opens_lost:
            self._gap()

    def _passing_limits(self, view: _View) -> list[str]:
        """Return what narrows the view for now."""
        limits = []
        if view.scan.omitted:
            limits.append(f"{view.scan.omitted} processes beyond the limit are not looked at")
        if self._pace.is_coalescing:
            limits.append(_COALESCING)
        if self._ease >= Ease.NO_HASHING:
            limits.append(_EASED if self._ease is Ease.NO_HASHING else _EASED_MORE)
        if view.opens is not None and view.opens.is_starved:
            limits.append(_STARVED)
        if view.opens is not None and view.opens.is_broken:
            limits.append(_BROKEN)
        if view.sources.files is not None:
            limits += view.sources.files.marks.missing(by_nature=False)
        return limits

    def _notes(self, view: _View) -> list[str]:
        """Return what is good to know and narrows nothing that this rung promises."""
        notes = list(view.sources.notes)
        if view.sources.files is not None:
            marks = view.sources.files.marks
            marked = sum(not mark.refused for mark in marks.by_device.values())
            notes += [f"file systems watched: {marked}", *marks.missing(by_nature=True)]
        if self.known.execs:
            notes.append(f"known: {self.known.text()}")
        return notes


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
