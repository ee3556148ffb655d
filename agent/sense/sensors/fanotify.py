"""Events of whole file systems: fanotify(7) through ctypes, with its losses visible.

Two kinds of group. In descriptor mode (`for_descriptors`) each event carries the opened file
itself: whatever happens to the path, those are the bytes that were meant. In FID mode (`for_names`)
it carries the handle of the directory and the name in it. Nothing here can hold anybody up:
permission events are never asked for. The queue has the kernel's limit; when it is full one
`OVERFLOW` event says so, and it is passed on.

A descriptor that cannot be opened is a lost event. Kernels that know how say so (``lost_errno``);
the others say nothing, so that no more may be read at once than there are free descriptors.

    FanotifyError           (VedetteError)  host
    ├── FanotifyRefused     the kernel refuses a group or a mark; ``refusal`` says why
    └── FanotifyGarbled     bytes that are not events

Source: fanotify_init(2), fanotify_mark(2), fanotify(7); the kernel's include/uapi/linux/fanotify.h.
"""

import ctypes
import enum
import errno
import os
import struct
from collections.abc import Sequence
from typing import ClassVar, Final

from msgspec import Struct

from runtime.errors import Fault, VedetteError

ATTRIB: Final = 0x0000_0004
MODIFY: Final = 0x0000_0002
CLOSE_WRITE: Final = 0x0000_0008
MOVED_FROM: Final = 0x0000_0040
MOVED_TO: Final = 0x0000_0080
CREATE: Final = 0x0000_0100
DELETE: Final = 0x0000_0200
DELETE_SELF: Final = 0x0000_0400
MOVE_SELF: Final = 0x0000_0800
OPEN_EXEC: Final = 0x0000_1000
OVERFLOW: Final = 0x0000_4000
EVENT_ON_CHILD: Final = 0x0800_0000
RENAME: Final = 0x1000_0000
ONDIR: Final = 0x4000_0000
PERMISSION: Final = 0x0007_0000  # FAN_OPEN_PERM | FAN_ACCESS_PERM | FAN_OPEN_EXEC_PERM

NO_DESCRIPTOR: Final = -1
EVENT_BYTES: Final = 24
READ_BYTES_MAX: Final = 64 * 1024
HANDLE_BYTES_MAX: Final = 128  # MAX_HANDLE_SZ
NAME_BYTES_MAX: Final = 255

_VERSION: Final = 3
_CLOEXEC: Final = 0x01
_NONBLOCK: Final = 0x02
_REPORT_FID: Final = 0x0200
_REPORT_DIR_FID: Final = 0x0400
_REPORT_NAME: Final = 0x0800
_REPORT_TARGET_FID: Final = 0x1000
_REPORT_FD_ERROR: Final = 0x2000
_DFID_NAME: Final = _REPORT_DIR_FID | _REPORT_NAME

_MARK_ADD: Final = 0x01
_MARK_REMOVE: Final = 0x02
_MARK_ONLYDIR: Final = 0x08
_MARK_IGNORE_SURVIVING: Final = 0x0440  # FAN_MARK_IGNORE_SURV: a change does not end it

# The C library of a 64-bit machine says 0, and the kernel opens no file above 2 GiB then.
_O_LARGEFILE: Final = {"aarch64": 0o400000, "armv7l": 0o400000, "ppc64le": 0o200000}.get(
    os.uname().machine, 0o100000
)
_EVENT_FLAGS: Final = os.O_RDONLY | _O_LARGEFILE | os.O_CLOEXEC | os.O_NOATIME

_METADATA: Final = struct.Struct("=IBBHQii")
_INFO: Final = struct.Struct("=BBH")
_FID: Final = struct.Struct("=iiIi")  # fsid, handle_bytes, handle_type

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class Refusal(enum.Enum):
    """Why the kernel does not do it."""

    PRIVILEGE = "needs CAP_SYS_ADMIN"
    UNKNOWN = "this kernel does not know it"
    UNSUPPORTED = "the file system cannot be watched this way"
    CROSS_DEVICE = "part of a file system that spans several"
    LIMIT = "no more of them are allowed"
    OTHER = "refused"


_REFUSALS: Final = {
    errno.EPERM: Refusal.PRIVILEGE,
    errno.EACCES: Refusal.PRIVILEGE,
    errno.EINVAL: Refusal.UNKNOWN,
    errno.ENOSYS: Refusal.UNKNOWN,
    errno.EOPNOTSUPP: Refusal.UNSUPPORTED,
    errno.ENODEV: Refusal.UNSUPPORTED,
    errno.EXDEV: Refusal.CROSS_DEVICE,
    errno.EMFILE: Refusal.LIMIT,
    errno.ENFILE: Refusal.LIMIT,
    errno.ENOSPC: Refusal.LIMIT,
    errno.ENOMEM: Refusal.LIMIT,
}


