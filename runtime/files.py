"""Durable files: atomic replacement, directory fsync and the one lock a daemon holds."""

import fcntl
import os
import secrets
from pathlib import Path
from typing import ClassVar

from runtime.errors import Fault, VedetteError


class AlreadyRunning(VedetteError):
    """Another process holds the daemon's lock."""

    fault: ClassVar[Fault] = Fault.OPERATOR
    exit_code: ClassVar[int] = 7


def fsync_dir(path: Path) -> None:
    """Make the directory's entries durable.

    Raises:
        OSError: the directory cannot be opened or synced.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace ``path`` by ``data`` so that a crash leaves the old file or the new one, whole.

    Args:
        path: the final name; its directory must exist.
        data: the whole content.
        mode: permission bits of the new file, applied before any byte is written.

    Raises:
        OSError: the file could not be made durable; the old one is untouched.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            os.fchmod(fd, mode)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        partial.rename(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    fsync_dir(path.parent)


class FileLock:
    """An exclusive lock on a file of our own, held until ``release`` or the process ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def acquire(self) -> None:
        """Take the lock at once or fail.

        Raises:
            AlreadyRunning: another process holds it.
            OSError: the lock file cannot be created.
        """
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(fd)
            raise AlreadyRunning(
                f"another process holds {self._path}",
                hint="stop it first, or give this one another state directory",
            ) from error
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self._fd = fd

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def is_locked(path: Path) -> bool:
    """Return whether some process holds the lock of this file; one that is not there is free."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
