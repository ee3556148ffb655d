"""Wakes whoever follows logs: inotify on the files being read and on the directories they are in.

Its events carry nothing but *look now*, so they are read and thrown away.
"""

import os
from collections.abc import Iterable
from typing import Final

from agent.hostroot import HostFileError, HostRoot
from agent.sense.sensors import inotify
from agent.sense.sensors.logfile import LogFile

_FILE_MASK: Final = inotify.MODIFY
_DIRECTORY_MASK: Final = inotify.CREATE | inotify.MOVED_TO | inotify.ONLYDIR
_PATH_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class LogWatch:
    """One inotify instance for a set of logs.

    Args:
        host: opens the directories.
        paths: of the logs, absolute.
    """

    def __init__(self, host: HostRoot, paths: Iterable[str]) -> None:
        self._host = host
        self._directories: set[str] = set()
        self._inotify: inotify.Inotify | None = None
        self._files: dict[tuple[int, int], int] = {}
        self._unwatched: set[str] = set()
        self._is_short = False
        self.set_paths(paths)

    @property
    def is_whole(self) -> bool:
        """Whether every change will wake us; without that, look now and then."""
        return self._inotify is not None and not self._unwatched and not self._is_short

    def open(self) -> None:
        """Open the instance where there is one to be had, and watch the directories."""
        try:
            self._inotify = inotify.Inotify()
        except OSError:
            return
        self._unwatched = set(self._directories)
        self.watch_directories()

    def set_paths(self, paths: Iterable[str]) -> None:
        """Watch the directories of these logs too; one that is watched stays so."""
        wanted = {path.rpartition("/")[0] or "/" for path in paths}
        self._unwatched = (self._unwatched & wanted) | (wanted - self._directories)
        self._directories = wanted
        self.watch_directories()

    def fileno(self) -> int:
        """Return the descriptor to wait on, or -1."""
        return self._inotify.fileno() if self._inotify else -1

    def watch_directories(self) -> None:
        """Try again the directories that could not be watched; one may have been made since."""
        if self._inotify is None:
            return
        for path in sorted(self._unwatched):
            try:
                fd = self._host.open(path, _PATH_FLAGS)
            except HostFileError:
                continue
            if self._add(fd, _DIRECTORY_MASK) >= 0:
                self._unwatched.discard(path)
            os.close(fd)

    def watch_files(self, files: Iterable[LogFile]) -> None:
        """Watch these files and no others."""
        wanted = {(file.dev, file.inode): file.fd for file in files}
        for name in self._files.keys() - wanted.keys():
            if self._inotify is not None:
                self._inotify.remove(self._files.pop(name))
        for name in wanted.keys() - self._files.keys():
            number = self._add(wanted[name], _FILE_MASK)
            if number >= 0:
                self._files[name] = number
        self._is_short = len(self._files) < len(wanted)

    def drain(self) -> None:
        """Read what waits; a watch that the kernel ended is made again by the next call."""
        if self._inotify is None:
            return
        ended = {e.watch for e in self._inotify.read() if e.mask & inotify.IGNORED}
        self._files = {name: n for name, n in self._files.items() if n not in ended}

    def close(self) -> None:
        """Close the instance; harmless when repeated."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
        self._files.clear()

    def _add(self, fd: int, mask: int) -> int:
        if self._inotify is None:
            return -1
        try:
            return self._inotify.add(fd, mask)
        except OSError:
            return -1
