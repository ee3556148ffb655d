"""What is mounted, and what lies behind a server that may not answer: /proc/PID/mountinfo.

Reading a file there can block for ever, and nothing that can block belongs on the one thread that
senses. Source: proc_pid_mountinfo(5).
"""

import os
import re
from typing import Final

from msgspec import Struct

MOUNTINFO_BYTES_MAX: Final = 1 << 20

_REMOTE: Final = frozenset(
    b"nfs nfs4 cifs smb3 smbfs ceph afs 9p lustre gfs gfs2 ocfs2 orangefs coda ncpfs autofs".split()
)
# Kernel interfaces: nothing can be executed from them.
_PSEUDO: Final = frozenset(
    b"proc sysfs devpts cgroup cgroup2 bpf debugfs tracefs securityfs pstore efivarfs mqueue"
    b" hugetlbfs configfs fusectl autofs binfmt_misc rpc_pipefs nsfs selinuxfs smackfs nfsd"
    b" resctrl".split()
)
_ID_DIGITS_MAX: Final = 18
_DEVICE: Final = re.compile(rb"(\d{1,7}):(\d{1,7})")
_ESCAPED: Final = re.compile(rb"\\([0-3][0-7]{2})")


class Mount(Struct, frozen=True):
    """One line: ``path`` as the reader's root sees it, ``kind`` the type of the file system."""

    id: int
    dev: int
    path: bytes
    kind: bytes
    is_remote: bool

    @property
    def is_pseudo(self) -> bool:
        """Whether it is an interface of the kernel and holds no files of anybody."""
        return self.kind in _PSEUDO

    @property
    def is_served(self) -> bool:
        """Whether a server or a program answers for it, be it the root of the reader or not."""
        return _is_served(self.kind)


def _is_served(kind: bytes) -> bool:
    return kind in _REMOTE or kind.startswith(b"fuse")


def parse_mounts(mountinfo: bytes) -> list[Mount]:
    """Return what is mounted, in the order of mounting; lines that are none are passed over."""
    remote = remote_mounts(mountinfo)
    found = []
    for line in mountinfo.split(b"\n"):
        before, separated, after = line.partition(b" - ")
        fields = before.split(b" ", 5)
        device = _DEVICE.fullmatch(fields[2]) if separated and len(fields) >= 5 else None
        if device is None or not fields[0].isdigit() or len(fields[0]) > _ID_DIGITS_MAX:
            continue
        number = int(fields[0])
        found.append(
            Mount(
                id=number,
                dev=os.makedev(int(device[1]), int(device[2])),
                path=_ESCAPED.sub(lambda code: bytes([int(code[1], 8)]), fields[4]),
                kind=after.split(b" ", 1)[0],
                is_remote=remote.get(number, False),
            )
        )
    return found


def remote_mounts(mountinfo: bytes) -> dict[int, bool]:
    """Return for each mount id whether it is remote; lines that are none are passed over.

    FUSE counts as remote: any program may serve it. What lies on the device of the root directory
    does not: if that hangs, so does everything.
    """
    found: dict[int, bool] = {}
    devices: dict[int, bytes] = {}
    root_device = b""
    for line in mountinfo.split(b"\n"):
        before, separated, after = line.partition(b" - ")
        fields = before.split(b" ", 5)
        if not separated or len(fields) < 5 or len(fields[0]) > _ID_DIGITS_MAX:
            continue
        if not fields[0].isdigit():
            continue
        kind = after.split(b" ", 1)[0]
        mount_id = int(fields[0])
        found[mount_id] = _is_served(kind)
        devices[mount_id] = fields[2]
        if fields[4] == b"/":
            root_device = fields[2]
    return {mount: remote and devices[mount] != root_device for mount, remote in found.items()}
