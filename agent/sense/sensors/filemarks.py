"""Which file systems are marked whole, and what their events ask us to look at again.

One fanotify mark on a file system tells of every name in it that comes, goes, moves or is written,
wherever it lies, at no cost a directory, and who did it. The mark sees all of the file system while
the trees are a small part: each event names its directory by a handle, and what is remembered of a
handle is whether that directory is in a tree. The rest is thrown away by one look into a table.

A handle is turned into a path only for a directory not met before. All that is remembered of
handles is forgotten when a directory moves that has to do with a tree.

Source: fanotify(7), fanotify_mark(2), open_by_handle_at(2).
"""

import contextlib
import errno
import os
from typing import Final

from msgspec import Struct

from agent.hostroot import READ_FLAGS, HostFileError, HostRoot
from agent.hosttext import host_text
from agent.sense.sensors import fanotify
from agent.sense.sensors.fanotify import FanotifyError, FanotifyRefused, Group, Info, Scope
from agent.sense.sensors.filehandles import fsid_of, handle_of, open_directory, path_of
from agent.sense.sensors.filemounts import FileMount, mount_of, mount_points
from agent.sense.sensors.filetrees import DEPTH_MAX, Place, upward
from agent.sense.sensors.filetrees import Scope as Trees
from agent.sense.sensors.filewatch import Changes
from agent.sense.sensors.mounts import MOUNTINFO_BYTES_MAX
from agent.syscalls import facts_of

# Remembered of each file system; about 120 bytes each.
DIRECTORIES_MAX: Final = 8192
READS_A_TIME: Final = 4
MOUNTINFO: Final = "/proc/self/mountinfo"

# MODIFY is left out: a busy log would wake us at every write, and its close tells as much.
MASK: Final = (
    fanotify.CREATE
    | fanotify.DELETE
    | fanotify.MOVED_FROM
    | fanotify.MOVED_TO
    | fanotify.CLOSE_WRITE
    | fanotify.ATTRIB
    | fanotify.ONDIR
)
_MOVED: Final = fanotify.MOVED_FROM | fanotify.MOVED_TO
_NAMED: Final = fanotify.CREATE | fanotify.DELETE | _MOVED
_DIRECTORY: Final = READ_FLAGS | os.O_DIRECTORY
_UPWARD: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_SHOWN_CHARS_MAX: Final = 256
_ITSELF: Final = b"."
# What says of a handle that its directory is no more; anything else says nothing of it.
_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_GONE: Final = frozenset({errno.ESTALE, errno.ENOENT})

Fsid = tuple[int, int]
_Roots = dict[bytes, Place]  # by their paths
_Names = dict[bytes, _Roots]


class Own(Struct, frozen=True):
    """Ourselves: our process number and the directory of our state."""

    pid: int
    state: str


class Cover(Struct):
    """One mount of a file system that was to be marked.

    ``opener`` is a path of the host on it; ``moved`` says for an overlay which path becomes which.
    ``refusal`` is why there is no mark, or empty.
    """

    dev: int
    fsid: Fsid = (0, 0)
    opener: bytes = b"/"
    opener_dev: int = 0
    moved: tuple[bytes, bytes] | None = None
    refusal: str = ""


class _Dir(Struct, frozen=True):
    """What a directory has to do with the trees: it is in one, or has roots of some in it."""

    place: Place | None
    names: _Names | None


class _Unresolved(Exception):
    """A handle could not be followed, and not because its directory is gone."""


class _MountGone(_Unresolved):
    """What a handle was to be followed through is mounted no more."""


