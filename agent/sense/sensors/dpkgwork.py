"""Whether dpkg is at work: until it has ended, files and its lists are of two versions.

Source: dpkg(1); its updates lie beside the status file until they are written into it, and its
lock is one of fcntl(2) on the whole file.
"""

import fcntl
import os
import struct
from typing import Final

from agent.hostroot import HostFileError, HostRoot

LOCK_PATH: Final = "/var/lib/dpkg/lock"
UPDATES_PATH: Final = "/var/lib/dpkg/updates"

# type, whence, start, length, pid and what the compiler puts behind it.
_FLOCK: Final = struct.Struct("@hhqqi4x")


def is_at_work(host: HostRoot) -> bool:
    """Tell whether dpkg has begun what it has not ended."""
    return _has_updates(host) or _is_locked(host)


def _has_updates(host: HostRoot) -> bool:
    try:
        return any(entry.name.isdigit() for entry in host.scandir(UPDATES_PATH))
    except HostFileError:
        return False


def _is_locked(host: HostRoot) -> bool:
    """Ask the kernel whether somebody holds dpkg's lock, without taking it."""
    try:
        fd = host.open_file(LOCK_PATH)
    except HostFileError:
        return False  # its lock is not for everybody; its updates are
    try:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind: int = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, asked))[0]
    except OSError:
        return False
    finally:
        os.close(fd)
    return kind != fcntl.F_UNLCK
