"""What the kernel says of a process: memory, processor time, wakeups. Needs rights over it.

Source: proc_pid_smaps_rollup(5), proc_pid_pagemap(5).
"""

import os
import struct
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

_KIB_PER_MIB = 1024
_MIB = 1024 * 1024
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# One word a page: its bits say whether it is in memory, and whether it belongs to a file.
_PAGEMAP = struct.Struct("=Q")
_PRESENT, _OF_FILE = 1 << 63, 1 << 61
_KERNEL_PAGES = (1 << 47) // _PAGE_BYTES
_HZ = os.sysconf("SC_CLK_TCK")


class Memory(Struct, frozen=True):
    """Memory of one process in MiB; ``pss`` counts a shared page in parts."""

    rss: float
    pss: float
    anonymous: float


class Work(Struct, frozen=True):
    """What a process has done since it began; a wakeup ends a wait that it chose to begin."""

    cpu_seconds: float
    wakeups: int
    # Of its first thread alone.
    main_wakeups: int


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


def together(pids: Iterable[int]) -> float:
    """Return what processes occupy in MiB where nobody else maps the same files.

    Each page of a file counts once, however many of them map it; each of their own pages once. This
    is what their shares (PSS) add up to on a host without other programs of the same libraries.

    Raises:
        OSError: one has gone, or its owner hides it.
    """
    own = 0
    shared: set[tuple[str, str, int]] = set()
    for pid in pids:
        with (_of(pid) / "pagemap").open("rb", buffering=0) as pages:
            for line in (_of(pid) / "maps").read_text("utf-8", "replace").splitlines():
                span, _, offset, device, inode, *_ = line.split()
                first, end = (int(part, 16) // _PAGE_BYTES for part in span.split("-"))
                if first >= _KERNEL_PAGES:
                    continue
                pages.seek(first * _PAGEMAP.size)
                at = int(offset, 16) // _PAGE_BYTES
                for (entry,) in _PAGEMAP.iter_unpack(pages.read((end - first) * _PAGEMAP.size)):
                    if entry & _PRESENT and entry & _OF_FILE and inode != "0":
                        shared.add((device, inode, at))
                    elif entry & _PRESENT:
                        own += 1
                    at += 1
    return (own + len(shared)) * _PAGE_BYTES / _MIB


def work(pid: int | None = None) -> Work:
    """Return processor time and voluntary waits of all threads of a process.

    Raises:
        OSError: it has gone.
    """
    stat = (_of(pid) / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
    wakeups = {task.name: _waits(task) for task in (_of(pid) / "task").iterdir()}
    first = str(os.getpid() if pid is None else pid)
    return Work((int(stat[11]) + int(stat[12])) / _HZ, sum(wakeups.values()), wakeups[first])


def _waits(task: Path) -> int:
    for line in (task / "status").read_text("utf-8", "replace").splitlines():
        if line.startswith("voluntary_ctxt_switches:"):
            return int(line.split()[1])
    return 0


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