class Marks:
    """The fanotify group of the file sensor.

    Args:
        host: opens the directories.
        trees: which names and directories count.
        own: of whom nothing is heard.
    """

    def __init__(self, host: HostRoot, trees: Trees, own: Own) -> None:
        self._host = host
        self._trees = trees
        self._own = own
        self._group: Group | None = None
        self._covers: dict[tuple[int, int], Cover] = {}
        self._devices: set[int] = set()
        self._points: frozenset[bytes] = frozenset()
        self._mountinfo = b""
        self._prefix = b""
        self._roots: dict[bytes, _Roots] = {}
        self._above: dict[bytes, _Names] = {}
        self._known: dict[Fsid, dict[bytes, _Dir | None]] = {}
        self._fds: dict[bytes, int] = {}
        self.problem = ""

    def open(self) -> None:
        """Open the group where it is to be had; `problem` says why not."""
        self.problem = ""
        try:
            self._group = fanotify.for_names(with_targets=False)
        except FanotifyRefused as error:
            self.problem = error.message
            return
        self._ignore_own()
        self.read_mounts()

    def fileno(self) -> int:
        """Return the descriptor to wait on, or -1."""
        return self._group.fileno() if self._group and self._devices else -1

    def read_mounts(self) -> None:
        """Take note of what is mounted now, and try again what was refused."""
        try:
            root = self._host.open("/", _DIRECTORY)
            try:
                self._prefix = path_of(root).rstrip(b"/")
            finally:
                os.close(root)
            self._mountinfo = self._host.read_bytes(MOUNTINFO, MOUNTINFO_BYTES_MAX)
        except (HostFileError, OSError):
            self._mountinfo = b""
        self._points = frozenset(
            self._inside(point) or b"/" for point in mount_points(self._mountinfo)
        )
        self._covers = {key: cover for key, cover in self._covers.items() if not cover.refusal}

    def add(self, fd: int, dev: int, place: Place) -> bool:
        """Tell whether changes in a directory are told; a root, or a mount, is marked for that.

        Args:
            fd: of the directory.
            dev: what it lies on.
            place: where it is.
        """
        if place.depth and place.path not in self._points:
            return dev in self._devices
        return self.cover(fd, place)

    def cover(self, fd: int, root: Place) -> bool:
        """Mark the file system on which a tree begins, or goes on through a mount.

        Args:
            fd: of its directory.
            root: where that is.
        """
        if self._group is None:
            return False
        try:
            facts = facts_of(fd)
            key = facts.dev, facts.mount_id
            if key not in self._covers:
                self._covers[key] = self._covered(fd, facts.dev, facts.mount_id)
            cover = self._covers[key]
            if cover.refusal:
                return False
            self._devices.add(facts.dev)
            self._enter(root, _moved(path_of(fd), cover))
        except OSError:
            return False
        return True

    def cover_parent(self, fd: int, root: Place) -> bool:
        """Do the same for a root that is missing, or a file: its directory tells of it."""
        parent, _, name = root.path.rpartition(b"/")
        if not self.cover(fd, Place(parent, -1)):
            return False
        cover = self._cover_of(fd)
        if cover is not None:
            self._note_above(_moved(path_of(fd), cover).rstrip(b"/") + b"/" + name, root)
        return True

    def read(self) -> Changes:
        """Return what the events that wait ask for; a part of them when there are many."""
        changes = Changes()
        overflowed = False
        cleared = False
        events: list[fanotify.Event] = []
        try:
            events = self._events(changes)
            for event in events:
                if event.is_overflow:
                    overflowed = True
                elif event.pid != self._own.pid and event.infos:
                    is_move = self._sort(event, changes)
                    if is_move and not cleared:
                        self._known.clear()
                        cleared = True
        except (_Unresolved, FanotifyError):
            overflowed = True
        finally:
            self._close_fds()
        changes.seen = len(events)
        changes.overflowed = overflowed
        return changes

    def refusals(self) -> dict[str, int]:
        """Return why file systems are not marked, and how many for each reason."""
        found: dict[str, int] = {}
        for cover in self._covers.values():
            if cover.refusal:
                found[cover.refusal] = found.get(cover.refusal, 0) + 1
        return found

    def overlays(self) -> list[str]:
        """Return where overlays lie that are watched through their upper directory."""
        return [
            host_text(cover.moved[0] or b"/", _SHOWN_CHARS_MAX)
            for cover in self._covers.values()
            if cover.moved is not None and not cover.refusal
        ]

    def close(self) -> None:
        """End all marks; harmless when repeated."""
        if self._group is not None:
            self._group.close()
            self._group = None
        for table in (self._covers, self._roots, self._above, self._known):
            table.clear()
        self._devices.clear()

    # ------------------------------------------------------------------------- the marks

    def _ignore_own(self) -> None:
        """Let the kernel keep what we write ourselves; where it cannot, our number tells."""
        if self._group is None:
            return
        with contextlib.suppress(OSError, FanotifyRefused):
            fd = os.open(self._own.state, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._group.ignore(fd, MASK)
            finally:
                os.close(fd)

    def _covered(self, fd: int, dev: int, mount_id: int) -> Cover:
        """Mark what a directory lies on, or say why not."""
        mount = mount_of(self._mountinfo, mount_id)
        if mount is not None and mount.is_remote:
            return Cover(dev, refusal="network and FUSE file systems change unseen")
        if mount is not None and mount.kind == b"overlay":
            return self._covered_upper(dev, mount, path_of(fd))
        return self._marked(fd, Cover(dev, opener=self._opener(mount)))

    def _covered_upper(self, dev: int, mount: FileMount, real: bytes) -> Cover:
        """Mark the file system that holds what is changed in an overlay."""
        if not mount.upper or not real.startswith(mount.point.rstrip(b"/")):
            return Cover(dev, refusal="an overlay has no upper directory in sight")
        try:
            fd = self._host.open(mount.upper, _DIRECTORY)
        except HostFileError:
            return Cover(dev, refusal="the upper directory of an overlay is not in sight")
        try:
            moved = mount.point.rstrip(b"/"), path_of(fd).rstrip(b"/")
            return self._marked(fd, Cover(dev, opener=mount.upper, moved=moved))
        finally:
            os.close(fd)

    def _marked(self, fd: int, cover: Cover) -> Cover:
        """Mark a file system and try the way back from a handle, which takes a right of its own."""
        assert self._group is not None  # noqa: S101  (who asks has looked)
        cover.fsid = fsid_of(fd)
        cover.opener_dev = os.fstat(fd).st_dev
        try:
            kind, handle = handle_of(fd)
            os.close(open_directory(self._mount_fd(cover), kind, handle))
            self._group.mark(fd, MASK, Scope.FILESYSTEM)
        except FanotifyRefused as error:
            cover.refusal = error.refusal.value
        except _Unresolved:
            cover.refusal = "no directory of a file system can be opened"
        except OSError as error:
            cover.refusal = (
                "CAP_DAC_READ_SEARCH is missing"
                if error.errno == errno.EPERM
                else "a file system has no handles"
            )
        finally:
            self._close_fds()
        return cover

    def _opener(self, mount: FileMount | None) -> bytes:
        """Return a path of the host that is sure to be on a mount."""
        inside = self._inside(mount.point) if mount is not None else None
        return inside or b"/"

    def _inside(self, point: bytes) -> bytes | None:
        """Return a path of our own namespace as the host sees it; None for one outside."""
        if point == self._prefix or point.startswith(self._prefix + b"/"):
            return point[len(self._prefix) :]
        return None

    def _forget(self, key: tuple[int, int]) -> None:
        """Count no more on a mount that is gone; its file system may be mounted elsewhere."""
        del self._covers[key]
        self._devices = {dev for (dev, _), cover in self._covers.items() if not cover.refusal}

    def _cover_of(self, fd: int) -> Cover | None:
        facts = facts_of(fd)
        return self._covers.get((facts.dev, facts.mount_id))

    def _enter(self, root: Place, real: bytes) -> None:
        """Remember where a tree begins, and whose names lead there."""
        real = real.rstrip(b"/")
        if root.tree < 0 or self._roots.get(real, {}).get(root.path) == root:
            return
        self._roots.setdefault(real, {})[root.path] = root
        self._known.clear()
        self._note_above(real, root)

    def _note_above(self, real: bytes, root: Place) -> None:
        for path in upward(real):
            parent, slash, name = path.rpartition(b"/")
            roots = self._above.setdefault(parent, {}).setdefault(name, {}) if slash else {}
            if slash and root.path not in roots:
                roots[root.path] = root
                self._known.clear()

    # ------------------------------------------------------------------------- the events

    def _events(self, changes: Changes) -> list[fanotify.Event]:
        events: list[fanotify.Event] = []
        for _ in range(READS_A_TIME if self._group is not None else 0):
            more = self._group.read() if self._group is not None else []
            events += more
            if not more:
                return events
        changes.has_more = self._group is not None
        return events

    def _sort(self, event: fanotify.Event, changes: Changes) -> bool:
        """Note what one event asks for; True for a move that changes where directories are."""
        info = event.infos[0]
        here = self._directory(info)
        if here is None or info.name == _ITSELF:
            return False
        name, mask = info.name, event.mask
        is_directory = bool(mask & fanotify.ONDIR)
        if here.names is not None and name in here.names:
            changes.places.update(here.names[name])
            changes.pids.update(dict.fromkeys(here.names[name], event.pid))
        place = here.place
        if place is not None and not self._trees.excludes(place, name):
            path = place.path + b"/" + name
            if not is_directory:
                changes.files[path] = place
                if changes.pids.setdefault(path, event.pid) != event.pid:
                    changes.shared.add(path)
                changes.pids[path] = event.pid
            elif mask & _NAMED and (inner := self._trees.below(place, name)):
                changes.places[inner.path] = inner
        return is_directory and bool(mask & _MOVED)

    def _directory(self, info: Info) -> _Dir | None:
        """Return what a directory has to do with us; None for nothing."""
        known = self._known.setdefault(info.fsid, {})
        try:
            return known[info.handle]
        except KeyError:
            found = self._resolved(info)
        if len(known) >= DIRECTORIES_MAX:
            for old in list(known)[: DIRECTORIES_MAX // 2]:
                del known[old]
        known[info.handle] = found
        return found

    def _resolved(self, info: Info) -> _Dir | None:
        """Follow a handle through each mount of its file system that has a tree.

        Raises:
            _Unresolved: it cannot be said.
            _MountGone: nor can it be any more.
        """
        for key, cover in list(self._covers.items()):
            if cover.refusal or cover.fsid != info.fsid:
                continue
            try:
                fd = open_directory(self._mount_fd(cover), info.handle_type, info.handle)
            except OSError as error:
                if error.errno in _GONE:
                    return None
                raise _Unresolved from error
            except _MountGone:
                # Said once: whether its trees are still there, and where, the sweep finds out.
                self._forget(key)
                raise
            try:
                path = self._path_of(fd)
                found = None if path is None else self._located(path.rstrip(b"/"))
                if found is not None and self._is_true(fd, found, cover):
                    return found
            except OSError as error:
                raise _Unresolved from error
            finally:
                os.close(fd)
        return None

    def _path_of(self, fd: int) -> bytes | None:
        """Return the path of a directory; None for one too long to be told, and in no tree.

        Raises:
            OSError: it cannot be told, and may be in a tree.
        """
        try:
            return path_of(fd)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG or self._is_deep_in_a_tree(fd):
                raise
            return None

    def _is_deep_in_a_tree(self, fd: int) -> bool:
        """Tell whether a directory whose path is too long to be told may be in a tree.

        Anybody may make one outside; no tree is deeper than its limit.

        Raises:
            OSError: it cannot be said.
        """
        here = os.dup(fd)
        try:
            for _ in range(DEPTH_MAX + 1):
                above = os.open("..", _UPWARD, dir_fd=here)
                os.close(here)
                here = above
                with contextlib.suppress(OSError):
                    found = self._located(path_of(here).rstrip(b"/"))
                    return found is not None and found.place is not None
        finally:
            os.close(here)
        return False

    def _is_true(self, fd: int, found: _Dir, cover: Cover) -> bool:
        """Tell whether the path leads there: what is outside a mount has a path of another."""
        if found.place is None or cover.moved is not None:
            return True
        try:
            seen = self._host.stat(found.place.path or b"/", follow=False)
        except HostFileError:
            return False
        is_at = os.fstat(fd)
        return (seen.st_dev, seen.st_ino) == (is_at.st_dev, is_at.st_ino)

    def _located(self, path: bytes) -> _Dir | None:
        place = None
        for top in upward(path):
            for root in self._roots.get(top, {}).values():
                place = place or self._descended(root, path[len(top) + 1 :])
            if place is not None:
                break
        names = self._above.get(path)
        return None if place is None and names is None else _Dir(place, names)

    def _descended(self, root: Place, rest: bytes) -> Place | None:
        place: Place | None = root
        for name in rest.split(b"/") if rest else ():
            if place is None or self._trees.excludes(place, name):
                return None
            place = self._trees.below(place, name)
        return place

    def _mount_fd(self, cover: Cover) -> int:
        """Return a descriptor on a mount, held until the events at hand are sorted.

        Raises:
            _Unresolved: there is none to be had.
            _MountGone: something else is mounted there now, or nothing.
        """
        fd = self._fds.get(cover.opener)
        if fd is None:
            try:
                fd = self._host.open(cover.opener, _DIRECTORY)
            except HostFileError as error:
                raise _Unresolved if error.errno in _FULL else _MountGone from error
            self._fds[cover.opener] = fd
        if os.fstat(fd).st_dev != cover.opener_dev:
            raise _MountGone
        return fd

    def _close_fds(self) -> None:
        while self._fds:
            os.close(self._fds.popitem()[1])


def _moved(real: bytes, cover: Cover) -> bytes:
    """Return where changes to a directory show: for an overlay, below its upper directory."""
    if cover.moved is None:
        return real
    point, upper = cover.moved
    return upper + real[len(point) :]
