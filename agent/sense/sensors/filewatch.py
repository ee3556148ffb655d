"""Which directories have an inotify watch, and what its events ask us to look at again.

An event says only *look there*: what happened is decided by looking. So events may be merged and
late ones do no harm; only a lost one matters, and the kernel says when it lost some.
"""

import errno
import os
from typing import Final

from msgspec import Struct

from agent.hostroot import HostFileError, HostRoot
from agent.sense.sensors import inotify
from agent.sense.sensors.filetrees import Place, Scope, upward

# MODIFY is left out: a busy log would wake us at every write, and its close tells as much.
_DIRECTORY_MASK: Final = (
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
# Added to what is watched there already: a parent may lie in a tree itself.
_PARENT_MASK: Final = inotify.CREATE | inotify.MOVED_TO | inotify.ONLYDIR | inotify.MASK_ADD
_GONE: Final = inotify.DELETE_SELF | inotify.MOVE_SELF | inotify.UNMOUNT
_PATH_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Changes(Struct):
    """Files to look at and places to walk; ``overflowed``: events were lost, anything may be.

    ``pids`` says who is said to have changed what, 0 for one that we may not know; ``shared`` is
    what several have changed, of whom the last is named. ``seen`` counts the events on marks, those
    of no interest included; ``has_more`` says that more wait.
    """

    files: dict[bytes, Place] = {}
    places: dict[bytes, Place] = {}
    pids: dict[bytes, int] = {}
    shared: set[bytes] = set()
    overflowed: bool = False
    seen: int = 0
    has_more: bool = False


class _Watch(Struct):
    """One watch: of a directory in a tree, or of a parent for the sake of the roots in it."""

    path: bytes
    place: Place | None
    roots: dict[bytes, Place]


class Watches:
    """The inotify instance of the file sensor.

    Args:
        host: opens the directories.
        scope: which names and directories count.
        count_max: watches to hold at most; 0 for none, which leaves the sweep alone.
    """

    def __init__(self, host: HostRoot, scope: Scope, count_max: int) -> None:
        self._host = host
        self._scope = scope
        self._count_max = count_max
        self._inotify: inotify.Inotify | None = None
        self._watches: dict[int, _Watch] = {}
        self._numbers: dict[bytes, int] = {}
        self._trouble = ""
        self.problem = ""

    def open(self) -> None:
        """Open the instance where one is wanted and to be had; `problem` says why not."""
        self.problem = ""
        if not self._count_max:
            self.problem = "events are switched off"
            return
        try:
            self._inotify = inotify.Inotify()
        except OSError as error:
            self.problem = f"no inotify: {os.strerror(error.errno or 0)}"

    def fileno(self) -> int:
        """Return the descriptor to wait on, or -1."""
        return self._inotify.fileno() if self._inotify else -1

    @property
    def count(self) -> int:
        """How many directories are watched."""
        return len(self._watches)

    def begin_sweep(self) -> None:
        """Try again what could not be watched."""
        self._trouble = ""

    def end_sweep(self) -> None:
        """Every directory has been tried: `problem` is what there was since `begin_sweep`."""
        if self._inotify is not None:
            self.problem = self._trouble

    def add(self, fd: int, place: Place) -> None:
        """Watch the directory that ``fd`` holds open."""
        number = self._number(fd, place.path, _DIRECTORY_MASK)
        if number < 0:
            return
        watch = self._watches.get(number)
        if watch is None:
            self._watches[number] = _Watch(place.path, place, {})
        else:
            if self._numbers.get(watch.path) == number:
                del self._numbers[watch.path]
            watch.path, watch.place = place.path, place
        self._numbers[place.path] = number

    def add_parent(self, root: Place, *, is_file: bool) -> None:
        """Watch the directory above a root for that root alone: it is missing, or a file."""
        parent, _, name = root.path.rpartition(b"/")
        try:
            fd = self._host.open(parent or b"/", _PATH_FLAGS)
        except HostFileError:
            return
        try:
            mask = _PARENT_MASK | (_DIRECTORY_MASK if is_file else 0)
            number = self._number(fd, parent, mask)
        finally:
            os.close(fd)
        if number >= 0:
            watch = self._watches.setdefault(number, _Watch(parent, None, {}))
            watch.roots[name] = root
            self._numbers.setdefault(watch.path, number)

    def read(self) -> Changes:
        """Return what the events that wait ask for, and nothing when there are none."""
        changes = Changes()
        if self._inotify is None:
            return changes
        moved: set[bytes] = set()
        for event in self._inotify.read():
            if event.mask & inotify.OVERFLOW:
                changes.overflowed = True
            elif event.mask & inotify.IGNORED:
                self._drop(event.watch)
            elif (watch := self._watches.get(event.watch)) is not None:
                self._sort(event, watch, changes, moved)
        if moved:
            self._unwatch(moved)
        return changes

    def close(self) -> None:
        """End all watches; harmless when repeated."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
        self._watches.clear()
        self._numbers.clear()

    def _number(self, fd: int, path: bytes, mask: int) -> int:
        """Watch what ``fd`` names; -1 where that cannot be."""
        if self._inotify is None:
            return -1
        is_known = path in self._numbers
        if not is_known and len(self._watches) >= self._count_max:
            self._trouble = f"more directories than {self._count_max} watches"
        if not self._trouble or is_known:
            try:
                return self._inotify.add(fd, mask)
            except OSError as error:
                self._trouble = (
                    "the user's limit of inotify watches is reached"
                    if error.errno == errno.ENOSPC
                    else f"no watch: {os.strerror(error.errno or 0)}"
                )
        self.problem = self._trouble
        return -1

    def _sort(
        self, event: inotify.Event, watch: _Watch, changes: Changes, moved: set[bytes]
    ) -> None:
        if event.mask & _GONE:
            moved.add(watch.path)
            for place in (watch.place, *watch.roots.values()):
                if place is not None:
                    changes.places[place.path] = place
            return
        if root := watch.roots.get(event.name):
            changes.places[root.path] = root
        if watch.place is None or self._scope.excludes(watch.place, event.name):
            return
        path = watch.path + b"/" + event.name
        if not event.mask & inotify.ISDIR:
            changes.files[path] = watch.place
        elif not event.mask & inotify.ATTRIB:
            if event.mask & inotify.MOVED_FROM:
                moved.add(path)
            if place := self._scope.below(watch.place, event.name):
                changes.places[path] = place

    def _unwatch(self, tops: set[bytes]) -> None:
        """End the watches of directories that are no longer where we think, and of all in them."""
        for path, number in list(self._numbers.items()):
            if any(above in tops for above in upward(path)):
                if self._inotify is not None:
                    self._inotify.remove(number)
                self._drop(number)

    def _drop(self, number: int) -> None:
        watch = self._watches.pop(number, None)
        if watch is not None and self._numbers.get(watch.path) == number:
            del self._numbers[watch.path]
