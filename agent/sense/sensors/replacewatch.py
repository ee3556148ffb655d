"""Wakes when one file is replaced, as programs do that write a new file and rename it."""

import os
from typing import Final

from agent.hostroot import HostFileError, HostRoot
from agent.sense.sensors import inotify

_MASK: Final = inotify.MOVED_TO | inotify.ONLYDIR
_PATH_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class ReplaceWatch:
    """Watches the directory of one file for a rename onto it.

    Args:
        host: opens the directory.
        path: of the file, absolute.
    """

    def __init__(self, host: HostRoot, path: str) -> None:
        self._host = host
        directory, _, name = os.fsencode(path).rpartition(b"/")
        self._directory = directory or b"/"
        self._name = name
        self._inotify: inotify.Inotify | None = None

    def open(self) -> None:
        """Begin to watch, where inotify and the directory are to be had."""
        self.close()
        try:
            watch = inotify.Inotify()
        except OSError:
            return
        try:
            fd = self._host.open(self._directory, _PATH_FLAGS)
            try:
                watch.add(fd, _MASK)
            finally:
                os.close(fd)
        except (HostFileError, OSError):
            watch.close()
            return
        self._inotify = watch

    def fileno(self) -> int:
        """Return the descriptor to wait on, or -1 where nothing will wake us."""
        return self._inotify.fileno() if self._inotify else -1

    def was_replaced(self) -> bool:
        """Read what waits and tell whether the file may be another one now."""
        if self._inotify is None:
            return False
        found = False
        for event in self._inotify.read():
            if event.mask & inotify.IGNORED:
                self.close()
                return True
            found |= event.name == self._name or bool(event.mask & inotify.OVERFLOW)
        return found

    def close(self) -> None:
        """Close the instance; harmless when repeated."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
