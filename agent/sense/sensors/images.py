"""The file a process runs, held without opening it, and told apart from every other.

The descriptor is of the file itself, not of a path: it stays true after the process has ended, the
file was deleted, or another was put in its place. While it is held, unmounting its file system
fails; so few are held, and not for long.
"""

import errno
import os
import stat
from pathlib import Path
from typing import Final

from msgspec import Struct

from agent.beneath import WalkResolver
from agent.sense.sensors.mounts import MOUNTINFO_BYTES_MAX, parse_mounts
from agent.sense.sensors.procdir import ProcDir
from agent.syscalls import FileFacts, facts_of

MOUNTS_MAX: Final = 65_536

ImageKey = tuple[int, int, int, int, int]


class Image(Struct, frozen=True):
    """A file held by a descriptor, which `close` gives back; O_PATH unless ``is_readable``."""

    fd: int
    facts: FileFacts
    is_remote: bool
    is_readable: bool = False

    @property
    def key(self) -> ImageKey:
        """What changes whenever the content may have: device, inode, size, mtime, ctime."""
        return key_of(self.facts)

    @property
    def is_deleted(self) -> bool:
        """Whether no name leads to the file any more."""
        return self.facts.links == 0

    def path(self) -> bytes:
        """Return where the kernel says the file is, or was."""
        name = f"/proc/self/fd/{self.fd}".encode()
        return os.readlink(name)  # noqa: PTH115  (bytes, which a Path would decode)

    def close(self) -> None:
        """Let go of the file; once."""
        os.close(self.fd)


class Images:
    """Opens images, and knows which mounts lie behind a server that may not answer."""

    def __init__(self) -> None:
        self._remote: dict[int, bool] = {}
        # If our own root hangs, so does everything; that of another process is none of ours.
        self._root = Path("/").stat().st_dev

    def open(self, process: ProcDir) -> Image:
        """Hold the image of a process.

        Raises:
            PermissionError: no right to it.
            OSError: the process has ended, or runs no file.
        """
        fd = process.open_image()
        try:
            facts = facts_of(fd)
        except OSError:
            os.close(fd)
            raise
        return Image(fd=fd, facts=facts, is_remote=self._is_remote(facts.mount_id, process))

    def open_beneath(self, process: ProcDir, path: bytes) -> Image:
        """Hold a regular file by the path that the process knows it by.

        Args:
            process: whose root and mounts count.
            path: absolute.

        Raises:
            PermissionError: no right to it.
            OSError: it is not there, is no regular file, or lies behind a server.
        """

        def local(fd: int) -> int:
            return self._local(fd, process)

        root = process.open_root()
        try:
            local(root)
            # Step by step: a link, another's mounts or one that is a moment old may lie on the way.
            fd = WalkResolver(local).open(root, path, os.O_PATH | os.O_CLOEXEC)
        finally:
            os.close(root)
        try:
            facts = facts_of(fd)
        except OSError:
            os.close(fd)
            raise
        if not stat.S_ISREG(facts.mode):
            os.close(fd)
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return Image(fd=fd, facts=facts, is_remote=self._is_remote(facts.mount_id, process))

    def forget_mounts(self) -> None:
        """Read the mounts anew from now on: the kernel gives their numbers to others."""
        self._remote.clear()

    def _local(self, fd: int, process: ProcDir) -> int:
        """Return the mode of what lies on a local mount, without asking who may not answer."""
        facts = facts_of(fd)
        if self._is_remote(facts.mount_id, process):
            raise OSError(errno.EREMOTE, os.strerror(errno.EREMOTE))
        return facts.mode

    def _is_remote(self, mount_id: int, process: ProcDir) -> bool:
        if mount_id not in self._remote:
            if not self._learn(process):
                return False  # it ended: what could be read a moment ago can be read again
            if len(self._remote) > MOUNTS_MAX:
                self._remote.clear()
            self._remote.setdefault(mount_id, False)
        return self._remote[mount_id]

    def _learn(self, process: ProcDir) -> bool:
        try:
            mounts = parse_mounts(process.read_all("mountinfo", MOUNTINFO_BYTES_MAX))
        except OSError:
            return False
        self._remote.update(
            (mount.id, mount.is_served and mount.dev != self._root) for mount in mounts
        )
        return True


def key_of(facts: FileFacts) -> ImageKey:
    """Return what changes whenever the content may have."""
    return (facts.dev, facts.inode, facts.size, facts.modified, facts.changed)