class FanotifyError(VedetteError):
    """Events of file systems are not to be had, or not to be understood."""

    fault: ClassVar[Fault] = Fault.HOST


class FanotifyRefused(FanotifyError):
    """The kernel refuses a group or a mark.

    Args:
        what: what was asked for, in a few words.
        number: the ``errno`` of it.
    """

    def __init__(self, what: str, number: int) -> None:
        self.refusal = _REFUSALS.get(number, Refusal.OTHER)
        self.errno = number
        super().__init__(f"{what}: {os.strerror(number).lower()}")


class FanotifyGarbled(FanotifyError):
    """These bytes are not events of the kernel; ``events`` are those before the fault."""

    def __init__(self, message: str, events: "Sequence[Event]" = ()) -> None:
        super().__init__(message)
        self.events = events


class Scope(enum.Enum):
    """What a mark covers: one file or directory, one mount, or a whole file system."""

    INODE = 0x000
    MOUNT = 0x010
    FILESYSTEM = 0x100


class InfoKind(enum.Enum):
    """What a record of an event in FID mode names."""

    FILE = 1  # the thing itself
    NAME = 2  # a directory, and a name in it
    DIRECTORY = 3
    OLD_NAME = 10  # of a rename
    NEW_NAME = 12


_INFO_KINDS: Final = {kind.value: kind for kind in InfoKind}
_WITH_NAME: Final = frozenset({InfoKind.NAME, InfoKind.OLD_NAME, InfoKind.NEW_NAME})


class Info(Struct, frozen=True):
    """One record of an event in FID mode.

    ``fsid`` is the two words of statfs(2); ``handle`` is what open_by_handle_at(2) takes after its
    length and type; ``name`` is empty but for the kinds that have one, and ``.`` for the directory
    itself.
    """

    kind: InfoKind
    fsid: tuple[int, int]
    handle_type: int
    handle: bytes
    name: bytes = b""


class Event(Struct, frozen=True):
    """What happened; in descriptor mode the receiver closes ``fd``, which is -1 without a file.

    ``lost_errno`` tells why there is no descriptor where there ought to be one; 0 otherwise.
    ``pid`` is 0 for a process that is none of our namespace, or of another user when unprivileged.
    """

    mask: int
    fd: int
    pid: int
    infos: tuple[Info, ...] = ()
    lost_errno: int = 0

    @property
    def is_overflow(self) -> bool:
        """Whether events were lost before this one."""
        return bool(self.mask & OVERFLOW)


