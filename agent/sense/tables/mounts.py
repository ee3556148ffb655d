"""Mounts, as process 1 sees them: our own view may be a private one.

Source: proc_pid_mountinfo(5).
"""

import re
from collections.abc import Iterator
from typing import Final

from agent.sense.sensors.mounts import remote_mounts
from agent.sense.tables.table import PATH_CHARS_MAX, Looking, Row, Table, as_text

MOUNTINFO_BYTES_MAX: Final = 8 << 20
MOUNTS_MAX: Final = 20_000

_ESCAPE: Final = re.compile(rb"\\([0-3][0-7]{2})")


def rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a mount, in the order they were made."""
    data = looking.maybe("/proc/1/mountinfo", MOUNTINFO_BYTES_MAX)
    if data is None:
        data = looking.need("/proc/self/mountinfo", MOUNTINFO_BYTES_MAX)
    if data is not None:
        yield from parse_mounts(data)


def parse_mounts(data: bytes) -> Iterator[Row]:
    """Yield the mounts of a mountinfo; lines that are none are passed over."""
    remote = remote_mounts(data)
    for line in data.split(b"\n")[:MOUNTS_MAX]:
        before, separated, after = line.partition(b" - ")
        fields, tail = before.split(b" "), after.split(b" ")
        if not separated or len(fields) < 6 or len(tail) < 3:
            continue
        if not fields[0].isdigit() or len(fields[0]) > 18:
            continue
        options = [*fields[5].split(b","), *tail[2].split(b",")]
        yield {
            "path": _path(fields[4]),
            "source": _path(tail[1]),
            "type": as_text(tail[0]),
            "options": [as_text(option) for option in dict.fromkeys(options) if option],
            "root": _path(fields[3]),
            "device": as_text(fields[2]),
            "propagation": [as_text(field) for field in fields[6:]],
            "is_remote": remote.get(int(fields[0]), False),
        }


def _path(raw: bytes) -> str:
    plain = _ESCAPE.sub(lambda found: bytes([int(found[1], 8)]), raw)
    return as_text(plain, PATH_CHARS_MAX)


TABLE: Final = Table(
    text="mounted file systems and their options",
    columns={
        "path": "where it is mounted",
        "source": "device, share or name it was mounted from",
        "type": "kind of file system",
        "options": "options of the mount and of the file system",
        "root": "directory within the file system that is shown",
        "device": "major and minor number",
        "propagation": "shared, master and the like; empty for private",
        "is_remote": "whether another program or host serves it",
    },
    rows=rows,
    shown=("path", "source", "type", "options"),
)
