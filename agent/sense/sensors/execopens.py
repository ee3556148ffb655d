"""Which file each exec ran: the files opened for execution, sorted into tries by process.

For one exec the kernel opens a script, its interpreter and the loader that this one names, in that
order, and tells of each before it tells of the exec. So what was opened waits for the next exec of
its process; what finds none within a second is an exec that failed. Of an overlay the kernel tells
twice, first of the file below, by a path that is not true: that one is left out.

Equal events of one process merge while they wait, so an exec without a file is another of the file
before it, if both were opened before we read. After a loss no exec gets a file that was opened on
the other side of it: none is better than the wrong one.

Source: the kernel's fs/exec.c, fs/binfmt_*.c, fs/notify/fanotify.
"""

import errno
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from msgspec import Struct

from agent.sense.sensors.descriptors import Descriptors
from agent.sense.sensors.fanotify import EVENT_BYTES, Event, FanotifyGarbled
from agent.sense.sensors.hashqueue import HashQueue, Shot
from agent.sense.sensors.imagehash import YOUNG_S
from agent.sense.sensors.imagehead import Head, Kind, read_head
from agent.sense.sensors.images import Image, ImageKey, key_of
from agent.syscalls import FileFacts, facts_here
from runtime.clock import NS_PER_S, Clock

WAIT_S_MAX: Final = 1
EVENTS_PER_READ: Final = 256
PROCESSES_MAX: Final = 8192
TRIES_MAX: Final = 32
SHAPES_MAX: Final = 4096

_LOADER_NAME: Final = re.compile(
    rb"ld[-.0-9A-Za-z_]*\.so(\.\d+)*|ld-musl-[0-9a-z_]+\.so\.1|libc\.so"
)
_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})
_WRITABLE_BY_OTHERS: Final = 0o022


class OpenEvents(Protocol):
    """What we ask of a fanotify group of descriptor mode."""

    def fileno(self) -> int:
        """Return the descriptor that is readable when events wait."""
        ...

    def read(self, bytes_max: int) -> Sequence[Event]:
        """Return events that wait, oldest first, and at most so many bytes of them."""
        ...

    def close(self) -> None:
        """End it; harmless when repeated."""
        ...


class Shape(Struct, frozen=True):
    """What a file is to the kernel, and whether it has the looks of a loader."""

    head: Head
    is_loader: bool


class Opened(Struct, frozen=True):
    """A file that was opened for execution."""

    facts: FileFacts
    shape: Shape
    path: bytes
    shot: Shot | None = None


class Try(Struct):
    """One execve(2), as far as the files tell; ``image`` is None if only a loader was seen."""

    at: int
    last: Opened
    image: Opened | None = None
    script: Opened | None = None
    has_loader: bool = False
    may_have_merged: bool = False
    losses_before: int = 0

    @property
    def has_failed(self) -> bool:
        """Whether another try after it shows that it failed: its loader was never opened."""
        kind = self.image.shape.head.kind if self.image else Kind.SCRIPT
        return kind is Kind.DYNAMIC and not self.has_loader and not self.may_have_merged


class Taken(Struct, frozen=True):
    """What an exec ran, the tries before it that failed, and whether that is certain."""

    ran: Try | None
    failed: tuple[Try, ...] = ()
    is_certain: bool = True


# Whether a process runs a file now; None when that cannot be seen.
Running = Callable[[int, FileFacts], bool | None]

_NOTHING: Final = Taken(None)


