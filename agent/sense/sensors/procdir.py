"""The /proc of a host, and the directory of one process in it, held open.

A held directory stays with its process: when that ends and its number is given to another, reads
through it fail instead of telling of the newcomer. So everything read through one `ProcDir` is of
one process.

Every method raises `OSError`, and only two answers matter: `PermissionError` is a process that is
there and that we may not look into; anything else is one that has ended, which is normal.
"""

import os
from typing import Final, Self

from agent.hostroot import HostRoot, read_at_most
from agent.syscalls import facts_of, is_procfs

_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LISTING: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_IMAGE: Final = os.O_PATH | os.O_CLOEXEC
_ROOT: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class ProcDir:
    """One process, as long as the directory is held."""

    __slots__ = ("_fd", "_genuine", "pid")

    def __init__(self, proc_fd: int, pid: int, *, genuine: bool) -> None:
        self.pid = pid
        self._genuine = genuine
        self._fd = os.open(str(pid), _DIRECTORY, dir_fd=proc_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def read(self, name: str, bytes_max: int) -> bytes:
        """Return a file that the kernel writes in one piece, at most ``bytes_max`` bytes of it."""
        fd = os.open(name, _READ, dir_fd=self._fd)
        try:
            return os.read(fd, bytes_max)
        finally:
            os.close(fd)

    def read_all(self, name: str, bytes_max: int) -> bytes:
        """Return a file that the kernel writes line by line, at most ``bytes_max`` bytes of it."""
        fd = os.open(name, _READ, dir_fd=self._fd)
        try:
            return read_at_most(fd, bytes_max)
        finally:
            os.close(fd)

    def link(self, name: bytes) -> bytes:
        """Return the text of a link."""
        return os.readlink(name, dir_fd=self._fd)

    def image_id(self) -> tuple[int, int]:
        """Return device and inode of the very file the process runs.

        Raises:
            PermissionError: no right to it, or this /proc is a copy whose links mean nothing.
            OSError: the process has ended, or runs no file.
        """
        fd = self.open_image()
        try:
            facts = facts_of(fd)  # stat(2) would ask a server that may not answer
        finally:
            os.close(fd)
        return facts.dev, facts.inode

    def open_root(self) -> int:
        """Return an O_PATH descriptor of the directory that is the process's root.

        Raises:
            PermissionError: no right to it, or this /proc is a copy whose links mean nothing.
            OSError: the process has ended.
        """
        if not self._genuine:
            raise PermissionError("this is not the /proc of a kernel")
        return os.open("root", _ROOT, dir_fd=self._fd)

    def descriptor_links(self) -> list[bytes]:
        """Return where each open descriptor leads; those closed meanwhile are left out."""
        fd = os.open("fd", _LISTING, dir_fd=self._fd)
        try:
            links = []
            for name in os.listdir(fd):  # noqa: PTH208  (a descriptor is no path)
                try:
                    links.append(os.readlink(name.encode(), dir_fd=fd))
                except FileNotFoundError:
                    continue
            return links
        finally:
            os.close(fd)

    def open_image(self) -> int:
        """Return an O_PATH descriptor of the very file the process runs, wherever it lies.

        Raises:
            PermissionError: no right to it, or this /proc is a copy whose links mean nothing.
            OSError: the process has ended, or runs no file.
        """
        if not self._genuine:
            raise PermissionError("this is not the /proc of a kernel")
        return os.open("exe", _IMAGE, dir_fd=self._fd)


class Proc:
    """The process table of the host.

    Raises:
        HostFileError: the host has no /proc where we look.
    """

    def __init__(self, host: HostRoot) -> None:
        self._fd = host.open("/proc", os.O_PATH | os.O_DIRECTORY)
        # Not a copy: its links lead to the very files, and its numbers are those events speak of.
        self.is_genuine = is_procfs(self._fd)

    def close(self) -> None:
        """Let go of it; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def pids(self) -> list[int]:
        """Return the numbers of the processes that are there now, smallest first."""
        fd = os.open(".", _LISTING, dir_fd=self._fd)
        try:
            names = os.listdir(fd)  # noqa: PTH208  (a descriptor is no path)
        finally:
            os.close(fd)
        return sorted(int(name) for name in names if name.isascii() and name.isdecimal())

    def process(self, pid: int) -> ProcDir:
        """Hold the directory of a process."""
        return ProcDir(self._fd, pid, genuine=self.is_genuine)
