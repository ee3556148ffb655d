"""From an event, or a find of a pass, to a process with its ancestors, queued for its digest."""

from collections.abc import Iterable
from typing import Any, Final

from msgspec import UNSET, Struct, structs

from agent.hosttext import host_text
from agent.sense.sensors.argvjoin import ArgvJoin
from agent.sense.sensors.execopens import ExecOpens, Opened, Taken, Try
from agent.sense.sensors.family import CAVEATS_MAX, Family
from agent.sense.sensors.hashqueue import HashQueue, Seen
from agent.sense.sensors.identity import (
    GONE,
    PATH_CHARS_MAX,
    Birth,
    Hint,
    ProcessReader,
    Ran,
    Sight,
)
from agent.sense.sensors.losses import Losses
from agent.sense.sensors.overlays import Overlays
from agent.sense.sensors.procevents import Event, Exec, Exit, Fork, Lost
from agent.sense.sensors.procfs import NS_PER_TICK
from proto.model import ObservationKind, Precision, Process
from runtime.clock import Clock

WAITING_MAX: Final = 4096

EVENTS_LOST: Final = "the kernel had no room for process events"
EXECS_DROPPED: Final = "execs beyond the queue"

UNHASHED: Final = "unhashed"
UNCERTAIN: Final = "image uncertain: several tries at once"
FAILED: Final = "not executed: the image is what was to be run"
NOT_LOOKED_UP: Final = "not looked up: over budget"
INHERITED: Final = "session, terminal, container and unit as of its parent"

_EXECS: Final = frozenset({ObservationKind.PROCESS_EXEC, ObservationKind.PROCESS_EXEC_FAILED})
_UNREAD: Final = frozenset({GONE, NOT_LOOKED_UP})
_NOTHING: Final = Taken(None)


class Means(Struct, frozen=True):
    """What an intake works with; the last three where there is such a source."""

    reader: ProcessReader
    family: Family
    queue: HashQueue
    losses: Losses
    overlays: Overlays
    opens: ExecOpens | None = None
    join: ArgvJoin | None = None


