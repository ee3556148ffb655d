"""Whether the kernel that runs us is the one whose host is looked at.

A tree of files may be a copy, or the host's seen from a container; what only a kernel can tell is
then not asked of ours, nor with numbers that mean something else to it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from agent.hostroot import HostFileError, HostRoot
from agent.sense.sensors.namespaces import sees_host_network, sees_host_processes
from agent.sense.sensors.procdir import Proc


def is_kernel_of(host: HostRoot) -> bool:
    """Tell whether the host's /proc is that of the kernel that runs us."""
    with _proc(host) as proc:
        return proc is not None and proc.is_genuine


def counts_with(host: HostRoot) -> bool:
    """Tell whether process numbers mean the same to us and to the host."""
    with _proc(host) as proc:
        if proc is None or not proc.is_genuine or not sees_host_processes(host, proc):
            return False
        try:
            # Seen from a namespace of our own, the host's /proc knows us by another number.
            return host.readlink("/proc/self") == str(os.getpid())
        except HostFileError:
            return False


def is_network_of(host: HostRoot) -> bool:
    """Tell whether our network is the host's."""
    with _proc(host) as proc:
        return proc is not None and proc.is_genuine and sees_host_network(host)


@contextmanager
def _proc(host: HostRoot) -> Iterator[Proc | None]:
    try:
        proc = Proc(host)
    except HostFileError:
        yield None
        return
    try:
        yield proc
    finally:
        proc.close()
