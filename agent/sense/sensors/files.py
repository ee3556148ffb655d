"""Files: what is in the watched trees, what is put there, changed and removed.

Source: one fanotify(7) mark on each file system, else inotify(7) on every directory of a tree, and
always a sweep that compares all metadata. Privilege: the right to read the trees; for marks, which
also tell who it was, CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH. Cost: nothing while nothing changes, 6
CPU-s a million files each sweep, 3 us an event on a marked file system, 1 KiB of kernel memory a
watched directory. Misses: files that come and go between two looks, writes through a mapping or a
descriptor that is never closed until the sweep, changes below a directory that cannot be listed,
and anything in a mount of another file system inside a tree.

What was told is kept (`told`), so that a restart tells the differences alone.
"""

import hashlib
import os
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from agent.hostroot import HostRoot
from agent.sense.ports import POLL_SIGHTINGS_MAX, Ease, SensorHealth, SensorSpec, Sighting
from agent.sense.sensors.fileactors import Actors, racy
from agent.sense.sensors.fileevents import FileEvents
from agent.sense.sensors.filelook import Looker, Steps
from agent.sense.sensors.filemarks import Own
from agent.sense.sensors.filesweep import Sweep
from agent.sense.sensors.filetrees import FileSettings, Place, Scope, Tree
from agent.sense.sensors.fileverdict import Verdicts
from agent.sense.sensors.filewatch import Changes
from agent.sense.sensors.told import Opening, StateLost, Told, ToldLimits
from proto.model import Drop, DropReason, HealthState, Process, Source
from runtime.clock import NS_PER_MS, NS_PER_S, Clock

SETTLE_NS: Final = 100 * NS_PER_MS
# So much longer are the intervals of sweeps while sensing is over its budget.
EASED_SWEEPS: Final = 4
REPAIR_NS: Final = 30 * NS_PER_S
PENDING_MAX: Final = 16_384
JOURNAL_ROWS_MAX: Final = 65_536


class _Gap(Struct, frozen=True):
    """A time in which changes may have gone unseen; ``first`` is wall time, None for unknown."""

    why: str
    first: int | None


