"""The three Linux system calls that Python's standard library lacks, through libc by ctypes.

They raise `OSError` like every function of `os`, and nothing here decides anything.
"""

import ctypes
import os
import struct
from typing import Final

from msgspec import Struct

PROC_SUPER_MAGIC: Final = 0x9FA0

_SYS_OPENAT2: Final = 437  # the same number on every architecture we build for
_RESOLVE_IN_ROOT: Final = 0x10
_OPEN_HOW: Final = struct.Struct("=QQQ")

_AT_EMPTY_PATH: Final = 0x1000
_AT_STATX_DONT_SYNC: Final = 0x4000
_STATX_BASIC_STATS: Final = 0x7FF
_STATX_MNT_ID: Final = 0x1000
_STATX_BYTES: Final = 256
# mask, blksize, attributes, nlink, uid, gid, mode, pad, ino, size, blocks, attributes_mask, then
# atime, btime, ctime, mtime as (seconds, nanoseconds, pad), rdev, dev, mount id.
_STATX: Final = struct.Struct("=IIQIIIHHQQQQ" + "qIi" * 4 + "IIIIQ")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.syscall.argtypes = (
    ctypes.c_long,
    ctypes.c_long,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_size_t,
)


class FileFacts(Struct, frozen=True):
    """What the kernel already knows of an open file; times in nanoseconds UTC."""

    dev: int
    inode: int
    size: int
    mode: int
    links: int
    modified: int
    changed: int
    mount_id: int
    uid: int = 0


def openat2_in_root(root_fd: int, path: bytes, flags: int) -> int:
    """Open ``path`` as if ``root_fd`` were the root of the file system.

    Args:
        root_fd: a directory; neither ``..`` nor any link leads above it.
        path: without a NUL byte.
        flags: of `os.open`; nothing can be created.

    Returns:
        The descriptor, close-on-exec if ``flags`` say so.

    Raises:
        OSError: as of open(2); ENOSYS or EPERM where the call itself is not to be had, EXDEV for a
            magic link of /proc.
    """
    how = _OPEN_HOW.pack(flags, 0, _RESOLVE_IN_ROOT)
    fd = _libc.syscall(_SYS_OPENAT2, root_fd, path, how, len(how))
    if fd < 0:
        raise OSError(*_failure(path))
    return int(fd)


def facts_of(fd: int) -> FileFacts:
    """Return what is known of an open file, without asking a server that may not answer.

    Raises:
        OSError: as of statx(2).
    """
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    flags = _AT_EMPTY_PATH | _AT_STATX_DONT_SYNC
    if _libc.statx(fd, b"", flags, _STATX_BASIC_STATS | _STATX_MNT_ID, buffer):
        raise OSError(*_failure(b""))
    found = _STATX.unpack_from(buffer)
    return FileFacts(
        dev=os.makedev(found[26], found[27]),
        inode=found[8],
        size=found[9],
        mode=found[6],
        links=found[3],
        modified=found[21] * 1_000_000_000 + found[22],
        changed=found[18] * 1_000_000_000 + found[19],
        mount_id=found[28] if found[0] & _STATX_MNT_ID else 0,
        uid=found[4],
    )


def facts_here(fd: int) -> FileFacts:
    """Return what is known of an open file of a local file system; a little faster.

    The mount is left out: nothing but reading from afar asks for it.

    Raises:
        OSError: as of fstat(2).
    """
    found = os.fstat(fd)
    return FileFacts(
        dev=found.st_dev,
        inode=found.st_ino,
        size=found.st_size,
        mode=found.st_mode,
        links=found.st_nlink,
        modified=found.st_mtime_ns,
        changed=found.st_ctime_ns,
        mount_id=0,
        uid=found.st_uid,
    )


def is_procfs(fd: int) -> bool:
    """Tell whether an open file lies on a /proc of the kernel and not on a copy of one.

    Raises:
        OSError: as of fstatfs(2).
    """
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    if _libc.fstatfs(fd, buffer):
        raise OSError(*_failure(b""))
    kind = struct.unpack_from("=l" if ctypes.sizeof(ctypes.c_long) == 4 else "=q", buffer)[0]
    return bool(kind == PROC_SUPER_MAGIC)


def _failure(path: bytes) -> tuple[int, str, str]:
    number = ctypes.get_errno()
    return number, os.strerror(number), os.fsdecode(path)
