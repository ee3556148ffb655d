"""A tree of files is not taken for the host of the kernel that runs us."""

from pathlib import Path

from agent.hostroot import HostRoot
from agent.sense.tables.live import is_kernel_of, is_network_of
from tests.agent.sense.sensors.hosts import a_golden_host


def test_a_copy_of_a_host_is_not_ours(tmp_path: Path) -> None:
    host = HostRoot(a_golden_host("debian12", tmp_path))

    assert not is_kernel_of(host)
    assert not is_network_of(host)


def test_a_tree_without_proc_is_not_ours(tmp_path: Path) -> None:
    host = HostRoot(tmp_path)

    assert not is_kernel_of(host)
    assert not is_network_of(host)


def test_this_host_is_ours_or_we_are_in_a_namespace_of_our_own() -> None:
    in_first = str(Path("/proc/self/ns/pid").readlink()) == "pid:[4026531836]"

    assert is_kernel_of(HostRoot("/")) == in_first
