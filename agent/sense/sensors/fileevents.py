"""The ladder of file events: marks on file systems where permitted, else watches on directories.

Which rung a file system is on is found by trying. Marks see everything on it, so what is read is
gathered: after a read nothing more is read for a while, longer while nothing of it is ours. File
systems so busy that the queue overflows again and again, or that reading it takes more than a few
hundredths of a core for half a minute, are left to watches on our few directories, and tried again
later.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Final

from agent.hostroot import HostFileError, HostRoot
from agent.sense.sensors.filemarks import Marks, Own
from agent.sense.sensors.filemountwatch import MountWatch
from agent.sense.sensors.filetrees import FileSettings, Place, Scope
from agent.sense.sensors.filewatch import Changes, Watches
from runtime.clock import NS_PER_MS, NS_PER_S, Clock

COALESCE_NS: Final = 100 * NS_PER_MS
COALESCE_NS_MAX: Final = NS_PER_S
# A quarter of the kernel's queue: what is gathered must not come near its end.
GATHERED_MAX: Final = 4096
OVERFLOWS_MAX: Final = 3
OVERFLOWS_WITHIN_NS: Final = 600 * NS_PER_S
# An event that is not ours costs 3 to 12 us: this many a second, 3 to 12 % of a core.
BUSY_EVENTS_A_SECOND: Final = 10_000
BUSY_PERIOD_NS: Final = 10 * NS_PER_S
BUSY_PERIODS_MAX: Final = 3
RETRY_NS: Final = 3600 * NS_PER_S

FANOTIFY: Final = "fanotify"
INOTIFY: Final = "inotify"
SWEEP: Final = "sweep"

_PATH_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class FileEvents:
    """What wakes the file sensor.

    Args:
        host: opens the directories.
        clock: its boot clock paces.
        scope: which names and directories count.
        settings: whether to use marks, and how many watches.
        own: of whom nothing is heard.
    """

    def __init__(
        self, host: HostRoot, clock: Clock, scope: Scope, settings: FileSettings, own: Own
    ) -> None:
        self._host = host
        self._clock = clock
        self._own = own
        self._own_key: tuple[int, int] | None = None
        self._is_wanted = settings.fanotify and settings.watches_max > 0
        self.marks = Marks(host, scope, own)
        self.watches = Watches(host, scope, settings.watches_max)
        self.mounts = MountWatch(host, clock, scope.concerns)
        self._window = COALESCE_NS
        self._read_due: int | None = None
        self._overflows: list[int] = []
        self._given_up: int | None = None
        self._period = (0, 0)
        self._busy_periods = 0

    def open(self) -> None:
        """Open what is to be had."""
        self._read_due = self._given_up = None
        self._overflows.clear()
        try:
            seen = os.stat(self._own.state)  # noqa: PTH116  (our own directory, not the host's)
            self._own_key = seen.st_dev, seen.st_ino
        except OSError:
            self._own_key = None
        self.watches.open()
        self.mounts.open()
        if self._is_wanted:
            self.marks.open()

    def descriptors(self) -> Sequence[int]:
        """Return what to wait on; nothing of the marks while their events are being gathered."""
        marks = self.marks.fileno() if self._read_due is None else -1
        events = tuple(fd for fd in (marks, self.watches.fileno()) if fd >= 0)
        return (*events, *self.mounts.descriptors())

    def due(self) -> int | None:
        """Return when gathered events should be read, or new mounts looked at."""
        due = [at for at in (self._read_due, self.mounts.due()) if at is not None]
        return min(due, default=None)

    def begin_sweep(self) -> None:
        """Try again what could not be watched."""
        if self._given_up is not None and self._clock.boot_ns() - self._given_up > RETRY_NS:
            self._given_up = None
            self.watches.close()
            self.watches.open()
            self.marks.open()
        elif self._given_up is None and self._is_wanted:
            self.marks.read_mounts()
        self.watches.begin_sweep()

    def end_sweep(self) -> None:
        """Every directory has been tried."""
        self.watches.end_sweep()

    def is_own(self, seen: os.stat_result) -> bool:
        """Tell whether a directory is the one where we keep our own state."""
        return (seen.st_dev, seen.st_ino) == self._own_key

    def add(self, fd: int, dev: int, place: Place) -> None:
        """Hear of changes in the directory that ``fd`` holds open."""
        if not self.marks.add(fd, dev, place):
            self.watches.add(fd, place)

    def add_parent(self, root: Place, *, is_file: bool) -> None:
        """Hear of a root that is missing, or a file, through the directory above it."""
        try:
            fd = self._host.open(root.path.rpartition(b"/")[0] or b"/", _PATH_FLAGS)
        except HostFileError:
            return
        try:
            is_marked = self.marks.cover_parent(fd, root)
        finally:
            os.close(fd)
        if not is_marked:
            self.watches.add_parent(root, is_file=is_file)

    def read(self) -> Changes:
        """Return what the events that wait ask for; nothing while they are being gathered."""
        changes = self.watches.read()
        now = self._clock.boot_ns()
        if self.marks.fileno() < 0 or (self._read_due is not None and now < self._read_due):
            return changes
        found = self.marks.read()
        self._pace(found, now)
        if found.overflowed:
            self._note_overflow(now)
        if self._is_too_busy(found.seen, now):
            self._give_up(now)
            found.overflowed = True  # until the sweep has set watches nothing is heard
        found.files |= changes.files
        found.places |= changes.places
        found.overflowed |= changes.overflowed
        return found

    @property
    def rung(self) -> str:
        """The rungs that are in use, highest first."""
        used = [
            name
            for name, is_used in (
                (FANOTIFY, self.marks.fileno() >= 0),
                (INOTIFY, self.watches.count > 0 or self._is_all_watched),
            )
            if is_used
        ]
        return "+".join(used) or SWEEP

    @property
    def _is_all_watched(self) -> bool:
        return self.marks.fileno() < 0 and self.watches.fileno() >= 0

    @property
    def has_given_up(self) -> bool:
        """Whether marks that were there are left alone for a while: others decide how long."""
        return self._given_up is not None

    def notes(self) -> Iterator[str]:
        """Yield why file systems are on a lower rung; all of them are swept."""
        if self._given_up is not None:
            yield "inotify instead of fanotify: the file systems are too busy"
            return
        if self.marks.problem:
            yield f"inotify instead of fanotify: {self.marks.problem}"
        for reason, count in self.marks.refusals().items():
            yield f"inotify on {count} mounts instead of fanotify: {reason}"
        for point in self.marks.overlays():
            yield f"the overlay at {point} is watched through its upper directory"

    def close(self) -> None:
        """End all marks and watches; harmless when repeated."""
        self.marks.close()
        self.watches.close()
        self.mounts.close()

    def _pace(self, found: Changes, now: int) -> None:
        """Decide when to read again; where nothing waited, the next event wakes us."""
        if not found.seen:
            self._read_due = None
            self._window = COALESCE_NS
            return
        if found.files or found.places or found.seen > GATHERED_MAX:
            self._window = COALESCE_NS
        else:
            window = min(2 * self._window, COALESCE_NS_MAX)
            rate = found.seen / self._window
            self._window = max(COALESCE_NS, min(window, int(GATHERED_MAX / rate)))
        self._read_due = now if found.has_more else now + self._window

    def _note_overflow(self, now: int) -> None:
        self._overflows = [at for at in self._overflows if now - at < OVERFLOWS_WITHIN_NS]
        self._overflows.append(now)
        if len(self._overflows) >= OVERFLOWS_MAX:
            self._give_up(now)

    def _is_too_busy(self, seen: int, now: int) -> bool:
        """Count events by periods; True after several in which there were too many."""
        began, count = self._period
        self._period = began, count + seen
        if now - began < BUSY_PERIOD_NS:
            return False
        rate = (count + seen) * NS_PER_S / (now - began)
        self._busy_periods = self._busy_periods + 1 if rate > BUSY_EVENTS_A_SECOND else 0
        self._period = now, 0
        return self._busy_periods >= BUSY_PERIODS_MAX

    def _give_up(self, now: int) -> None:
        self._overflows.clear()
        self._busy_periods = 0
        self._given_up = now
        self._read_due = None
        self.marks.close()
