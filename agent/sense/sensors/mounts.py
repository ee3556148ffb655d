"""Which mounts lie behind a server that may not answer, from the bytes of /proc/PID/mountinfo.

Reading a file there can block for ever, and nothing that can block belongs on the one thread that
senses. Source: proc_pid_mountinfo(5).
"""

from typing import Final

MOUNTINFO_BYTES_MAX: Final = 1 << 20

_REMOTE: Final = frozenset(
    b"nfs nfs4 cifs smb3 smbfs ceph afs 9p lustre gfs gfs2 ocfs2 orangefs coda ncpfs autofs".split()
)
_ID_DIGITS_MAX: Final = 18


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
        found[mount_id] = kind in _REMOTE or kind.startswith(b"fuse")
        devices[mount_id] = fields[2]
        if fields[4] == b"/":
            root_device = fields[2]
    return {mount: remote and devices[mount] != root_device for mount, remote in found.items()}
