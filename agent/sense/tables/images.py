"""Processes whose program is not, or no longer, a file that anyone could look at.

An upgrade leaves such processes behind, too: a deleted image alone is no proof of anything.

Source: proc_pid_exe(5); memfd_create(2).
"""

from collections.abc import Iterator
from typing import Final

from msgspec import UNSET

from agent.sense.sensors import processes
from agent.sense.tables.table import Looking, Row, Table, collected
from proto.model import User

_DELETED: Final = " (deleted)"
_MEMFD: Final = "/memfd:"


def rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a process whose image is deleted or was only ever in memory."""
    closed = 0
    for process in processes.snapshot(looking.host, looking.clock):
        closed += process.exe is UNSET
        kind = kind_of(process.exe)
        if kind is None:
            continue
        user = process.user if isinstance(process.user, User) else User()
        yield collected(
            {
                "pid": process.pid,
                "name": process.name,
                "exe": process.exe,
                "kind": kind,
                "uid": user.uid,
                "user": user.name,
                "unit": process.unit,
                "container": process.container,
                "argv": list(process.argv),
            }
        )
    if closed:
        looking.missed(f"executables: those of {closed} processes may not be looked at")


def kind_of(exe: object) -> str | None:
    """Return memfd or deleted for the link of such an image, None for every other."""
    if not isinstance(exe, str):
        return None
    if exe.startswith(_MEMFD):
        return "memfd"
    return "deleted" if exe.endswith(_DELETED) else None


TABLE: Final = Table(
    text="processes that run a deleted file or one that was only ever in memory",
    columns={
        "pid": "process number",
        "name": "name the process has given itself",
        "exe": "path the program had",
        "kind": "deleted, or memfd for a file in memory",
        "uid": "real user",
        "user": "name of that user in the host's own accounts",
        "unit": "systemd unit; null for none",
        "container": "container id or name; null for none",
        "argv": "arguments",
    },
    rows=rows,
    shown=("pid", "name", "kind", "exe", "user", "unit"),
)