class ExecOpens:
    """What was opened for execution and not yet executed.

    Args:
        group: of descriptor mode, marked.
        queue: hashes what is opened.
        descriptors: bound how much is read at once.
        clock: tells how long something waits.
        running: checks a choice against the process.
    """

    def __init__(
        self,
        group: OpenEvents,
        queue: HashQueue,
        descriptors: Descriptors,
        clock: Clock,
        running: Running,
    ) -> None:
        self._group = group
        self._queue = queue
        self._descriptors = descriptors
        self._clock = clock
        self._running = running
        self._pending: dict[int, list[Try]] = {}
        self._latest: dict[int, Try | None] = {}
        self._merging: set[int] = set()
        self._shapes: dict[ImageKey, Shape] = {}
        self._read_at = 0
        self._blind_until = 0
        self._losses = 0
        self._lost = 0
        self.is_starved = False
        # The kernel speaks as we do not understand: no more of it is read.
        self.is_broken = False

    def fileno(self) -> int:
        """Return the descriptor that is readable when a file was opened."""
        return self._group.fileno()

    def fill(self) -> bool:
        """Read what was opened; return whether that is all there was.

        It is not while there is no room for another file or no descriptor for it.
        """
        while not self.is_broken:
            free = self._descriptors.free()
            self.is_starved = free <= 0
            budget = min(self._queue.room, free, EVENTS_PER_READ)
            if budget <= 0:
                return False
            try:
                events = self._group.read(budget * EVENT_BYTES)
            except (OSError, FanotifyGarbled) as error:
                self._lose()
                self.is_broken = getattr(error, "errno", 0) not in _NO_DESCRIPTORS
                return self.is_broken
            if not events:
                return True
            self._read_at = self._clock.boot_ns()
            self._latest.clear()
            self._merging.clear()
            for event in events:
                if event.fd >= 0:
                    self._take_in(event.fd, event.pid)
                elif event.is_overflow or event.lost_errno:
                    self._lose()
            if len(events) < budget:
                return True
        return True

    def take(self, pid: int, at: int, later: int) -> Taken:
        """Return what an exec ran, and forget it.

        Args:
            pid: of the process.
            at: when it happened, in nanoseconds since boot.
            later: how many more execs of this process are known of.
        """
        tries = self._pending.get(pid)
        if tries and at <= self._blind_until and tries[0].losses_before == self._losses:
            # This may be of a later exec, whose predecessor's was lost: neither gets it.
            self._drop_first(pid, tries)
            return _NOTHING
        if not tries:
            return _NOTHING if at <= self._blind_until else self._again(pid, at)
        failed: list[Try] = []
        is_certain = True
        if len(tries) > later + 1:
            while len(tries) > 1 and tries[0].has_failed:
                failed.append(tries.pop(0))
            if len(tries) > later + 1 and not tries[0].has_loader:
                chosen = self._chosen(pid, tries) if not later else 0
                is_certain = False
                failed += tries[:chosen]
                del tries[:chosen]
        ran = self._drop_first(pid, tries)
        self._latest[pid] = None if pid in self._latest else ran
        return Taken(ran, tuple(failed), is_certain)

    def failed(self) -> Iterator[tuple[int, Try]]:
        """Yield, and forget, what was opened more than a second ago and never executed."""
        before = self._clock.boot_ns() - WAIT_S_MAX * NS_PER_S
        for pid in [pid for pid, tries in self._pending.items() if tries[0].at <= before]:
            tries = self._pending[pid]
            while tries and tries[0].at <= before:
                gone = tries.pop(0)
                if gone.at > self._blind_until and (gone.image or gone.script):
                    yield pid, gone
            if not tries:
                del self._pending[pid]

    def due(self) -> int | None:
        """Return when the next of them will have waited long enough; None if there is none."""
        if not self._pending:
            return None
        return next(iter(self._pending.values()))[0].at + WAIT_S_MAX * NS_PER_S

    def forget(self) -> None:
        """Join nothing that was opened until now to an exec: some exec was lost."""
        self._pending.clear()
        self._latest.clear()

    def take_lost(self) -> int:
        """Return how often files were lost since this was asked last."""
        lost, self._lost = self._lost, 0
        return lost

    def close(self) -> None:
        """End it; harmless when repeated."""
        self.forget()
        self._group.close()

    def _lose(self) -> None:
        self._lost += 1
        self._losses += 1
        self._blind_until = self._clock.boot_ns()

    def _drop_first(self, pid: int, tries: list[Try]) -> Try:
        first = tries.pop(0)
        if not tries:
            del self._pending[pid]
        return first

    def _again(self, pid: int, at: int) -> Taken:
        """Return what the process ran before, where the file of this exec merged with that."""
        before = self._latest.get(pid)
        if before is None or before.image is None or at > self._read_at:
            return _NOTHING
        is_running = self._running(pid, before.image.facts)
        if is_running is False:
            return _NOTHING
        return Taken(before, is_certain=is_running is True)

    def _chosen(self, pid: int, tries: list[Try]) -> int:
        for index, each in enumerate(tries):
            if each.image is not None and self._running(pid, each.image.facts):
                return index
        return 0

    def _take_in(self, fd: int, pid: int) -> None:
        """Look at one file; its descriptor is closed, or held by the queue."""
        try:
            facts = facts_here(fd)
            shape, path = self._look(fd, facts)
        except OSError:
            os.close(fd)
            self._lose()
            return
        if shape.is_loader or not pid:
            os.close(fd)
            shot = None
        else:
            shot = self._queue.submit(Image(fd, facts, is_remote=False, is_readable=True), pid)
        if pid:
            self._add(pid, Opened(facts, shape, path, shot))

    def _look(self, fd: int, facts: FileFacts) -> tuple[Shape, bytes]:
        key = key_of(facts)
        shape = self._shapes.get(key)
        if shape is not None and shape.is_loader:
            return shape, b""
        path = os.readlink(b"/proc/self/fd/%d" % fd)  # noqa: PTH115  (bytes)
        if shape is None:
            head = read_head(lambda size, offset: os.pread(fd, size, offset))
            named = path.rpartition(b"/")[2]
            is_loader = head.kind is Kind.BARE and bool(_LOADER_NAME.fullmatch(named))
            is_loader = is_loader and not facts.mode & _WRITABLE_BY_OTHERS
            shape = Shape(head, is_loader)
            if self._clock.wall_ns() - facts.changed >= YOUNG_S * NS_PER_S:
                if len(self._shapes) >= SHAPES_MAX:
                    del self._shapes[next(iter(self._shapes))]
                self._shapes[key] = shape
        return shape, path

    def _add(self, pid: int, opened: Opened) -> None:
        tries = self._pending.setdefault(pid, [])
        last = tries[-1] if tries else None
        is_same = last is not None and last.losses_before == self._losses
        if last is not None and is_same and self._continues(last, opened):
            if last.has_loader:
                self._merging.add(pid)
            return
        if len(tries) >= TRIES_MAX:
            del tries[0]
        made = Try(
            at=self._read_at,
            last=opened,
            may_have_merged=pid in self._merging,
            losses_before=self._losses,
        )
        if opened.shape.head.kind is Kind.SCRIPT:
            made.script = opened
        elif not opened.shape.is_loader:
            made.image = opened
        tries.append(made)
        if len(self._pending) > PROCESSES_MAX:
            del self._pending[next(iter(self._pending))]
            self._lost += 1

    def _continues(self, last: Try, opened: Opened) -> bool:
        """Add a file to a try if it belongs there; return whether it did."""
        if _is_twin(last.last.facts, opened.facts):
            last.image = opened if last.image is last.last else last.image
            last.script = opened if last.script is last.last else last.script
            last.last = opened
            return True
        if last.image is None and last.script is not None:
            if opened.shape.head.kind is not Kind.SCRIPT and not opened.shape.is_loader:
                last.image = opened
            last.last = opened
            return True
        if last.image is not None and not last.has_loader and _loads(opened, last.image):
            last.has_loader = True
            last.last = opened
            return True
        return False


def _loads(opened: Opened, image: Opened) -> bool:
    """Tell whether a file is the loader of a program, and not a program that looks like one."""
    is_wanted = opened.shape.is_loader and image.shape.head.kind is Kind.DYNAMIC
    return is_wanted and opened.facts.uid in {0, image.facts.uid}


def _is_twin(below: FileFacts, above: FileFacts) -> bool:
    """Tell whether these are one file, seen below and on an overlay."""
    return (
        below.dev != above.dev
        and (below.size, below.modified) == (above.size, above.modified)
        and below.changed == above.changed
        and (below.mode, below.uid) == (above.mode, above.uid)
    )
