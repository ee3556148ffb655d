"""Change events of files and directories: inotify(7) through ctypes, with its losses visible.

The kernel drops events when a queue is full and says so with one `OVERFLOW` event; a wrapper that
hides it hides the loss, so this one passes it on. Directories are named by an open descriptor
(``/proc/self/fd/N``), so that what is watched is what was opened, inside the host's root.
"""

import ctypes
import os
import struct
from typing import Final

from msgspec import Struct

ATTRIB: Final = 0x0004
MODIFY: Final = 0x0002
CLOSE_WRITE: Final = 0x0008
MOVED_FROM: Final = 0x0040
MOVED_TO: Final = 0x0080
CREATE: Final = 0x0100
DELETE: Final = 0x0200
DELETE_SELF: Final = 0x0400
MOVE_SELF: Final = 0x0800
UNMOUNT: Final = 0x2000
OVERFLOW: Final = 0x4000
IGNORED: Final = 0x8000
ONLYDIR: Final = 0x0100_0000
EXCL_UNLINK: Final = 0x0400_0000
MASK_ADD: Final = 0x2000_0000
ISDIR: Final = 0x4000_0000

READ_BYTES_MAX: Final = 64 * 1024

_HEADER: Final = struct.Struct("=iIII")
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class Event(Struct, frozen=True):
    """One change; ``watch`` is -1 for `OVERFLOW`, ``name`` empty for the watched thing itself."""

    watch: int
    mask: int
    name: bytes


class Inotify:
    """One inotify instance.

    Raises:
        OSError: no more instances are allowed (EMFILE), or there is no inotify here.
    """

    def __init__(self) -> None:
        self._fd = _checked(_LIBC.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))

    def fileno(self) -> int:
        """Return the descriptor that is readable when events wait; -1 when closed."""
        return self._fd

    def add(self, fd: int, mask: int) -> int:
        """Watch what an open descriptor names and return the watch's number.

        Watching the same inode again gives the same number and replaces its mask.

        Raises:
            OSError: ENOSPC where the user's limit of watches is reached.
        """
        path = b"/proc/self/fd/%d" % fd
        return _checked(_LIBC.inotify_add_watch(self._fd, path, ctypes.c_uint32(mask)))

    def remove(self, watch: int) -> None:
        """End a watch; one that the kernel has ended already is no matter."""
        _LIBC.inotify_rm_watch(self._fd, watch)

    def read(self) -> list[Event]:
        """Return the events that wait, oldest first, at most `READ_BYTES_MAX` of them.

        Raises:
            OSError: the instance is closed.
        """
        try:
            return parse(os.read(self._fd, READ_BYTES_MAX))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Give the descriptor back; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def parse(data: bytes) -> list[Event]:
    """Return the events in what the kernel gave; a cut last one is left out."""
    events = []
    at = 0
    while at + _HEADER.size <= len(data):
        watch, mask, _cookie, length = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        if at + length > len(data):
            break
        events.append(Event(watch, mask, data[at : at + length].rstrip(b"\0")))
        at += length
    return events


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
