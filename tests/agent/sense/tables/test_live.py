"""A tree of files is not taken for the host of the kernel that runs us."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.tables.live import counts_with, is_kernel_of, is_network_of
from tests.agent.sense.sensors.hosts import a_golden_host


def test_a_copy_of_a_host_is_not_ours(tmp_path: Path) -> None:
    host = HostRoot(a_golden_host("debian12", tmp_path))

    assert not is_kernel_of(host)
    assert not counts_with(host)
    assert not is_network_of(host)


def test_a_tree_without_proc_is_not_ours(tmp_path: Path) -> None:
    host = HostRoot(tmp_path)

    assert not is_kernel_of(host)
    assert not counts_with(host)
    assert not is_network_of(host)


def test_this_host_is_ours_or_we_are_in_a_namespace_of_our_own() -> None:
    in_first = str(Path("/proc/self/ns/pid").readlink()) == "pid:[4026531836]"

    assert is_kernel_of(HostRoot("/"))
    assert counts_with(HostRoot("/")) == in_first


@pytest.mark.root
def test_the_hosts_numbers_are_not_those_of_a_namespace_of_our_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IN_A_NAMESPACE_OF_ITS_OWN],
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    if done.returncode == 77:
        pytest.skip("a namespace of its own needs root")

    assert (done.returncode, done.stdout.split()) == (0, ["True", "False"]), done.stderr


# The child of a process that has left the namespace of numbers; /proc stays the host's.
_IN_A_NAMESPACE_OF_ITS_OWN = """
import ctypes, os, sys
from agent.hostroot import HostRoot
from agent.sense.tables.live import counts_with, is_kernel_of

if ctypes.CDLL(None, use_errno=True).unshare(0x20000000):
    sys.exit(77)
child = os.fork()
if not child:
    print(is_kernel_of(HostRoot("/")), counts_with(HostRoot("/")), flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""
