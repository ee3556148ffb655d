"""Two ways to open a path that cannot leave a directory: one system call, or a walk.

`openat2` resolves a path with the directory as root, in the kernel. Where a kernel before 5.6 or a
system call filter denies it, `WalkResolver` does the same component by component and never follows
a link it has not read itself. Both obey the same laws, which are one test suite.
"""

import errno
import os
import stat
from collections.abc import Callable
from typing import Final, Protocol

from agent.syscalls import openat2_in_root

LINKS_MAX: Final = 40
COMPONENTS_MAX: Final = 256
PATH_BYTES_MAX: Final = 4096

_RACE_RETRIES_MAX: Final = 8
_O_STEP: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


# Tells the mode of an open file; raises `OSError` for one that must not be used.
ModeOf = Callable[[int], int]


def _mode_of(fd: int) -> int:
    return os.fstat(fd).st_mode


class Resolver(Protocol):
    """Opens paths beneath a root."""

    def open(self, root_fd: int, path: bytes, flags: int) -> int:
        """Return a descriptor of what ``path`` names when ``root_fd`` is the root.

        Raises:
            OSError: as of open(2); ELOOP after `LINKS_MAX` links.
        """
        ...


class Openat2Resolver:
    """The kernel resolves."""

    def open(self, root_fd: int, path: bytes, flags: int) -> int:
        """Open ``path`` by openat2 with RESOLVE_IN_ROOT.

        Raises:
            OSError: as of open(2).
        """
        for _ in range(_RACE_RETRIES_MAX):
            try:
                return openat2_in_root(root_fd, path, flags)
            except BlockingIOError:
                continue  # a rename on the way: the kernel could not vouch for a ".."
        return openat2_in_root(root_fd, path, flags)


class WalkResolver:
    """We resolve, one component at a time, holding every directory on the way open.

    ``..`` is the directory we came from and not what the file system says now, so that a directory
    moved out of the root meanwhile leads nowhere else.

    Args:
        mode_of: tells the mode of each thing on the way, held by a descriptor, before it is used;
            an `OSError` it raises ends the walk.
    """

    def __init__(self, mode_of: ModeOf | None = None) -> None:
        self._mode_of = mode_of or _mode_of

    def open(self, root_fd: int, path: bytes, flags: int) -> int:
        """Open ``path`` by walking it.

        Raises:
            OSError: as of open(2); ENAMETOOLONG for more than `COMPONENTS_MAX` components.
        """
        walk = _Walk(root_fd, flags, self._mode_of)
        try:
            return walk.to_end(path)
        finally:
            walk.close()


class _Walk:
    """One resolution: the directories held open from the root down, and the names still to go."""

    def __init__(self, root_fd: int, flags: int, mode_of: ModeOf) -> None:
        self._root_fd = root_fd
        self._mode_of = mode_of
        self._flags = flags
        self._follow = not flags & os.O_NOFOLLOW
        self._held: list[int] = []
        self._links = 0

    def close(self) -> None:
        while self._held:
            os.close(self._held.pop())

    def to_end(self, path: bytes) -> int:
        names = self._names(path, is_end=True)
        while names:
            name = names.pop()
            if name == b"..":
                if self._held:
                    os.close(self._held.pop())
            elif names:
                names += self._into(name)
            else:
                fd, names = self._last(name)
                if fd >= 0:
                    return fd
        return os.open(b".", self._flags, dir_fd=self._here())

    def _here(self) -> int:
        return self._held[-1] if self._held else self._root_fd

    def _into(self, name: bytes) -> list[bytes]:
        """Enter a directory; return the names to go first where it is a link."""
        step = os.open(name, _O_STEP, dir_fd=self._here())
        mode = self._judged(step)
        if stat.S_ISLNK(mode):
            return self._target(step, is_end=False)
        if not stat.S_ISDIR(mode):
            os.close(step)
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if len(self._held) >= COMPONENTS_MAX:
            os.close(step)
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        self._held.append(step)
        return []

    def _last(self, name: bytes) -> tuple[int, list[bytes]]:
        """Open the last name; return it, or the names to go where it is a link to follow."""
        step = os.open(name, _O_STEP, dir_fd=self._here())
        is_link = stat.S_ISLNK(self._judged(step))
        if is_link and self._follow:
            return -1, self._target(step, is_end=True)
        if is_link and self._flags & (os.O_PATH | os.O_DIRECTORY) == os.O_PATH:
            return step, []
        os.close(step)
        # Should the name be a link, or have become one just now, O_NOFOLLOW makes that an error.
        return os.open(name, self._flags | os.O_NOFOLLOW, dir_fd=self._here()), []

    def _judged(self, step: int) -> int:
        """Return the mode of what was just opened; it is closed where the walk ends there."""
        try:
            return self._mode_of(step)
        except OSError:
            os.close(step)
            raise

    def _target(self, link: int, *, is_end: bool) -> list[bytes]:
        """Read and close a link; an absolute one begins again at the root."""
        try:
            target = os.readlink(b"", dir_fd=link)
        finally:
            os.close(link)
        self._links += 1
        if self._links > LINKS_MAX:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if target.startswith(b"/"):
            self.close()
        return self._names(target, is_end=is_end)

    def _names(self, path: bytes, *, is_end: bool) -> list[bytes]:
        """Return the components, last first, so that the next one is popped off the end."""
        if is_end and path.endswith((b"/", b"/.")):
            self._follow = True
            self._flags |= os.O_DIRECTORY
        names = [name for name in path.split(b"/") if name not in {b"", b"."}]
        if len(path) >= PATH_BYTES_MAX or len(names) > COMPONENTS_MAX:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        names.reverse()
        return names


def best_resolver(root_fd: int) -> Resolver:
    """Return the kernel's resolver where it is to be had, else the walk."""
    try:
        os.close(openat2_in_root(root_fd, b".", os.O_PATH | os.O_CLOEXEC))
    except OSError:
        return WalkResolver()
    return Openat2Resolver()
