"""Which mounts may be walked and which must not be touched, from /proc/1/mountinfo.

Reading below a mount whose server does not answer can block for ever, and nothing that can block
belongs on the one thread that senses. Source: proc_pid_mountinfo(5).
"""

import re
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
    """Mount points: those of remote file systems, all of them, and where a walk may begin."""

    remote: tuple[str, ...] = ()
    points: frozenset[str] = frozenset()
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

    A walk begins at each local file system once, where set-user-id bits count. File systems of
    containers are left out: their layers come and go with images.
    """
    remote = remote_mounts(mountinfo)
    points: dict[str, None] = {}
    far: dict[str, None] = {}
    starts: dict[bytes, tuple[bytes, str]] = {}
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
        is_container = kind == b"overlay" and point != "/"
        if kind not in _WITH_FILES or b"nosuid" in fields[5].split(b",") or is_container:
            continue
        # One file system may be mounted in parts at many places: the widest part is enough.
        if device not in starts or len(root) < len(starts[device][0]):
            starts[device] = (root, point)
    return Places(
        remote=tuple(far),
        points=frozenset(points),
        starts=tuple(sorted(point for _, point in starts.values())) or ("/",),
    )


def _path(raw: bytes) -> str:
    text = _ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), raw)
    return text.decode("utf-8", "surrogateescape")
