"""Whether what we see is the host's or only a container's.

A process number means something in its namespace alone. Kernel threads live in the first one and
nowhere else, and no process can pretend to be one: where ``kthreadd`` is seen, the numbers are the
host's.
"""

import os
import re
from typing import Final

from agent.hostroot import HostFileError, HostRoot
from agent.sense.sensors.procdir import Proc
from agent.sense.sensors.procfs import STAT_BYTES_MAX, STATUS_BYTES_MAX, ProcError, parse_stat

_CAP_SYS_PTRACE: Final = 19
_CAPABILITIES: Final = re.compile(rb"^CapEff:\t([0-9a-f]{1,16})$", re.MULTILINE)
_NUMBERS: Final = re.compile(rb"^NSpid:((?:\t\d{1,10}){1,32})$", re.MULTILINE)
_UID_MAP_BYTES_MAX: Final = 4096
_KTHREADD: Final = 2
_INIT: Final = 1
_FIRST_PID_NAMESPACE: Final = "pid:[4026531836]"  # PROC_PID_INIT_INO, fixed in every kernel


def sees_host_processes(host: HostRoot, proc: Proc) -> bool:
    """Tell whether the process numbers of this /proc are the host's own."""
    try:
        with proc.process(_KTHREADD) as process:
            if parse_stat(process.read("stat", STAT_BYTES_MAX)).is_kernel_thread:
                return True
    except (OSError, ProcError):
        pass  # hidden from us, or not there
    try:
        # We are in the first namespace, and this /proc knows us by our number there.
        ours = host.readlink("/proc/self/ns/pid") == _FIRST_PID_NAMESPACE
        return ours and host.readlink("/proc/self") == str(os.getpid())
    except HostFileError:
        return False


def has_host_numbers(host: HostRoot) -> bool:
    """Tell whether the kernel counts for us as this /proc does.

    In a process number namespace of our own, events name processes by other numbers than a host's
    /proc does, wherever that is mounted.
    """
    try:
        status = host.read_bytes("/proc/self/status", STATUS_BYTES_MAX)
    except HostFileError:
        return False
    found = _NUMBERS.search(status)
    return found is not None and found[1].split() == [b"%d" % os.getpid()]


def sees_host_network(host: HostRoot) -> bool:
    """Tell whether our own network is that of process 1.

    Each network has its own tree of these files, and so its own inodes; the links that name it
    outright take a right over process 1.
    """
    try:
        init = host.stat(f"/proc/{_INIT}/net/dev").st_ino
        return host.stat("/proc/self/net/dev").st_ino == init
    except HostFileError:
        return True


def may_look_into_others(host: HostRoot) -> bool:
    """Tell whether the executables of processes of other users can be read.

    That takes CAP_SYS_PTRACE over them, so not one that counts in a user namespace of ours only.
    """
    try:
        mask = _CAPABILITIES.search(host.read_bytes("/proc/self/status", STATUS_BYTES_MAX))
        users = host.read_bytes("/proc/self/uid_map", _UID_MAP_BYTES_MAX).split()
    except HostFileError:
        return False
    whole = users == [b"0", b"0", b"4294967295"]
    return whole and mask is not None and bool(int(mask[1], 16) >> _CAP_SYS_PTRACE & 1)
