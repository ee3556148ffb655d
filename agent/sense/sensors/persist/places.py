"""Which mounts may be walked and which must not be touched, from /proc/1/mountinfo.

Reading below a mount whose server does not answer can block for ever, and nothing that can block
belongs on the one thread that senses. Source: proc_pid_mountinfo(5).
"""

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from agent.hostroot import HostFileError, HostRoot
from agent.sense.sensors.mounts import MOUNTINFO_BYTES_MAX, remote_mounts

MOUNTINFO: Final = ("/proc/1/mountinfo", "/proc/self/mountinfo")
MOUNTS_MAX: Final = 4096

_WITH_FILES: Final = frozenset(
    b"ext2 ext3 ext4 xfs btrfs f2fs zfs bcachefs jfs reiserfs nilfs2 tmpfs ramfs rootfs overlay "
    b"erofs squashfs".split()
)
_ESCAPE: Final = re.compile(rb"\\([0-7]{3})")


class Places(Struct, frozen=True):
    """Mount points: those of remote file systems, all of them, and where a walk may begin.

    ``parents`` are the directories in which mount points lie; the root is the empty path.
    """

    remote: tuple[str, ...] = ()
    points: frozenset[str] = frozenset()
    parents: frozenset[str] = frozenset()
    starts: tuple[str, ...] = ("/",)


def read_places(host: HostRoot) -> Places:
    """Return the places of the host; its root alone where it does not tell its mounts."""
    for path in MOUNTINFO:
        try:
            return parse_places(host.read_bytes(path, MOUNTINFO_BYTES_MAX))
        except HostFileError:
            continue
    return Places()


def parse_places(mountinfo: bytes) -> Places:
    """Return the places in untrusted bytes; lines that are none are passed over.

    A walk begins once at each part of a local file system on which set-user-id bits count.
    """
    remote = remote_mounts(mountinfo)
    points: dict[str, None] = {}
    far: dict[str, None] = {}
    parts: list[tuple[bytes, str, str]] = []
    for line in mountinfo.split(b"\n")[:MOUNTS_MAX]:
        before, _, after = line.partition(b" - ")
        fields = before.split(b" ")
        if len(fields) < 6 or not fields[0].isdigit() or int(fields[0][:18]) not in remote:
            continue
        point = _path(fields[4])
        points[point] = None
        if remote[int(fields[0][:18])]:
            far[point] = None
            continue
        kind, device, root = after.split(b" ", 1)[0], fields[2], fields[3]
        if kind in _WITH_FILES and b"nosuid" not in fields[5].split(b","):
            parts.append((device, _path(root), point))
    return Places(
        remote=tuple(far),
        points=frozenset(points),
        parents=frozenset(point.rpartition("/")[0] for point in points),
        starts=tuple(_widest(parts)) or ("/",),
    )


def below(path: str, tops: Iterable[str]) -> bool:
    """Tell whether a path is one of these or lies below one."""
    return any(path == top or path.startswith(f"{top.rstrip('/')}/") for top in tops)


def _widest(parts: list[tuple[bytes, str, str]]) -> list[str]:
    """Return where to begin: one file system may be mounted in parts, some of them twice."""
    taken: dict[bytes, list[str]] = {}
    starts = []
    for device, root, point in sorted(parts, key=lambda part: len(part[1])):
        seen = taken.setdefault(device, [])
        if not below(root, seen):
            seen.append(root)
            starts.append(point)
    return sorted(starts)


def _path(raw: bytes) -> str:
    text = _ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), raw)
    return text.decode("utf-8", "surrogateescape")
