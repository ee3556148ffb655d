"""Whether the kernel that runs us is the one whose host is looked at.

A tree of files may be a copy, or the host's seen from a container; what only a kernel can tell is
then not asked of ours.
"""

from agent.hostroot import HostFileError, HostRoot
from agent.sense.sensors.namespaces import sees_host_network, sees_host_processes
from agent.sense.sensors.procdir import Proc


def is_kernel_of(host: HostRoot) -> bool:
    """Tell whether process numbers mean the same to us and to the host."""
    try:
        proc = Proc(host)
    except HostFileError:
        return False
    try:
        return proc.is_genuine and sees_host_processes(host, proc)
    finally:
        proc.close()


def is_network_of(host: HostRoot) -> bool:
    """Tell whether our network is the host's."""
    try:
        proc = Proc(host)
    except HostFileError:
        return False
    try:
        return proc.is_genuine and sees_host_network(host)
    finally:
        proc.close()
