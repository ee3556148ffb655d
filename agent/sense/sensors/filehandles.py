"""Handles of files: what events name a directory by, and the way back to it.

A handle means one inode of one file system as long as that lives; it outlasts renames and says
nothing of a path. Opening one takes CAP_DAC_READ_SEARCH in the host's own user namespace.

Source: open_by_handle_at(2), name_to_handle_at(2).
"""

import ctypes
import os
import struct
from typing import Final

HANDLE_BYTES_MAX: Final = 128

_HEAD: Final = struct.Struct("=Ii")  # length and type, then the handle itself
_FSID_WORDS: Final = struct.Struct("=ii")
_AT_EMPTY_PATH: Final = 0x1000
_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WORD: Final = 0xFFFF_FFFF

_libc = ctypes.CDLL(None, use_errno=True)


def handle_of(fd: int) -> tuple[int, bytes]:
    """Return type and bytes of the handle of what an open descriptor names.

    Raises:
        OSError: EOPNOTSUPP where the file system has none.
    """
    buffer = ctypes.create_string_buffer(_HEAD.pack(HANDLE_BYTES_MAX, 0), _HEAD.size + 128)
    mount = ctypes.c_int()
    if _libc.name_to_handle_at(fd, b"", buffer, ctypes.byref(mount), _AT_EMPTY_PATH):
        raise OSError(*_failure())
    size, kind = _HEAD.unpack_from(buffer)
    return kind, buffer.raw[_HEAD.size : _HEAD.size + size]


def open_directory(mount_fd: int, kind: int, handle: bytes) -> int:
    """Open the directory of a handle without effect (O_PATH).

    Args:
        mount_fd: of anything in a mount of its file system, not opened with O_PATH.
        kind: as in the event.
        handle: untrusted as to its age; the kernel refuses one that is none.

    Raises:
        OSError: ESTALE where it is gone, EPERM where a privilege is missing.
    """
    asked = _HEAD.pack(len(handle), kind) + handle
    fd = _libc.open_by_handle_at(mount_fd, asked, _FLAGS)
    if fd < 0:
        raise OSError(*_failure())
    return int(fd)


def path_of(fd: int) -> bytes:
    """Return where the kernel says that an open descriptor leads, in our own namespace.

    Raises:
        OSError: there is no /proc.
    """
    return os.readlink(b"/proc/self/fd/%d" % fd)  # noqa: PTH115  (bytes, which a Path would decode)


def fsid_of(fd: int) -> tuple[int, int]:
    """Return the two words by which events name a file system.

    Raises:
        OSError: as of fstatvfs(3).
    """
    number = os.fstatvfs(fd).f_fsid
    low, high = _FSID_WORDS.unpack(struct.pack("=II", number & _WORD, number >> 32 & _WORD))
    return low, high


def _failure() -> tuple[int, str]:
    number = ctypes.get_errno()
    return number, os.strerror(number)
