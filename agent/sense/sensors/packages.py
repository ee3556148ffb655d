"""Packages: what dpkg says is installed, and what it installs and removes.

Source: ``/var/lib/dpkg/status``, which dpkg replaces as a whole. Privilege: none. Cost: 10 ms of
CPU a thousand packages, at the start and after each change. Misses: a package that comes and goes
between two looks, software that dpkg does not know, and what became of a package's files.

At first the whole inventory is stated; then only what came and went, by name and architecture, so
that an upgrade is one version gone and another come.
"""

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from agent.hostroot import HostFileError, HostRoot
from agent.sense.ports import POLL_SIGHTINGS_MAX, SensorHealth, SensorSpec, Sighting
from agent.sense.sensors import dpkg
from agent.sense.sensors.replacewatch import ReplaceWatch
from agent.sense.sensors.told import Opening, StateLost, Told, ToldLimits
from proto import model
from proto.model import Change, HealthState, InventoryItem, Observation, ObservationKind, Package
from runtime.clock import NS_PER_S, Clock

# dpkg writes its status several times in one run; half a run is not worth telling.
SETTLE_NS: Final = 2 * NS_PER_S
_STATE_BYTES_MAX: Final = 32 * 1024 * 1024
_JOURNAL_ROWS_MAX: Final = 65_536
_SIGHTINGS_A_STEP: Final = 3

_STATUS_KEY: Final = b"!status"
_BASELINE_KEY: Final = b"!baseline"
_FIRST_KEY: Final = b"p:"
_LAST_KEY: Final = b"p;"

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Package)

_Steps = Generator[None, None, None]


class PackageSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How packages are watched."""

    # dpkg's renames wake us; this is for where inotify cannot, such as some container mounts.
    interval_s: Annotated[int, Meta(ge=5, le=86_400)] = 600


class PackageSensor:
    """Tells the inventory and its changes.

    Args:
        settings: how often to look without being woken.
        host: the only way to dpkg's files.
        clock: paces and stamps.
        state: our database; in a directory of `sense` alone.
    """

    spec = SensorSpec(
        name="packages",
        source="dpkg status",
        coverage="packages that dpkg installed",
        misses="software outside dpkg; packages that come and go between two looks",
        privilege="none",
        cost="10 ms of CPU a thousand packages after each change",
    )

    def __init__(
        self, settings: PackageSettings, host: HostRoot, clock: Clock, state: Path
    ) -> None:
        self._settings = settings
        self._host = host
        self._clock = clock
        self._told = Told(state, ToldLimits(_STATE_BYTES_MAX, _JOURNAL_ROWS_MAX))
        self._watch = ReplaceWatch(host, dpkg.STATUS_PATH)
        self._out: list[Sighting] = []
        self._comparing: _Steps | None = None
        self._due: int | None = None
        self._changed_at = 0
        self._lost: Opening | None = None
        self._is_replaying = False
        self._last_success = 0
        self._problem = ""
        self._odd = 0

    def start(self, cursor: bytes) -> None:
        """Open the state; what was told and not sealed is told first."""
        self.stop()
        self._watch.open()
        self._is_replaying = True
        self._begin(self._told.open(cursor))

    def descriptors(self) -> Sequence[int]:
        """Return the inotify descriptor, where there is one."""
        fd = self._watch.fileno()
        return (fd,) if fd >= 0 else ()

    def due(self) -> int | None:
        """Return when the next look is wanted."""
        return 0 if self._is_replaying or self._comparing else self._due

    def poll(self, deadline: int) -> Sequence[Sighting]:
        """Compare the status file with what was told, as far as the deadline lets us."""
        if self._due is None:
            return ()
        out = self._out = []
        try:
            if self._is_replaying:
                again = self._told.replay(POLL_SIGHTINGS_MAX)
                self._is_replaying = len(again) == POLL_SIGHTINGS_MAX
                return again
            if self._watch.was_replaced():
                self._due = min(self._due, self._clock.boot_ns() + SETTLE_NS)
            self._work(deadline)
            self._told.commit(self._clock.wall_ns())
        except StateLost as error:
            self._begin(self._told.reopen(f"the state was damaged: {error.message}"))
        return out

    def cursor(self) -> bytes:
        """Return the generation up to which `poll` has told."""
        return self._told.cursor()

    def health(self) -> SensorHealth:
        """Return whether dpkg's status can be read."""
        reasons = [r for r in (self._problem, self._told.problem) if r]
        if self._odd:
            reasons.append(f"{self._odd} entries of the status file are not packages")
        state = HealthState.DEGRADED if reasons else HealthState.OK
        if self._due is None or not self._last_success:
            state = HealthState.BLIND
            reasons = reasons or ["not read yet"]
        return SensorHealth(
            state=state,
            rung="inotify" if self._watch.fileno() >= 0 else "poll",
            reason="; ".join(reasons),
            last_success=self._last_success,
            dropped=self._odd + self._told.forgotten,
        )

    def stop(self) -> None:
        """Close inotify and the state."""
        if self._comparing is not None:
            self._comparing.close()
            self._comparing = None
        self._watch.close()
        self._told.close()
        self._due = None

    # ------------------------------------------------------------------------- the work

    def _begin(self, opening: Opening) -> None:
        if self._comparing is not None:
            self._comparing.close()
            self._comparing = None
        self._is_replaying = self._is_replaying and not opening.is_new
        self._lost = opening if opening.lost else None
        self._due = 0

    def _work(self, deadline: int) -> None:
        now = self._clock.boot_ns()
        if self._comparing is None and self._due is not None and now >= self._due:
            self._due = now + self._settings.interval_s * NS_PER_S
            if self._watch.fileno() < 0:
                self._watch.open()
            self._tell_loss()
            self._comparing = self._compare()
        room = POLL_SIGHTINGS_MAX - _SIGHTINGS_A_STEP
        while self._comparing is not None and len(self._out) <= room:
            if next(self._comparing, self) is self:
                self._comparing = None
            if self._clock.boot_ns() >= deadline:
                return

    def _compare(self) -> _Steps:
        """Read the status file and tell the differences, one package a step."""
        try:
            seen = self._host.stat(dpkg.STATUS_PATH)
            stamp = b"%d:%d:%d" % (seen.st_ino, seen.st_size, seen.st_mtime_ns)
            if self._told.get(_STATUS_KEY) == stamp:
                self._success("")
                return
            data = self._host.read_bytes(dpkg.STATUS_PATH, dpkg.STATUS_BYTES_MAX)
        except HostFileError as error:
            self._problem = error.message
            return
        self._changed_at = seen.st_mtime_ns
        found = yield from self._parse(data)
        if not found:
            return
        yield from self._tell_differences(found)
        self._told.put(_BASELINE_KEY, b"1")
        self._told.put(_STATUS_KEY, stamp)
        self._success("")

    def _parse(self, data: bytes) -> Generator[None, None, dict[bytes, Package]]:
        """Return all packages; none where the file cannot be believed to name them all."""
        found: dict[bytes, Package] = {}
        self._odd = 0
        for stanza in dpkg.stanzas(data):
            yield
            self._odd += stanza.is_odd
            if stanza.package is not None:
                found[_key_of(stanza.package)] = stanza.package
            if len(found) > dpkg.PACKAGES_MAX:
                self._problem = f"more than {dpkg.PACKAGES_MAX} packages"
                return {}
        self._problem = "" if found else f"{dpkg.STATUS_PATH} names no package"
        return found

    def _tell_differences(self, found: dict[bytes, Package]) -> _Steps:
        is_baseline = self._told.get(_BASELINE_KEY) is None
        known = dict(self._told.between(_FIRST_KEY, _LAST_KEY, 2 * dpkg.PACKAGES_MAX))
        for key, value in known.items():
            yield
            if key not in found:
                self._told.put(key, None)
                self._tell_removed(_decoded(value))
        for key, package in found.items():
            yield
            old = known.get(key)
            if old is None:
                self._told.put(key, _encoder.encode(package))
                self._tell_new(package, is_baseline=is_baseline)
            elif (before := _decoded(old)) != package:
                self._told.put(key, _encoder.encode(package))
                self._tell_changed(before, package)

    def _tell_new(self, package: Package, *, is_baseline: bool) -> None:
        if is_baseline:
            self._tell_item(Change.PRESENT, package)
        else:
            self._tell_item(Change.ADDED, package)
            self._tell_observation(ObservationKind.PACKAGE_INSTALLED, package)

    def _tell_removed(self, package: Package) -> None:
        self._tell_item(Change.REMOVED, package)
        self._tell_observation(ObservationKind.PACKAGE_REMOVED, package)

    def _tell_changed(self, before: Package, package: Package) -> None:
        if before.version == package.version:
            self._tell_item(Change.PRESENT, package)  # only its state has moved on
            return
        self._tell_item(Change.REMOVED, before)
        self._tell_new(package, is_baseline=False)

    def _tell_item(self, change: Change, package: Package) -> None:
        item = model.Entity(model.Role.TARGET, package)
        self._tell(InventoryItem(change, item, self._clock.wall_ns(), self._source()))

    def _tell_observation(self, kind: ObservationKind, package: Package) -> None:
        self._tell(
            Observation(
                kind=kind,
                source=self._source(),
                event_time=self._changed_at,
                event_precision=model.Precision.POLL,
                observed_at=self._clock.wall_ns(),
                subject=model.Entity(model.Role.TARGET, package),
            )
        )

    def _tell_loss(self) -> None:
        """Say that changes may have gone untold, where the state was lost."""
        if self._lost is not None:
            drop = model.Drop(
                reason=model.DropReason.SOURCE_GAP,
                sensor=self.spec.name,
                first=self._lost.seen,
                last=self._clock.wall_ns(),
                last_boot=self._clock.boot_ns(),
                detail=f"{self._lost.lost}; the inventory is stated again",
            )
            self._lost = None
            self._tell(drop)

    def _tell(self, sighting: Sighting) -> None:
        self._told.tell(sighting)
        self._out.append(sighting)

    def _success(self, problem: str) -> None:
        self._problem = problem
        self._last_success = self._clock.wall_ns()
        self._told.note_seen(self._last_success)

    def _source(self) -> model.Source:
        rung = "inotify" if self._watch.fileno() >= 0 else "poll"
        return model.Source(self.spec.name, rung, self.spec.coverage)


def package_rows(host: HostRoot) -> Iterator[dict[str, object]]:
    """Yield a row for each package present: ``manager name version architecture state``.

    Raises:
        HostFileError: dpkg's status cannot be read.
    """
    data = host.read_bytes(dpkg.STATUS_PATH, dpkg.STATUS_BYTES_MAX)
    for package in dpkg.packages(data):
        yield msgspec.structs.asdict(package)


def _key_of(package: Package) -> bytes:
    return f"p:{package.name}:{package.architecture}".encode()


def _decoded(value: bytes) -> Package:
    try:
        return _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StateLost("a row cannot be read") from error
