"""Which process holds a socket: found by looking through descriptors, a process at a time.

The kernel tells a socket's inode and not its holder, and looking through every descriptor of the
host costs more than all else here. So only new sockets are looked for, those who held one before
are asked first, and the search ends with the last one found.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from agent.sense.sensors.procdir import Proc
from agent.sense.sensors.procfs import parse_socket

HOLDERS_MAX: Final = 256


class OwnerSearch:
    """A search for the holders of some sockets.

    Args:
        proc: the process table.
        wanted: the inodes.
        first: the processes to ask first.
    """

    def __init__(self, proc: Proc, wanted: Iterable[int], first: Iterable[int]) -> None:
        self._proc = proc
        self._missing = set(wanted) - {0}
        self._first = list(first)
        self._todo: deque[int] | None = None
        self.found: dict[int, int] = {}

    @property
    def is_done(self) -> bool:
        """Whether every socket was found, or every process asked."""
        return not self._missing or (self._todo is not None and not self._todo)

    def step(self) -> None:
        """Ask the next process; one that may not be asked holds nothing that we can tell."""
        if self._todo is None:
            try:
                pids = self._proc.pids()
            except OSError:
                pids = []
            here = set(pids)
            first = [pid for pid in self._first if pid in here]
            self._todo = deque((*first, *(pid for pid in pids if pid not in set(first))))
        if self._todo:
            self._ask(self._todo.popleft())

    def _ask(self, pid: int) -> None:
        try:
            with self._proc.process(pid) as entry:
                links = entry.descriptor_links()
        except OSError:
            return
        for link in links:
            inode = parse_socket(link) if link.startswith(b"socket:[") else None
            if inode in self._missing:
                self.found[inode] = pid
                self._missing.discard(inode)


class Holders:
    """The processes that held sockets, most recent first, bounded."""

    def __init__(self) -> None:
        self._pids: dict[int, None] = {}

    def add(self, pids: Iterable[int]) -> None:
        """Note holders; the longest unseen are forgotten."""
        for pid in pids:
            self._pids.pop(pid, None)
            self._pids[pid] = None
        while len(self._pids) > HOLDERS_MAX:
            del self._pids[next(iter(self._pids))]

    def recent(self) -> list[int]:
        """Return them, most recent first."""
        return list(reversed(self._pids))