class ProcessIntake:
    """Takes events while their processes are still there."""

    def __init__(self, means: Means) -> None:
        self._reader = means.reader
        self._family = means.family
        self._queue = means.queue
        self._losses = means.losses
        self._overlays = means.overlays
        self._opens = means.opens
        self._join = means.join
        # Whether more is looked up than what the event itself tells.
        self.looks_up = True

    def take(self, events: Iterable[Event], clock: Clock) -> bool:
        """Take events in order; return whether some before them were lost."""
        monotonic = clock.monotonic_ns()
        to_boot = clock.boot_ns() - monotonic
        to_wall = clock.wall_ns() - monotonic
        later: dict[int, int] = {}
        for event in events:
            if type(event) is Exec:
                later[event.pid] = later.get(event.pid, 0) + 1
        lost = False
        for event in events:
            match event:
                case Fork():
                    start = (event.at + to_boot) // NS_PER_TICK * NS_PER_TICK
                    self._family.born(event.pid, Birth(ppid=event.ppid, start=start))
                case Exec():
                    later[event.pid] -= 1
                    self._exec(event, to_boot, to_wall, later[event.pid])
                case Exit():
                    self._exit(event.pid, event.at + to_wall)
                case Lost():
                    self._losses.gap(EVENTS_LOST)
                    if self._opens is not None:
                        self._opens.forget()
                    lost = True
                case _:
                    pass  # an answer to somebody's request
        return lost

    def find(self, sight: Sight, at: int, *, verify: bool) -> None:
        """Take what a pass over /proc found.

        Args:
            sight: the process.
            at: when it was seen, in nanoseconds UTC.
            verify: no events tell of forks, so that a known parent may have gone unseen.
        """
        process = sight.process
        if sight.image is not None:
            self._overlays.learn(sight.image.facts.dev, process.container)
        seen = Seen(ObservationKind.PROCESS_SEEN, process, (), at, Precision.POLL)
        self._hold(seen, sight)
        self._push(seen, verify=verify)

    def failed(self, pid: int, tried: Try, at: int, *, is_certain: bool = True) -> None:
        """Take a try that was not followed by an exec.

        Args:
            pid: of the process.
            tried: what it opened.
            at: when, in nanoseconds UTC.
            is_certain: nothing else explains it.
        """
        opened = tried.script or tried.image
        if opened is None:
            return
        process = self._family.get(pid)
        birth = self._family.birth(pid)
        if process is None:
            sight = self._reader.read(pid, hint=Hint(birth))
            process = sight.process if sight else self._reader.unread(pid, birth, tried.at)
        process = structs.replace(
            process,
            exe=host_text(opened.path, PATH_CHARS_MAX),
            argv=(),
            sha256=UNSET,
            script=UNSET,
            script_sha256=UNSET,
            caveats=(FAILED,) if is_certain else (FAILED, UNCERTAIN),
        )
        seen = Seen(ObservationKind.PROCESS_EXEC_FAILED, process, (), at, Precision.SECOND)
        seen.shot = opened.shot
        self._push(seen, verify=False)

    def _exec(self, event: Exec, to_boot: int, to_wall: int, later: int) -> None:
        pid, boot, at = event.pid, event.at + to_boot, event.at + to_wall
        taken = self._opens.take(pid, boot, later) if self._opens is not None else _NOTHING
        for tried in taken.failed:
            self.failed(pid, tried, at, is_certain=taken.is_certain)
        ran = taken.ran.image if taken.ran is not None else None
        script = taken.ran.script if taken.ran is not None else None
        birth = self._family.birth(pid)
        hint = Hint(birth, boot, Ran(ran.facts, ran.path) if ran is not None else None)
        sight = None
        if self.looks_up:
            wants_script = script is None
            sight = self._reader.read(pid, with_image=True, with_script=wants_script, hint=hint)
        if sight is None:
            sight = Sight(self._unread(pid, hint))
        seen = Seen(ObservationKind.PROCESS_EXEC, sight.process, (), at, Precision.EXACT)
        self._hold(seen, sight)
        changes: dict[str, Any] = {}
        caveats = sight.process.caveats
        if ran is not None:
            seen.shot = ran.shot
            self._place(ran, sight.process, changes)
        elif sight.image is None:
            caveats = (*caveats, UNHASHED)
        if script is not None:
            seen.script = script.shot
            changes["script"] = host_text(script.path, PATH_CHARS_MAX)
        if not taken.is_certain:
            caveats = (*caveats, UNCERTAIN)
        if caveats is not sight.process.caveats:
            changes["caveats"] = caveats[-CAVEATS_MAX:]
        if changes:
            seen.process = structs.replace(sight.process, **changes)
        self._push(seen, verify=False)

    def _unread(self, pid: int, hint: Hint) -> Process:
        """Return what is known of a process that ended before it was read."""
        why = GONE if self.looks_up else NOT_LOOKED_UP
        process = self._reader.unread(pid, hint.birth, hint.before or 0, why)
        if hint.ran is None:
            return process
        return structs.replace(process, exe=host_text(hint.ran.path, PATH_CHARS_MAX))

    def _place(self, ran: Opened, process: Process, changes: dict[str, Any]) -> None:
        """Tell the container by the device of the image, or learn whose device that is."""
        device = ran.facts.dev
        owner = self._overlays.owner(device)
        if owner is None:
            self._overlays.learn(device, process.container)
        elif process.container != owner:
            changes["container"] = owner

    def _exit(self, pid: int, at: int) -> None:
        process = self._family.get(pid)
        if process is not None:
            seen = Seen(ObservationKind.PROCESS_EXIT, process, (), at, Precision.EXACT)
            self._push(seen, verify=False)

    def _hold(self, seen: Seen, sight: Sight) -> None:
        """Give the files of a process to be hashed."""
        pid = sight.process.pid
        if sight.image is not None:
            seen.shot = self._queue.submit(sight.image, pid)
        if sight.script is not None:
            seen.script = self._queue.submit(sight.script, pid)

    def _push(self, seen: Seen, *, verify: bool) -> None:
        if len(self._queue) >= WAITING_MAX:
            self._losses.overflow(EXECS_DROPPED, 1)
            return
        seen.ancestry = self._family.ancestry(seen.process, self._reader, verify=verify)
        if seen.ancestry and not _UNREAD.isdisjoint(seen.process.caveats):
            seen.process = _of_parent(seen.process, seen.ancestry[0])
        if self._join is not None and seen.kind in _EXECS:
            self._join.expect(seen)
        self._queue.push(seen)
        if seen.kind is not ObservationKind.PROCESS_EXEC_FAILED:
            self._family.remember(seen.process)


def _of_parent(process: Process, parent: Process) -> Process:
    """Return a process that ended with what the kernel hands on at a fork."""
    missing = {
        name: getattr(parent, name)
        for name in ("session", "tty", "container", "unit")
        if getattr(process, name) is UNSET and getattr(parent, name) is not UNSET
    }
    if not missing:
        return process
    caveats = (*process.caveats, INHERITED)[-CAVEATS_MAX:]
    return structs.replace(process, caveats=caveats, **missing)
