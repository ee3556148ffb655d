"""A cage of files for a process that needs few: Landlock, through libc by ctypes.

Once in, a process and its children reach only what they were left: to read, or to read and write.
They make no TCP connection, trace and signal nobody outside, and cannot leave. The process that
senses is never caged: the cage would hide /proc/PID/exe of others from it.

Source: Linux, Documentation/userspace-api/landlock.rst, up to ABI 7.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

# Below this, renaming from one directory to another is not to be had in a cage.
ABI_LEAST: Final = 2

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_VERSION: Final = 1
_PATH_BENEATH: Final = 1

_READ: Final = 0b1101  # execute, read file, read directory
_ALL_V1: Final = (1 << 13) - 1
_REFER: Final = 1 << 13
_TRUNCATE: Final = 1 << 14
_IOCTL: Final = 1 << 15
_NO_TCP: Final = 0b11  # bind, connect
_SCOPES: Final = 0b11  # abstract sockets, signals

_libc = ctypes.CDLL(None, use_errno=True)


def landlock_abi() -> int:
    """Return the version of the kernel's Landlock; 0 where there is none."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, 0, _VERSION)))


def cage(read: Iterable[Path], write: Iterable[Path]) -> bool:
    """Shut this process in; it must have given up new privileges before.

    Args:
        read: directories to read below; those that are not there are left out.
        write: directories to read and write below.

    Returns:
        Whether it is shut in: not where the kernel has no Landlock, or one that is too old.

    Raises:
        OSError: the kernel has it and refuses, or a directory to write below is not there.
    """
    abi = landlock_abi()
    if abi < ABI_LEAST:
        return False
    handled = _ALL_V1 | _REFER | (_TRUNCATE if abi >= 3 else 0) | (_IOCTL if abi >= 5 else 0)
    ruleset = _call(_CREATE_RULESET, *_attributes(abi, handled), 0)
    try:
        for path in read:
            if path.is_dir():
                _allow(ruleset, path, _READ)
        for path in write:
            _allow(ruleset, path, handled & ~_IOCTL)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return True


def _attributes(abi: int, handled: int) -> tuple[bytes, int]:
    data = struct.pack("=Q", handled)
    if abi >= 4:
        data += struct.pack("=Q", _NO_TCP)
    if abi >= 6:
        data += struct.pack("=Q", _SCOPES)
    return data, len(data)


def _allow(ruleset: int, path: Path, access: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", access, fd), 0)
    finally:
        os.close(fd)


def _call(number: int, *arguments: int | bytes) -> int:
    found = int(_libc.syscall(number, *arguments))
    if found < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"landlock call {number}: {os.strerror(error)}")
    return found
