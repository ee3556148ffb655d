"""A mark for every file system of the host, so that each file that is executed is told of.

One mark a superblock, however often it is mounted; an overlay has its own. Interfaces of the kernel
hold no programs. File systems behind a server are left out: a file of theirs could not be read
without waiting. Each time the mounts change all of them are gone through again, because a number
may have passed from one file system to the next; marking twice is marking once.

Misses: file systems mounted in other mount namespaces only, and what the kernel refuses; executions
there are told, and their image is read from /proc.
"""

import os
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from agent.hostroot import HostFileError, HostRoot
from agent.hosttext import host_text
from agent.sense.sensors import fanotify
from agent.sense.sensors.fanotify import FanotifyRefused, Group, Refusal, Scope
from agent.sense.sensors.mounts import Mount, parse_mounts
from agent.syscalls import facts_of

OVERLAY: Final = b"overlay"
SUPERBLOCKS_MAX: Final = 4096
NAMED_MAX: Final = 3
REMOTE: Final = "behind a server"
HIDDEN: Final = "something else is mounted over it"
BEYOND: Final = "beyond the limit of marks"

_PATH_CHARS_MAX: Final = 64


class Mark(Struct, frozen=True):
    """A superblock: where it is mounted, its type, and why it has no mark (empty when it has)."""

    path: bytes
    kind: bytes
    refused: str = ""
    mount_id: int = 0


class ExecMarks:
    """Keeps the marks of a group in line with the mounts.

    Args:
        group: of descriptor mode; whoever made it closes it.
        host: resolves the mount points.
    """

    def __init__(self, group: Group, host: HostRoot) -> None:
        self._group = group
        self._host = host
        self._marks: dict[int, Mark] = {}
        self._beyond = 0

    @property
    def by_device(self) -> Mapping[int, Mark]:
        """Every superblock that could hold programs, by its device number."""
        return self._marks

    def renew(self, mountinfo: bytes) -> None:
        """Mark what is mounted now.

        Args:
            mountinfo: the mount table of the host.
        """
        mounts = [mount for mount in parse_mounts(mountinfo) if not mount.is_pseudo]
        remote = [mount.path.rstrip(b"/") + b"/" for mount in mounts if mount.is_remote]
        marks: dict[int, Mark] = {}
        beyond = set()
        for mount in mounts:
            known = marks.get(mount.dev)
            if known is not None and not known.refused:
                continue
            if known is None and len(marks) >= SUPERBLOCKS_MAX:
                beyond.add(mount.dev)
                continue
            # A walk through such a directory can wait for its server.
            is_behind = any((mount.path + b"/").startswith(path) for path in remote)
            refused = REMOTE if mount.is_remote or is_behind else self._refusal(mount)
            mark = Mark(mount.path, mount.kind, refused, mount.id)
            if refused == Refusal.PRIVILEGE.value:
                # The right is gone, and the marks from when it was there are not.
                before = self._marks.get(mount.dev)
                mark = before if before == Mark(mount.path, mount.kind, "", mount.id) else mark
            marks[mount.dev] = mark
        self._marks = marks
        self._beyond = len(beyond)

    def is_overlay(self, device: int) -> bool:
        """Tell whether a device number is that of an overlay that is mounted now."""
        mark = self._marks.get(device)
        return mark is not None and mark.kind == OVERLAY

    def missing(self, *, by_nature: bool) -> list[str]:
        """Return what is not watched, the first few by name.

        Args:
            by_nature: because of where it lies, or because it was refused.
        """
        left = [
            mark
            for mark in self._marks.values()
            if mark.refused and (mark.refused in {REMOTE, HIDDEN}) is by_nature
        ]
        named = [
            f"{host_text(mark.path, _PATH_CHARS_MAX)} ({host_text(mark.kind, 32)}): {mark.refused}"
            for mark in left[:NAMED_MAX]
        ]
        if len(left) > NAMED_MAX:
            named.append(f"{len(left) - NAMED_MAX} more")
        if self._beyond and not by_nature:
            named.append(f"{self._beyond} file systems {BEYOND}")
        return named

    def _refusal(self, mount: Mount) -> str:
        """Mark one; return why it could not be, or nothing."""
        try:
            fd = self._host.open(mount.path, os.O_PATH)
        except HostFileError as error:
            return error.message.rpartition(": ")[2]
        try:
            facts = facts_of(fd)
            if mount.id != facts.mount_id and mount.dev != facts.dev:
                return HIDDEN
            self._group.mark(fd, fanotify.OPEN_EXEC, Scope.FILESYSTEM)
        except FanotifyRefused as error:
            return error.refusal.value
        except OSError as error:
            return os.strerror(error.errno or 0).lower()
        finally:
            os.close(fd)
        return ""
