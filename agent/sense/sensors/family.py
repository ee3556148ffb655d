"""Who begot whom: the processes seen so far, so that ancestors that ended still have a name.

A process is told from a later one of the same number by its start. A double fork does not hide a
parent: what the kernel told at the fork counts more than the init that adopts the orphan.
"""

from collections.abc import Iterable
from typing import Final, TypeVar

from msgspec import UNSET, UnsetType, structs

from agent.hosttext import host_text
from agent.sense.sensors.identity import Birth, Hint, ProcessReader
from agent.sense.sensors.procfs import NS_PER_TICK, within
from proto.model import Process

ANCESTORS_MAX: Final = 8
ANCESTOR_ARGV_CHARS_MAX: Final = 2048
ANCESTOR_PATH_CHARS_MAX: Final = 1024
CAVEATS_MAX: Final = 16
# So many that came since the last pruning are a reason for another.
GROWTH_MAX: Final = 1024

FORKED: Final = "image of its parent"

V = TypeVar("V")


class Family:
    """The table of processes; the entries longest untouched go first when it is full."""

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._known: dict[int, Process] = {}
        self._births: dict[int, Birth] = {}
        self._absent: set[int] = set()
        self._crowded_at = GROWTH_MAX

    def __len__(self) -> int:
        return len(self._known) + len(self._births)

    @property
    def is_crowded(self) -> bool:
        """Whether many have come since the last pruning."""
        return len(self) > self._crowded_at

    def born(self, pid: int, birth: Birth) -> None:
        """Remember a fork; what had this number before is over."""
        self._known.pop(pid, None)
        self._absent.discard(pid)
        _put(self._births, pid, birth, self._entries_max)

    def birth(self, pid: int) -> Birth | None:
        """Return what was told when the process came to be."""
        return self._births.get(pid)

    def get(self, pid: int) -> Process | None:
        """Return the process last seen under this number."""
        return self._known.get(pid)

    def remember(self, process: Process) -> None:
        """Keep a process as it is now."""
        self._known.pop(process.pid, None)
        _put(self._known, process.pid, _slim(process), self._entries_max)

    def learn_digest(self, process: Process) -> None:
        """Add the digest of an image to what is known of the process that still runs it."""
        known = self._known.get(process.pid)
        if known is None or process.sha256 is UNSET or known.sha256 is not UNSET:
            return
        if (known.start, known.exe) == (process.start, process.exe):
            self._known[process.pid] = structs.replace(known, sha256=process.sha256)

    def prune(self, alive: Iterable[int], at: int) -> None:
        """Forget what was not alive in this pass nor in the one before.

        Args:
            alive: the numbers that were seen.
            at: when they were listed, in nanoseconds since boot; what began later is too young to
                be missed.
        """
        begun = at - NS_PER_TICK
        absent = {
            pid
            for pid in (self._known.keys() | self._births.keys()) - set(alive)
            if self._start(pid) < begun
        }
        for pid in absent & self._absent:
            self._known.pop(pid, None)
            self._births.pop(pid, None)
        self._absent = absent - self._absent
        self._crowded_at = len(self) + GROWTH_MAX

    def _start(self, pid: int) -> int:
        birth, known = self._births.get(pid), self._known.get(pid)
        return max(birth.start if birth else 0, known.start if known else 0)

    def is_fork(self, process: Process) -> bool:
        """Tell whether a process still runs the image and the arguments of its known parent."""
        parent = self._known.get(process.ppid) if isinstance(process.ppid, int) else None
        return (
            parent is not None
            and parent.start <= process.start
            and parent.exe == process.exe
            and parent.argv == _slim(process).argv
        )

    def ancestry(
        self, process: Process, reader: ProcessReader, *, verify: bool
    ) -> tuple[Process, ...]:
        """Return the ancestors, nearest first, up to the first that leads its session.

        Args:
            process: whose.
            reader: reads a parent that is not known here.
            verify: no event told of forks, so that a number may have changed hands unseen.
        """
        ancestors: list[Process] = []
        child = process
        while len(ancestors) < ANCESTORS_MAX:
            parent = self._parent(child, reader, verify=verify)
            if parent is None:
                break
            ancestors.append(parent)
            if parent.session == parent.pid:
                break
            child = parent
        return tuple(ancestors)

    def _parent(self, child: Process, reader: ProcessReader, *, verify: bool) -> Process | None:
        birth = self._births.get(child.pid)
        pid = birth.ppid if birth is not None and birth.start == child.start else child.ppid
        if not isinstance(pid, int) or pid in {0, child.pid}:
            return None
        parent = self._known.get(pid)
        if parent is not None and verify:
            stat = reader.stat(pid)
            if stat is not None and stat.start != parent.start:
                parent = None
        if parent is None:
            parent = self._unseen_parent(pid, reader)
        # Whatever started after its child has only inherited the number of the parent.
        return parent if parent is not None and parent.start <= child.start else None

    def _unseen_parent(self, pid: int, reader: ProcessReader) -> Process | None:
        """Return a parent that was never seen running an image of its own."""
        birth = self._births.get(pid)
        if (sight := reader.read(pid, hint=Hint(birth))) is not None:
            self.remember(sight.process)
            return self._known[pid]
        image = self._known.get(birth.ppid) if birth is not None else None
        if birth is None or image is None:
            return None
        caveats = (*image.caveats, FORKED)[-CAVEATS_MAX:]
        return structs.replace(image, pid=pid, ppid=birth.ppid, start=birth.start, caveats=caveats)


def _put(table: dict[int, V], pid: int, value: V, entries_max: int) -> None:
    table.pop(pid, None)
    table[pid] = value
    if len(table) > entries_max:
        del table[next(iter(table))]


def _slim(process: Process) -> Process:
    """Return the process with what an ancestor needs: eight of them fit beside a finding."""
    argv = tuple(within(process.argv, ANCESTOR_ARGV_CHARS_MAX))
    exe, cwd = _short(process.exe), _short(process.cwd)
    if (argv, exe, cwd) == (process.argv, process.exe, process.cwd):
        return process
    return structs.replace(process, argv=argv, exe=exe, cwd=cwd)


def _short(path: str | UnsetType | None) -> str | UnsetType | None:
    if not isinstance(path, str) or len(path) <= ANCESTOR_PATH_CHARS_MAX:
        return path
    return host_text(path, ANCESTOR_PATH_CHARS_MAX)
