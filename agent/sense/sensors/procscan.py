"""One pass over the process table, a process at a time: the base line, and what no event told.

A process that stayed the same costs one small read. With events, its start and name decide; without
them the executable is read too, and an exec of the same executable is missed.
"""

from collections import deque

from agent.sense.sensors.family import Family
from agent.sense.sensors.identity import ProcessReader, Sight


class ProcessScan:
    """A pass, begun again and again; it yields what the table of processes does not know."""

    def __init__(self, reader: ProcessReader, family: Family) -> None:
        self._reader = reader
        self._family = family
        self._todo: deque[int] = deque()
        self._alive: list[int] = []
        self._is_first = True
        self._at = 0
        self.is_running = False
        self.omitted = 0

    def begin(self, processes_max: int, at: int) -> None:
        """Begin a pass; when the process table cannot be listed the next one is waited for.

        Args:
            processes_max: how many are looked at; `omitted` counts the others.
            at: the time, in nanoseconds since boot.
        """
        try:
            pids = self._reader.proc.pids()
        except OSError:
            return
        self.omitted = max(len(pids) - processes_max, 0)
        self._todo = deque(pids[:processes_max])
        self._alive.clear()
        self._at = at
        self.is_running = True

    def step(self, *, trust_events: bool) -> Sight | None:
        """Look at the next process; return it when it is new, or runs what it did not before.

        Args:
            trust_events: every exec since the last pass was told, so that start and name decide.
        """
        if not self._todo:
            self._finish()
            return None
        pid = self._todo.popleft()
        known = self._family.get(pid)
        if known is not None and trust_events:
            stat = self._reader.stat(pid)
            if stat is not None and (stat.start, stat.name) == (known.start, known.name):
                self._alive.append(pid)
                return None
        sight = self._reader.read(pid, with_image=True, with_script=True)
        if sight is None:
            return None
        self._alive.append(pid)
        if self._is_news(sight):
            return sight
        self._family.remember(sight.process)
        for held in (sight.image, sight.script):
            if held is not None:
                held.close()
        return None

    def _is_news(self, sight: Sight) -> bool:
        process = sight.process
        known = self._family.get(process.pid)
        if known is not None and known.start == process.start:
            return known.exe != process.exe
        return self._is_first or not self._family.is_fork(process)

    def _finish(self) -> None:
        self._family.prune(self._alive, self._at)
        self._alive.clear()
        self._is_first = False
        self.is_running = False