class Group:
    """A queue of events and the marks that feed it.

    Args:
        flags: of fanotify_init(2); `for_descriptors` and `for_names` know which.

    Raises:
        FanotifyRefused: no right, no such thing in this kernel, or too many groups.
    """

    def __init__(self, flags: int) -> None:
        fd = _LIBC.fanotify_init(ctypes.c_uint(flags), ctypes.c_uint(_EVENT_FLAGS))
        if fd < 0:
            raise FanotifyRefused("file system events", ctypes.get_errno())
        self._fd = int(fd)
        self.flags = flags

    @property
    def says_lost_descriptors(self) -> bool:
        """Whether an event whose file could not be opened is told, and not lost unsaid."""
        return bool(self.flags & _REPORT_FD_ERROR)

    @property
    def names_targets(self) -> bool:
        """Whether events on names carry the handle of the thing itself too."""
        return bool(self.flags & _REPORT_TARGET_FID)

    def fileno(self) -> int:
        """Return the descriptor that is readable when events wait; -1 when closed."""
        return self._fd

    def mark(self, fd: int, mask: int, scope: Scope, *, only_directory: bool = False) -> None:
        """Watch what an open descriptor (O_PATH will do) names; a mask is added to what was there.

        Args:
            fd: of anything inside.
            mask: of the events wanted, never one that waits for an answer.
            scope: how far the mark reaches.
            only_directory: refuse anything else.

        Raises:
            FanotifyRefused: CAP_SYS_ADMIN is missing, or this file system cannot be watched so.
            ValueError: ``mask`` has a permission event.
        """
        extra = _MARK_ONLYDIR if only_directory else 0
        self._mark(_MARK_ADD | scope.value | extra, fd, mask)

    def unmark(self, fd: int, mask: int, scope: Scope) -> None:
        """Watch no longer; a mark that has gone with its file system already is no matter.

        Raises:
            FanotifyRefused: the kernel refuses.
        """
        try:
            self._mark(_MARK_REMOVE | scope.value, fd, mask)
        except FanotifyRefused as error:
            if error.errno != errno.ENOENT:
                raise

    def ignore(self, fd: int, mask: int) -> None:
        """Hear nothing of a directory and of what lies directly in it, whatever else is marked.

        Args:
            fd: of the directory.
            mask: of the events not wanted.

        Raises:
            FanotifyRefused: this kernel cannot (before 6.0), or there are too many marks.
        """
        self._mark(_MARK_ADD | _MARK_IGNORE_SURVIVING, fd, mask | EVENT_ON_CHILD | ONDIR)

    def read(self, bytes_max: int = READ_BYTES_MAX) -> list[Event]:
        """Return events that wait, oldest first; none without waiting.

        Args:
            bytes_max: `EVENT_BYTES` for each descriptor that may be opened, at least that.

        Raises:
            OSError: EMFILE or ENFILE: the first event that waited is lost.
            FanotifyGarbled: the kernel speaks another version; every descriptor was closed.
        """
        try:
            data = os.read(self._fd, max(bytes_max, EVENT_BYTES))
        except BlockingIOError:
            return []
        try:
            return parse(data)
        except FanotifyGarbled as error:
            for event in error.events:
                if event.fd >= 0:
                    os.close(event.fd)
            raise

    def close(self) -> None:
        """Give the descriptor and the marks back; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _mark(self, flags: int, fd: int, mask: int) -> None:
        if mask & PERMISSION:
            raise ValueError("permission events can stop the whole host")
        path = b"/proc/self/fd/%d" % fd
        if _LIBC.fanotify_mark(
            self._fd, ctypes.c_uint(flags), ctypes.c_uint64(mask), ctypes.c_int(-100), path
        ):
            raise FanotifyRefused("watching a file system", ctypes.get_errno())


def for_descriptors() -> Group:
    """Open a group whose events carry the file itself.

    Raises:
        FanotifyRefused: CAP_SYS_ADMIN is missing, or the kernel has no fanotify.
    """
    return _first(_CLOEXEC | _NONBLOCK, (_REPORT_FD_ERROR, 0))


def for_names(*, with_targets: bool = True) -> Group:
    """Open a group whose events carry the handle of a directory and a name in it.

    Args:
        with_targets: the handle of the thing itself too, where the kernel knows how.

    Raises:
        FanotifyRefused: the kernel has no fanotify, or not with names (before 5.9).
    """
    if not with_targets:
        return Group(_CLOEXEC | _NONBLOCK | _DFID_NAME)
    return _first(_CLOEXEC | _NONBLOCK | _DFID_NAME, (_REPORT_FID | _REPORT_TARGET_FID, 0))


def _first(flags: int, extras: tuple[int, ...]) -> Group:
    """Open a group with the first of the extras that this kernel knows."""
    for extra in extras[:-1]:
        try:
            return Group(flags | extra)
        except FanotifyRefused as error:
            if error.refusal is not Refusal.UNKNOWN:
                raise
    return Group(flags | extras[-1])


def parse(data: bytes) -> list[Event]:
    """Return the events in what the kernel gave.

    Raises:
        FanotifyGarbled: this is no whole number of events.
    """
    events: list[Event] = []
    at = 0
    try:
        while at < len(data):
            event, at = _event(data, at)
            events.append(event)
    except struct.error as error:
        raise FanotifyGarbled("a file system event is cut short", events) from error
    except FanotifyGarbled as error:
        raise FanotifyGarbled(error.message, events) from error
    return events


def _event(data: bytes, at: int) -> tuple[Event, int]:
    size, version, _, head, mask, fd, pid = _METADATA.unpack_from(data, at)
    end = at + size
    if version != _VERSION or head < EVENT_BYTES or size < head or end > len(data):
        raise FanotifyGarbled("not a file system event")
    infos = _infos(data, at + head, end) if size > head else ()
    lost = -fd if fd < NO_DESCRIPTOR else 0
    return Event(mask, max(fd, NO_DESCRIPTOR), pid, infos, lost), end


def _infos(data: bytes, at: int, end: int) -> tuple[Info, ...]:
    infos = []
    while at < end:
        number, _, size = _INFO.unpack_from(data, at)
        if size < _INFO.size or at + size > end:
            raise FanotifyGarbled("not a record of a file system event")
        kind = _INFO_KINDS.get(number)
        if kind is not None:
            infos.append(_info(kind, data[at + _INFO.size : at + size]))
        at += size  # records of a kind not known here are passed over
    return tuple(infos)


def _info(kind: InfoKind, body: bytes) -> Info:
    major, minor, size, handle_type = _FID.unpack_from(body)
    end = _FID.size + size
    if size > HANDLE_BYTES_MAX or end > len(body):
        raise FanotifyGarbled("not a file handle")
    name = b""
    if kind in _WITH_NAME:
        name = body[end:].split(b"\0", 1)[0]
        if len(name) > NAME_BYTES_MAX:
            raise FanotifyGarbled("not a name of a file")
    return Info(kind, (major, minor), handle_type, body[_FID.size : end], name)
