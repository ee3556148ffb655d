"""Wakes when something moves in the directories that readers used.

An event says only *look again*: which reader, not what happened. So nothing is lost with a merged
or a late event, and after a lost one all readers look again.
"""

import os
from collections.abc import Iterable
from typing import Final

from agent.hostroot import HostFileError, HostRoot
from agent.sense.sensors import inotify

_MASK: Final = (
    inotify.CREATE
    | inotify.DELETE
    | inotify.MOVED_FROM
    | inotify.MOVED_TO
    | inotify.CLOSE_WRITE
    | inotify.ATTRIB
    | inotify.DELETE_SELF
    | inotify.MOVE_SELF
    | inotify.ONLYDIR
    | inotify.EXCL_UNLINK
)
_PATH_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class ReaderWatches:
    """One inotify instance for all readers.

    Args:
        host: opens the directories.
        count_max: watches to hold at most; 0 for none, which leaves the interval alone.
    """

    def __init__(self, host: HostRoot, count_max: int) -> None:
        self._host = host
        self._count_max = count_max
        self._inotify: inotify.Inotify | None = None
        self._readers: dict[int, set[str]] = {}
        self.problem = ""

    def open(self) -> None:
        """Begin, where inotify is wanted and to be had."""
        self.close()
        self.problem = ""
        if not self._count_max:
            return
        try:
            self._inotify = inotify.Inotify()
        except OSError as error:
            self.problem = f"no inotify: {os.strerror(error.errno or 0)}"

    def fileno(self) -> int:
        """Return the descriptor to wait on, or -1."""
        return self._inotify.fileno() if self._inotify else -1

    def watch(self, reader: str, directories: Iterable[str]) -> None:
        """Wake for ``reader`` when something moves in these directories, and in no others."""
        if self._inotify is None:
            return
        for readers in self._readers.values():
            readers.discard(reader)
        for directory in directories:
            self._add(self._inotify, reader, directory)
        for number in [number for number, readers in self._readers.items() if not readers]:
            self._inotify.remove(number)
            del self._readers[number]

    def read(self, everyone: Iterable[str]) -> set[str]:
        """Return the readers that have to look again."""
        if self._inotify is None:
            return set()
        found: set[str] = set()
        for event in self._inotify.read():
            if event.mask & inotify.OVERFLOW:
                found.update(everyone)
            elif event.mask & inotify.IGNORED:
                found |= self._readers.pop(event.watch, set())
            else:
                found |= self._readers.get(event.watch, set())
        return found

    def close(self) -> None:
        """End all watches; harmless when repeated."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
        self._readers.clear()

    def _add(self, instance: inotify.Inotify, reader: str, directory: str) -> None:
        try:
            fd = self._host.open(directory, _PATH_FLAGS)
        except HostFileError:
            return
        try:
            number = instance.add(fd, _MASK)
        except OSError as error:
            self.problem = f"no watch: {os.strerror(error.errno or 0)}"
            return
        finally:
            os.close(fd)
        if number not in self._readers and len(self._readers) >= self._count_max:
            instance.remove(number)
            self.problem = f"more directories than {self._count_max} watches"
            return
        self._readers.setdefault(number, set()).add(reader)
