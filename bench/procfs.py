"""What the kernel says of a process: memory, processor time, wakeups. Needs rights over it."""

import os
from pathlib import Path

from msgspec import Struct

_KIB_PER_MIB = 1024
_HZ = os.sysconf("SC_CLK_TCK")


class Memory(Struct, frozen=True):
    """Memory of one process in MiB; ``pss`` counts a shared page in parts."""

    rss: float
    pss: float
    anonymous: float


class Work(Struct, frozen=True):
    """What a process has done since it began."""

    cpu_seconds: float
    wakeups: int


def memory(pid: int | None = None) -> Memory:
    """Return the memory of a process, or of this one.

    Raises:
        OSError: it has gone, or its owner hides it.
    """
    fields: dict[str, int] = {}
    for line in (_of(pid) / "smaps_rollup").read_text("ascii").splitlines()[1:]:
        name, _, rest = line.partition(":")
        fields[name] = int(rest.split()[0])
    return Memory(
        rss=fields["Rss"] / _KIB_PER_MIB,
        pss=fields["Pss"] / _KIB_PER_MIB,
        anonymous=fields["Anonymous"] / _KIB_PER_MIB,
    )


def work(pid: int | None = None) -> Work:
    """Return processor time and voluntary waits of all threads of a process.

    Raises:
        OSError: it has gone.
    """
    stat = (_of(pid) / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
    wakeups = 0
    for task in (_of(pid) / "task").iterdir():
        for line in (task / "status").read_text("utf-8", "replace").splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                wakeups += int(line.split()[1])
    return Work((int(stat[11]) + int(stat[12])) / _HZ, wakeups)


def children(pid: int) -> dict[int, tuple[str, ...]]:
    """Return the direct children of a process with their argument vectors."""
    found = {}
    for task in (_of(pid) / "task").iterdir():
        for child in (task / "children").read_text("ascii").split():
            raw = (_of(int(child)) / "cmdline").read_bytes()
            found[int(child)] = tuple(part.decode("utf-8", "replace") for part in raw.split(b"\0"))
    return found


def _of(pid: int | None) -> Path:
    return Path("/proc") / ("self" if pid is None else str(pid))