class FileSensor:
    """Watches the configured trees.

    Args:
        settings: which trees, and how hard.
        host: the only way to their files.
        clock: its boot clock paces, its wall clock stamps.
        state: our database; in a directory of `sense` alone.
        own_pid: the process whose changes are not told: ourselves.
    """

    spec = SensorSpec(
        name="files",
        source="fanotify or inotify, metadata sweep, dpkg digests",
        coverage="configured trees; content hash when metadata moved",
        misses="files gone between two looks; open or mapped writes until the sweep; inner mounts",
        privilege="read access to the trees; CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH for fanotify",
        cost="6 CPU-s a million files each sweep; 3 us an event, or 1 KiB a watched directory",
    )

    def __init__(
        self,
        settings: FileSettings,
        host: HostRoot,
        clock: Clock,
        state: Path,
        own_pid: int | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._told = Told(state, ToldLimits(settings.state_bytes_max, JOURNAL_ROWS_MAX))
        scope = Scope(settings.trees)
        self._verdicts = Verdicts(host, clock, scope.may_hold)
        self._looker = Looker(host, clock, self._told, settings, self._verdicts)
        self._looker.who = self._who
        own = Own(os.getpid() if own_pid is None else own_pid, os.fspath(state.parent))
        self._events = FileEvents(host, clock, scope, settings, own)
        self._actors = Actors(host, clock)
        self._sweep = Sweep(host, scope, self._looker, self._events, settings.entries_max)
        self._trees = [_flag_of(tree) for tree in settings.trees]
        self._files: dict[bytes, tuple[int, Place]] = {}
        self._places: dict[bytes, Place] = {}
        self._by: dict[bytes, Process] = {}
        self._read_at = 0
        self._urgent: Steps | None = None
        self._sweeping: Steps | None = None
        self._sweep_due = 0
        self._repair_due = 0
        self._swept_at = 0
        self._turn = 0
        self._last_success = 0
        self._gap: _Gap | None = None
        self._is_replaying = False
        self._is_started = False
        self._ease = Ease.NORMAL

    def start(self, cursor: bytes) -> None:
        """Open the state and the events; what was told and not sealed is told first."""
        self.stop()
        opening = self._told.open(cursor)
        self._events.open()
        self._read_at = self._clock.boot_ns()
        self._verdicts.open()
        self._is_started = True
        self._is_replaying = True
        self._begin(opening, "the sensor was not running")

    def descriptors(self) -> Sequence[int]:
        """Return the descriptors of events, where there are any."""
        return (*self._events.descriptors(), *self._verdicts.descriptors())

    def due(self) -> int | None:
        """Return when the next look is wanted."""
        if not self._is_started:
            return None
        if self._is_replaying or self._urgent or self._sweeping or self._places:
            return 0
        due = [self._sweep_due]
        if (pending := next(iter(self._files.values()), None)) is not None:
            due.append(pending[0])
        others = (self._verdicts.due(), self._events.due())
        return min([*due, *(other for other in others if other is not None)])

    def poll(self, deadline: int) -> Sequence[Sighting]:
        """Read events, do what is due until ``deadline``, and return what is new."""
        if not self._is_started:
            return ()
        out = self._looker.out = []
        self._looker.source = self._source()
        try:
            if self._is_replaying:
                again = self._told.replay(POLL_SIGHTINGS_MAX)
                self._is_replaying = len(again) == POLL_SIGHTINGS_MAX
                return again
            self._read_events()
            if self._verdicts.wants_sweep() or self._events.mounts.changed():
                self._sweep_due = 0
            self._work(deadline)
            self._told.commit(self._clock.wall_ns())
        except StateLost as error:
            self._begin(self._told.reopen(f"the state was damaged: {error}"), "")
        return out

    def ease(self, level: Ease) -> None:
        """Sweep less often, then hash nothing new; what was not hashed the next sweep looks at."""
        if self._ease >= Ease.NO_HASHING > level:
            self._sweep_due = 0
        self._ease = level
        self._looker.hash_new(is_hashing=level < Ease.NO_HASHING)

    def cursor(self) -> bytes:
        """Return the generation up to which `poll` has told."""
        return self._told.cursor()

    def health(self) -> SensorHealth:
        """Return what is watched and what is not."""
        report = self._sweep.report
        reasons = list(self._reasons())
        # Who changed a file is no longer told, and anybody can make a file system busy.
        is_less = bool(reasons) or self._events.has_given_up
        state = HealthState.DEGRADED if is_less else HealthState.OK
        reasons += self._events.notes()
        if not self._is_started:
            state, reasons = HealthState.BLIND, ["not started"]
        elif self._last_success and report.roots == report.missing:
            state = HealthState.BLIND
            reasons.insert(0, "none of the trees exists")
        return SensorHealth(
            state=state,
            rung=self._rung(),
            reason="; ".join(reasons),
            last_success=self._last_success,
            dropped=report.over + self._told.forgotten,
        )

    def stop(self) -> None:
        """Close the events and the state; what waits is found again by the next sweep."""
        self._drop_work()
        self._events.close()
        self._actors.close()
        self._verdicts.close()
        self._told.close()
        self._is_started = False

    # ------------------------------------------------------------------------- the work

    def _begin(self, opening: Opening, gap: str) -> None:
        """Plan a sweep; with a state lost or time missed, say so in front of it."""
        self._drop_work()
        self._sweep_due = 0
        self._is_replaying = self._is_replaying and not opening.is_new
        if opening.lost or not opening.is_new:
            self._gap = _Gap(opening.lost or gap, opening.seen)

    def _drop_work(self) -> None:
        for work in (self._urgent, self._sweeping):
            if work is not None:
                work.close()
        self._urgent = self._sweeping = None
        self._forget_events()

    def _forget_events(self) -> None:
        self._files.clear()
        self._places.clear()
        self._by.clear()

    def _read_events(self) -> None:
        changes = self._events.read()
        now = self._clock.boot_ns()
        for path, place in changes.files.items():
            self._files.setdefault(path, (now + SETTLE_NS, place))
        self._places.update(changes.places)
        if changes.pids:
            self._name(changes)
        if changes.seen and not changes.has_more:
            self._read_at = now
        if changes.overflowed or len(self._files) + len(self._places) > PENDING_MAX:
            self._forget_events()
            self._gap = self._gap or _Gap("more events than could be taken", self._swept_at)
            # The first repair is at once; a flood without an end is not answered by one of sweeps.
            self._sweep_due = min(self._sweep_due, max(self._repair_due, now))
            self._repair_due = now + REPAIR_NS

    def _name(self, changes: Changes) -> None:
        """Remember who is said to have changed what waits to be looked at."""
        who = self._actors.of(changes.pids.values(), self._read_at)
        for path, pid in changes.pids.items():
            before = self._by.get(path)
            is_one = path not in changes.shared and (before is None or before.pid == pid)
            if pid in who:
                self._by[path] = who[pid] if is_one else racy(who[pid])
            else:
                self._by.pop(path, None)

    def _who(self, path: bytes) -> Process | None:
        """Return who is said to have changed a file, once."""
        return self._by.pop(path, None)

    def _work(self, deadline: int) -> None:
        """Advance, urgent work first, until the deadline or a full return; at least one step."""
        room = POLL_SIGHTINGS_MAX - 1
        while self._step() and len(self._looker.out) < room:
            if self._clock.boot_ns() >= deadline:
                return

    def _step(self) -> bool:
        """Advance by a slice; False when nothing is due.

        A file, a place and the sweep each get their turn: a flood of one must not hide the others.
        """
        self._turn += 1
        if self._turn % 8 == 0 and self._sweeping is not None:
            return self._step_sweep()
        if self._urgent is None:
            self._urgent = self._next_urgent()
        if self._urgent is None:
            return self._step_sweep()
        if _is_over(self._urgent):
            self._urgent = None
        return True

    def _step_sweep(self) -> bool:
        if self._sweeping is None:
            if self._clock.boot_ns() < self._sweep_due:
                return False
            self._begin_sweep()
        elif _is_over(self._sweeping):
            self._sweeping = None
            self._end_sweep()
        return True

    def _next_urgent(self) -> Steps | None:
        path = next(iter(self._files), None)
        is_settled = path is not None and self._files[path][0] <= self._clock.boot_ns()
        if path is not None and is_settled and (self._turn % 2 or not self._places):
            _, place = self._files.pop(path)
            return self._last(path, self._looker.look(path, is_baseline=self._is_baseline(place)))
        if self._places:
            place = self._places.pop(next(iter(self._places)))
            steps = self._sweep.part(place, is_baseline=self._is_baseline(place))
            return self._last(place.path, steps)
        return None

    def _last(self, path: bytes, steps: Steps) -> Steps:
        """Take the steps; who is said to have changed it is not remembered beyond them."""
        yield from steps
        if path not in self._files and path not in self._places:
            self._by.pop(path, None)

    def _begin_sweep(self) -> None:
        interval = self._settings.sweep_interval_s * NS_PER_S * (EASED_SWEEPS if self._ease else 1)
        self._sweep_due = (self._clock.boot_ns() // interval + 1) * interval
        self._swept_at = self._clock.wall_ns()
        if self._gap is not None:
            self._looker.tell(self._drop(self._gap))
            self._gap = None
        baselined = {n for n, flag in enumerate(self._trees) if self._told.get(flag)}
        self._sweeping = self._sweep_all(baselined)

    def _sweep_all(self, baselined: Container[int]) -> Steps:
        yield from self._verdicts.refresh()
        yield from self._sweep.everything(baselined)
        self._verdicts.all_judged()

    def _end_sweep(self) -> None:
        self._last_success = self._clock.wall_ns()
        self._told.note_seen(self._last_success)
        for flag in self._trees:
            if not self._told.get(flag):
                self._told.put(flag, b"1")

    def _is_baseline(self, place: Place) -> bool:
        return self._told.get(self._trees[place.tree]) is None

    # ------------------------------------------------------------------------- what is said

    def _drop(self, gap: _Gap) -> Drop:
        return Drop(
            reason=DropReason.SOURCE_GAP,
            sensor=self.spec.name,
            first=gap.first,
            last=self._clock.wall_ns(),
            last_boot=self._clock.boot_ns(),
            detail=f"{gap.why}; all trees are compared again",
        )

    def _rung(self) -> str:
        return self._events.rung

    def _source(self) -> Source:
        return Source(self.spec.name, self._rung(), self.spec.coverage)

    def _reasons(self) -> Iterator[str]:
        report = self._sweep.report
        if self._last_success == 0:
            yield "the first sweep is not finished"
        if self._ease:
            what = "not hashed" if self._ease >= Ease.NO_HASHING else "swept less often"
            yield f"over budget: files are {what}"
        if self._events.watches.problem:
            yield f"sweep only for some directories: {self._events.watches.problem}"
        if report.over:
            yield f"{report.over} files over the limit of {self._settings.entries_max}"
        if report.unlisted:
            yield f"{len(report.unlisted)} directories cannot be listed"
        if report.links:
            yield f"{report.links} trees are symbolic links, which are not followed"
        if self._verdicts.problem:
            yield self._verdicts.problem
        if self._told.problem:
            yield f"restart will tell some files again: {self._told.problem}"


def _is_over(steps: Steps) -> bool:
    """Advance by one slice and tell whether that was the last."""
    try:
        next(steps)
    except StopIteration:
        return True
    return False


def _flag_of(tree: Tree) -> bytes:
    """Return the key under which a tree's baseline is marked done; other settings, other key."""
    return b"!tree:" + hashlib.sha256(msgspec.json.encode(tree)).digest()
