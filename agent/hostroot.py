"""The only way to the host's files: every path is resolved with the host's root as root.

In a container the host's file system is mounted somewhere, and a link such as ``/etc/mtab ->
/proc/mounts`` must lead into the host and not into our image; outside one, an attacker's link
must not lead us to a device. So a path is first opened without effect (O_PATH), judged by what it
is, and only then opened for reading: nothing but regular files and directories ever is.

    HostFileError            (VedetteError)  host; ``path`` and ``errno`` say more
    ├── HostFileMissing      no such file, or the path does not resolve
    ├── HostFileDenied       we lack the right to it
    ├── HostFileNotRegular   a FIFO, a device, a socket, or a directory where a file was expected
    └── HostFileTooLarge     more bytes than the caller allows; nothing was kept
"""

import contextlib
import errno as errnos
import os
import stat
from collections.abc import Iterator
from typing import ClassVar, Final, Self

from agent.beneath import Resolver, best_resolver
from agent.hosttext import host_text
from runtime.errors import Fault, VedetteError

READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
PATH_FLAGS: Final = os.O_PATH | os.O_CLOEXEC

_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_ON_PATH: Final = os.O_DIRECTORY | os.O_NOFOLLOW
_CHUNK_BYTES: Final = 1 << 16
_SHOWN_CHARS_MAX: Final = 256


class HostFileError(VedetteError):
    """A file of the host could not be read.

    Args:
        path: what was asked for, as text for people.
        what: what happened, in one lower-case clause.
        number: the ``errno`` of it; 0 where no call failed.
    """

    fault: ClassVar[Fault] = Fault.HOST

    def __init__(self, path: str, what: str, number: int = 0) -> None:
        super().__init__(f"{path}: {what}")
        self.path = path
        self.errno = number


class HostFileMissing(HostFileError):
    """There is no such file, or the path does not resolve."""


class HostFileDenied(HostFileError):
    """We lack the right to read it."""


class HostFileNotRegular(HostFileError):
    """It is not of the type that was expected, so it was not opened."""


class HostFileTooLarge(HostFileError):
    """It holds more than the caller allows."""


_BY_ERRNO: Final = {
    errnos.ENOENT: HostFileMissing,
    errnos.ENOTDIR: HostFileMissing,
    errnos.ELOOP: HostFileMissing,
    errnos.ENAMETOOLONG: HostFileMissing,
    errnos.ESRCH: HostFileMissing,
    errnos.ENXIO: HostFileNotRegular,
    errnos.EISDIR: HostFileNotRegular,
    errnos.EACCES: HostFileDenied,
    errnos.EPERM: HostFileDenied,
    errnos.EXDEV: HostFileDenied,
}


class HostEntry:
    """A name in a directory; what it says of itself never follows a link."""

    __slots__ = ("_entry", "name")

    def __init__(self, entry: os.DirEntry[str]) -> None:
        self._entry = entry
        self.name = entry.name

    def is_dir(self) -> bool:
        """Tell whether it is a directory itself, not a link to one."""
        return self._entry.is_dir(follow_symlinks=False)

    def is_file(self) -> bool:
        """Tell whether it is a regular file itself, not a link to one."""
        return self._entry.is_file(follow_symlinks=False)

    def is_symlink(self) -> bool:
        """Tell whether it is a symbolic link."""
        return self._entry.is_symlink()

    def stat(self) -> os.stat_result:
        """Return the entry's own metadata; only while the directory is being read.

        Raises:
            OSError: it has gone.
        """
        return self._entry.stat(follow_symlinks=False)


