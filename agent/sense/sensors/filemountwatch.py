"""Wakes when something is mounted or unmounted where a tree is.

The kernel says that mounts have changed, and says it once to each open file; so one is waited on,
through an epoll because the news is no data, and another one is asked. Hosts of containers mount
all the time: what has nothing to do with a tree is looked at and passed over.

Source: proc_pid_mountinfo(5), proc_pid_mounts(5).
"""

import contextlib
import os
import select
from collections.abc import Callable, Sequence
from typing import Final

from agent.hostroot import READ_FLAGS, HostFileError, HostRoot, read_at_most
from agent.sense.sensors.filehandles import path_of
from agent.sense.sensors.filemounts import mounts_at
from agent.sense.sensors.mounts import MOUNTINFO_BYTES_MAX
from runtime.clock import NS_PER_S, Clock

MOUNTINFO: Final = "/proc/self/mountinfo"
# Mounts come in groups, and to containers often.
SETTLE_NS: Final = NS_PER_S


class MountWatch:
    """Watches the mounts of our own namespace, in which the host's root lies.

    Args:
        host: where /proc is.
        clock: its boot clock paces.
        concerns: tells whether a mount at this path of the host would change what a tree is.
    """

    def __init__(self, host: HostRoot, clock: Clock, concerns: Callable[[bytes], bool]) -> None:
        self._host = host
        self._clock = clock
        self._concerns = concerns
        self._waker: select.epoll | None = None
        self._fds: list[int] = []
        self._asker = select.poll()
        self._known: frozenset[bytes] = frozenset()
        self._due: int | None = None

    def open(self) -> None:
        """Begin to watch; where there is no such file, or no descriptor, nothing will wake us."""
        self.close()
        try:
            for _ in range(2):
                self._fds.append(self._host.open(MOUNTINFO, READ_FLAGS))
            self._waker = select.epoll()
            self._waker.register(self._fds[0], select.EPOLLPRI | select.EPOLLERR)
        except (HostFileError, OSError):
            self.close()
            return
        self._asker = select.poll()
        self._asker.register(self._fds[1], select.POLLPRI | select.POLLERR)
        self._known = self._mounts()

    def descriptors(self) -> Sequence[int]:
        """Return what to wait on; nothing while a change settles."""
        return (self._waker.fileno(),) if self._waker and self._due is None else ()

    def due(self) -> int | None:
        """Return when a change should have settled."""
        return self._due

    def changed(self) -> bool:
        """Tell whether a mount that concerns a tree has come or gone."""
        if self._waker is None:
            return False
        now = self._clock.boot_ns()
        if self._due is None:
            self._due = now + SETTLE_NS if self._asker.poll(0) else None
            return False
        if now < self._due:
            return False
        self._due = now + SETTLE_NS if self._asker.poll(0) else None
        before, self._known = self._known, self._mounts()
        return before != self._known

    def close(self) -> None:
        """Watch no longer; harmless when repeated."""
        if self._waker is not None:
            self._waker.close()
            self._waker = None
        while self._fds:
            os.close(self._fds.pop())
        self._due = None

    def _mounts(self) -> frozenset[bytes]:
        """Return what tells the mounts apart that concern a tree."""
        with contextlib.suppress(HostFileError, OSError):
            root = self._host.open("/", os.O_PATH | os.O_DIRECTORY)
            try:
                prefix = path_of(root).rstrip(b"/")
            finally:
                os.close(root)
            os.lseek(self._fds[1], 0, os.SEEK_SET)
            data = read_at_most(self._fds[1], MOUNTINFO_BYTES_MAX)
            return frozenset(
                line
                for point, line in mounts_at(data)
                if (point + b"/").startswith(prefix + b"/") and self._concerns(point[len(prefix) :])
            )
        return self._known
