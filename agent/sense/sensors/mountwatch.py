"""Wakes us when something is mounted or unmounted, and at no other time.

The kernel marks a mount table as changed for every open descriptor of it, and forgets the mark when
that one is polled. So there are two: one, inside an epoll instance, wakes the loop, and the other
answers whether there was a change since it was asked last.

Source: proc_pid_mountinfo(5), poll(2).
"""

import os
import select
from typing import Final

from agent.hostroot import HostFileError, HostRoot, read_at_most
from agent.sense.sensors.mounts import MOUNTINFO_BYTES_MAX

OWN: Final = "/proc/self/mountinfo"
OF_INIT: Final = "/proc/1/mountinfo"


class MountWatch:
    """An open mount table: the host's own where it lies somewhere below, else that of this process.

    Raises:
        HostFileError: there is none where we look, or no right to it.
    """

    def __init__(self, host: HostRoot) -> None:
        self._asked = _table(host)
        try:
            self._waking = _table(host)
        except HostFileError:
            os.close(self._asked)
            raise
        self._poll = select.poll()
        self._poll.register(self._asked, select.POLLPRI)
        self._epoll = select.epoll()
        self._epoll.register(self._waking, select.EPOLLPRI)

    def fileno(self) -> int:
        """Return the descriptor that is readable when the mounts changed; -1 once closed."""
        return -1 if self._epoll.closed else self._epoll.fileno()

    def changed(self) -> bool:
        """Tell whether the mounts changed since this was asked last."""
        return bool(self._poll.poll(0))

    def read(self) -> bytes:
        """Return the table as it is now.

        Raises:
            OSError: it cannot be read any more.
        """
        os.lseek(self._asked, 0, os.SEEK_SET)
        return read_at_most(self._asked, MOUNTINFO_BYTES_MAX)

    def close(self) -> None:
        """Let go of the table; harmless when repeated."""
        if not self._epoll.closed:
            self._epoll.close()
            os.close(self._waking)
            os.close(self._asked)


def _table(host: HostRoot) -> int:
    if host.path == "/":
        return host.open_file(OWN)
    try:
        return host.open_file(OF_INIT)
    except HostFileError:
        return host.open_file(OWN)
