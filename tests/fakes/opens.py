"""Files opened for execution as the kernel tells of them: descriptors, merging and a full queue."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from agent.sense.sensors.fanotify import EVENT_BYTES, OPEN_EXEC, OVERFLOW, Event

QUEUE_MAX = 1000


class FakeOpens:
    """A queue of opened files; equal ones of one process merge while they wait."""

    def __init__(self) -> None:
        self._queue: list[tuple[int, Path | None, int]] = []
        self.is_closed = False
        self.reads: list[int] = []
        self.error: Exception | None = None

    def opened(self, pid: int, *paths: Path) -> None:
        """Let a process open files for execution."""
        for path in paths:
            if (pid, path, 0) in self._queue:
                continue
            if len(self._queue) >= QUEUE_MAX:
                self.overflow()
                return
            self._queue.append((pid, path, 0))

    def overflow(self) -> None:
        """Let the queue have been full."""
        self._queue.append((0, None, 0))

    def without_descriptor(self, pid: int) -> None:
        """Let there have been no descriptor for a file."""
        self._queue.append((pid, None, errno.EMFILE))

    def fileno(self) -> int:
        """Return no descriptor: nobody waits for this."""
        return -1

    def read(self, bytes_max: int) -> Sequence[Event]:
        """Return what waits, with a descriptor each."""
        if self.error is not None:
            raise self.error
        count = bytes_max // EVENT_BYTES
        self.reads.append(count)
        taken, self._queue = self._queue[:count], self._queue[count:]
        return [
            Event(OPEN_EXEC, os.open(path, os.O_RDONLY), pid)
            if path is not None
            else Event(OPEN_EXEC if lost else OVERFLOW, -1, pid, (), lost)
            for pid, path, lost in taken
        ]

    def close(self) -> None:
        """Forget everything."""
        self.is_closed = True
        self._queue.clear()
