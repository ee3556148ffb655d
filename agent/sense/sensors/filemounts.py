"""What kind of mount a directory lies on, from the bytes of /proc/PID/mountinfo.

An overlay has no handles of its own: what is changed in it is changed in its upper directory, which
lies on a file system that has. What a server or a program answers for changes without a word to
this kernel.

Source: proc_pid_mountinfo(5), the kernel's filesystems/overlayfs.rst.
"""

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from agent.sense.sensors.mounts import remote_mounts

OPTIONS_MAX: Final = 4096

_ESCAPE: Final = re.compile(rb"\\([0-7]{3})")
_OVERLAY: Final = b"overlay"
_UPPER: Final = b"upperdir="


class FileMount(Struct, frozen=True):
    """One mount: its kind, where it is seen, and the upper directory of an overlay or nothing."""

    kind: bytes
    point: bytes
    upper: bytes
    is_remote: bool


def mount_of(mountinfo: bytes, mount_id: int) -> FileMount | None:
    """Return the mount of this number; None where no line tells of it."""
    begin = b"%d " % mount_id
    for line in mountinfo.split(b"\n"):
        if line.startswith(begin):
            return _mount(line, is_remote=remote_mounts(mountinfo).get(mount_id, False))
    return None


def _mount(line: bytes, *, is_remote: bool) -> FileMount | None:
    before, separated, after = line.partition(b" - ")
    fields, rest = before.split(b" ", 6), after.split(b" ")
    if not separated or len(fields) < 6 or len(rest) < 3:
        return None
    upper = _upper(rest[2]) if rest[0] == _OVERLAY else b""
    return FileMount(rest[0], _plain(fields[4]), upper, is_remote)


def _upper(options: bytes) -> bytes:
    """Return the upper directory; an overlay that is read only has none, nor a relative one."""
    for option in options.split(b",", OPTIONS_MAX):
        if option.startswith(_UPPER):
            path = _plain(option.removeprefix(_UPPER))
            return path if path.startswith(b"/") else b""
    return b""


def _plain(text: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: bytes([int(found[1], 8) & 0xFF]), text)


def mount_points(mountinfo: bytes) -> list[bytes]:
    """Return where something is mounted."""
    return [point for point, _ in mounts_at(mountinfo)]


def mounts_at(mountinfo: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield where something is mounted, and what tells that mount from another one there."""
    for line in mountinfo.split(b"\n"):
        fields = line.split(b" ", 5)
        if len(fields) == 6:
            yield _plain(fields[4]), b" ".join(fields[:5])