class HostRoot:
    """The host's file tree, read only.

    Args:
        path: where the host's root is mounted; ``/`` outside a container.
        resolver: how paths are resolved; None for the best this kernel has.
    """

    _fd = -1  # where it could not be opened

    def __init__(
        self, path: str | os.PathLike[str] = "/", resolver: Resolver | None = None
    ) -> None:
        self.path = os.fspath(path)
        with _refusals(self.path):
            self._fd = os.open(self.path, PATH_FLAGS | os.O_DIRECTORY)
        self._resolver = resolver or best_resolver(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        """Let go of the root with the last who holds it; a descriptor is worth that."""
        with contextlib.suppress(OSError):
            self.close()

    def close(self) -> None:
        """Let go of the root; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def open(self, path: str | bytes, flags: int = READ_FLAGS) -> int:
        """Open a regular file or a directory for reading, or with O_PATH anything without effect.

        The access time is left alone where the kernel lets us.

        Args:
            path: absolute or relative to the root, which is the same.
            flags: of `os.open`, reading only.

        Returns:
            A descriptor that the caller closes; not inherited by children.

        Raises:
            HostFileMissing: nothing is there.
            HostFileDenied: no right to it.
            HostFileNotRegular: neither a regular file nor a directory, or not a directory where
                O_DIRECTORY asks for one.
            HostFileError: anything else the kernel says.
            ValueError: ``flags`` would write.
        """
        if flags & _WRITING:
            raise ValueError("host files are never written")
        with _refusals(path):
            found = self._resolver.open(self._fd, _plain(path), PATH_FLAGS | flags & _ON_PATH)
            if flags & os.O_PATH:
                return found
            try:
                mode = os.fstat(found).st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    raise HostFileNotRegular(_shown(path), "is neither a file nor a directory")
                return reopened(found, flags)
            finally:
                os.close(found)

    def open_file(self, path: str | bytes) -> int:
        """Open a regular file for reading.

        Raises:
            HostFileNotRegular: it is anything else, a directory included.
            HostFileError: as `open`.
        """
        fd = self.open(path)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise HostFileNotRegular(_shown(path), "is not a regular file", errnos.EISDIR)
        return fd

    def read_bytes(self, path: str | bytes, size_bytes_max: int) -> bytes:
        """Return the whole of a regular file.

        Raises:
            HostFileTooLarge: it holds more than ``size_bytes_max``.
            HostFileError: as `open_file`.
        """
        fd = self.open_file(path)
        try:
            with _refusals(path):
                data = read_at_most(fd, size_bytes_max + 1)
        finally:
            os.close(fd)
        if len(data) > size_bytes_max:
            raise HostFileTooLarge(_shown(path), f"is larger than {size_bytes_max} bytes")
        return data

    def stat(self, path: str | bytes, *, follow: bool = True) -> os.stat_result:
        """Return the metadata of what is there; of the link itself without ``follow``.

        Raises:
            HostFileError: as `open`.
        """
        fd = self.open(path, os.O_PATH | (0 if follow else os.O_NOFOLLOW))
        try:
            with _refusals(path):
                return os.fstat(fd)
        finally:
            os.close(fd)

    def scandir(self, path: str | bytes) -> Iterator[HostEntry]:
        """Yield the entries of a directory in no order; read as they are asked for.

        Raises:
            HostFileError: as `open`, when the first entry is asked for.
        """
        fd = self.open(path, READ_FLAGS | os.O_DIRECTORY)
        try:
            with _refusals(path), os.scandir(fd) as entries:
                for entry in entries:
                    yield HostEntry(entry)
        finally:
            os.close(fd)

    def readlink(self, path: str | bytes) -> str:
        """Return the text of a symbolic link, as `os.fsdecode` gives it.

        Raises:
            HostFileNotRegular: it is not a link.
            HostFileError: as `open`.
        """
        fd = self.open(path, os.O_PATH | os.O_NOFOLLOW)
        try:
            with _refusals(path):
                if not stat.S_ISLNK(os.fstat(fd).st_mode):
                    raise HostFileNotRegular(_shown(path), "is not a symbolic link")
                return os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)


def reopened(fd: int, flags: int = READ_FLAGS) -> int:
    """Open again, for reading, the very file that an O_PATH descriptor holds.

    Raises:
        OSError: as of open(2).
    """
    name = f"/proc/self/fd/{fd}"
    flags = flags & ~os.O_NOFOLLOW | READ_FLAGS
    try:
        return os.open(name, flags | os.O_NOATIME)
    except PermissionError:
        return os.open(name, flags)  # O_NOATIME is for the owner and for CAP_FOWNER


def read_at_most(fd: int, bytes_max: int) -> bytes:
    """Read to the end of the file or to ``bytes_max``, whichever comes first.

    Raises:
        OSError: as of read(2).
    """
    data = os.read(fd, min(bytes_max, _CHUNK_BYTES))
    if not data or len(data) >= bytes_max:
        return data
    parts = bytearray(data)
    while data and len(parts) < bytes_max:
        data = os.read(fd, min(bytes_max - len(parts), _CHUNK_BYTES))
        parts += data
    return bytes(parts)


class _refusals:  # noqa: N801  (reads as the verb it is: with _refusals(path))
    """Turns what the kernel says into our errors."""

    __slots__ = ("_path",)

    def __init__(self, path: str | bytes) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _at: object) -> None:
        if isinstance(error, OSError):
            number = error.errno or 0
            what = os.strerror(number).lower() if number else "cannot be read"
            raise _BY_ERRNO.get(number, HostFileError)(_shown(self._path), what, number) from error


def _plain(path: str | bytes) -> bytes:
    """Return the path as the kernel takes it; a NUL would cut it short unseen."""
    raw = os.fsencode(path)
    if not raw or b"\0" in raw:
        raise FileNotFoundError(errnos.ENOENT, os.strerror(errnos.ENOENT))
    return raw


def _shown(path: str | bytes) -> str:
    return host_text(path, _SHOWN_CHARS_MAX)
