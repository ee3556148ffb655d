"""Processes that live and that the list of processes does not show.

Whoever hides a process filters the list in /proc. The scheduler is asked for every possible number
instead, and the control groups for theirs; what either knows and the list does not, before and
after, is told. Threads have numbers of their own and are no processes.

Misses: what is hidden from the scheduler and the control groups, too.
Source: proc(5); sched_getscheduler(2), which asks for no right; cgroups(7).
"""

import ctypes
import os
import re
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from agent.hostroot import HostFileError, HostRoot
from agent.sense.sensors.namespaces import may_look_into_others
from agent.sense.sensors.procdir import Proc
from agent.sense.tables.live import counts_with
from agent.sense.tables.table import Looking, Row, Table, as_text, number

PIDS_MAX: Final = 1 << 22  # no kernel has more
GROUPS_MAX: Final = 8192

_CGROUPS: Final = "/sys/fs/cgroup"
_PROCS_BYTES_MAX: Final = 4 << 20
_TGID: Final = re.compile(rb"^Tgid:\t(\d{1,10})$", re.MULTILINE)
_NAME: Final = re.compile(rb"^Name:\t([^\n]{0,256})$", re.MULTILINE)


class Views(Protocol):
    """The ways in which a process can be known."""

    def listed(self) -> set[int]:
        """Return the processes of the list, now."""
        ...

    def is_alive(self, number: int) -> bool:
        """Tell whether a process or a thread has this number."""
        ...

    def grouped(self) -> Iterable[int]:
        """Return the processes of every control group."""
        ...

    def threads(self, listed: set[int]) -> set[int]:
        """Return the threads of processes that are in the list."""
        ...


def rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a process that is not in the list."""
    if not counts_with(looking.host):
        looking.missed("hidden: the process numbers here are not the host's")
        return
    if os.geteuid() != 0 and not may_look_into_others(looking.host):
        looking.missed("hidden: the list may leave out others' processes without root")
        return
    proc = Proc(looking.host)
    try:
        last = min(number(looking.text("/proc/sys/kernel/pid_max") or "") or PIDS_MAX, PIDS_MAX)
        yield from described(looking, hidden_pids(_HostViews(looking.host, proc), last))
    finally:
        proc.close()


def described(looking: Looking, found: Iterable[tuple[int, list[str]]]) -> Iterator[Row]:
    """Yield what can still be read of processes; threads that came late are none."""
    for pid, known_to in found:
        if (row := _row(looking, pid)) is not None:
            yield row | {"known_to": known_to}


def hidden_pids(views: Views, last: int) -> list[tuple[int, list[str]]]:
    """Return the numbers that are in use and not in the list, and who knows them.

    Args:
        views: the ways to look.
        last: the highest number there can be.
    """
    before = views.listed()
    by_scheduler = {pid for pid in range(1, last + 1) if pid not in before and views.is_alive(pid)}
    by_group = set(views.grouped()) - before
    # What came meanwhile is in the list by now, and what went answers no more.
    after = views.listed() | before
    odd = (by_scheduler | by_group) - after - views.threads(after)
    signs = (("scheduler", by_scheduler), ("cgroup", by_group))
    return [
        (pid, [name for name, pids in signs if pid in pids])
        for pid in sorted(odd)
        if views.is_alive(pid)
    ]


class _HostViews:
    """Those of the kernel that runs us."""

    def __init__(self, host: HostRoot, proc: Proc) -> None:
        self._host = host
        self._proc = proc
        self._ask = ctypes.CDLL(None).sched_getscheduler

    def listed(self) -> set[int]:
        return set(self._proc.pids())

    def is_alive(self, number: int) -> bool:
        return bool(self._ask(number) >= 0)

    def threads(self, listed: set[int]) -> set[int]:
        found: set[int] = set()
        for pid in listed:
            try:
                names = [entry.name for entry in self._host.scandir(f"/proc/{pid}/task")]
            except HostFileError:
                continue  # it has ended
            found.update(int(name) for name in names if name.isascii() and name.isdecimal())
        return found

    def grouped(self) -> Iterator[int]:
        stack = [_CGROUPS]
        for _ in range(GROUPS_MAX):
            if not stack:
                return
            folder = stack.pop()
            try:
                stack += [f"{folder}/{e.name}" for e in self._host.scandir(folder) if e.is_dir()]
                data = self._host.read_bytes(f"{folder}/cgroup.procs", _PROCS_BYTES_MAX)
            except HostFileError:
                continue  # gone meanwhile, or no group itself
            yield from parse_procs(data)


def parse_procs(data: bytes) -> Iterator[int]:
    """Yield the processes of a control group; 0 stands for one of another namespace."""
    for line in data.split():
        pid = number(line, 9)
        if pid:
            yield pid


def _row(looking: Looking, pid: int) -> Row | None:
    """Return what can still be read of it; None for a thread that came after its siblings."""
    try:
        status = looking.host.read_bytes(f"/proc/{pid}/status", 8192)
    except HostFileError:
        return {"pid": pid, "name": None, "exe": None}
    tgid, name = parse_status(status)
    if tgid is not None and tgid != pid:
        return None
    try:
        exe: str | None = as_text(looking.host.readlink(f"/proc/{pid}/exe"))
    except HostFileError:
        exe = None
    return {"pid": pid, "name": name, "exe": exe}


def parse_status(data: bytes) -> tuple[int | None, str | None]:
    """Return the process that a thread belongs to, and its name."""
    tgid, name = _TGID.search(data), _NAME.search(data)
    return int(tgid[1]) if tgid else None, as_text(name[1]) if name else None


TABLE: Final = Table(
    text="processes that live and are not in the list of processes",
    columns={
        "pid": "process number",
        "name": "name it has given itself; null where not even that can be read",
        "exe": "path of the executable; null where it cannot be read",
        "known_to": "who knows it all the same: scheduler, cgroup",
    },
    rows=rows,
    is_live=True,
)
