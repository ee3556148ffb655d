import subprocess
import sys
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors.namespaces import (
    has_host_numbers,
    may_look_into_others,
    sees_host_network,
    sees_host_processes,
)
from agent.sense.sensors.procdir import Proc
from tests.agent.sense.sensors.hosts import a_golden_host, a_process_dir, a_stat

ASK = (
    "from agent.hostroot import HostRoot\n"
    "from agent.sense.sensors.namespaces import *\n"
    "from agent.sense.sensors.procdir import Proc\n"
    "host = HostRoot()\n"
    "print(sees_host_processes(host, Proc(host)), sees_host_network(host))\n"
    "print(has_host_numbers(host))\n"
)


def answers(*wrapper: str) -> list[str]:
    done = subprocess.run(
        [*wrapper, sys.executable, "-c", ASK], capture_output=True, text=True, check=False
    )
    if "unshare" in done.stderr:
        pytest.skip(f"needs the right to make namespaces: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_kernel_threads_vouch_for_the_table_of_the_host(tmp_path: Path) -> None:
    host = HostRoot(a_golden_host("debian12", tmp_path))

    assert sees_host_processes(host, Proc(host))
    assert sees_host_network(host)


def test_a_process_cannot_pretend_to_be_the_kernels(tmp_path: Path) -> None:
    a_process_dir(tmp_path, 2, stat=a_stat(2, "kthreadd", ppid=0))
    host = HostRoot(tmp_path)

    assert not sees_host_processes(host, Proc(host))


def test_a_table_without_kernel_threads_and_without_us_is_not_the_hosts(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    host = HostRoot(tmp_path)

    assert not sees_host_processes(host, Proc(host))


@pytest.mark.root
def test_a_private_pid_namespace_is_noticed() -> None:
    assert answers("unshare", "--pid", "--fork", "--mount-proc")[0] == "False"


@pytest.mark.root
def test_a_private_network_is_noticed() -> None:
    assert answers("unshare", "--net")[1] == "False"
    assert answers()[1] == "True"


def test_rights_over_others_come_with_one_capability(tmp_path: Path) -> None:
    here = a_process_dir(tmp_path, 7)
    (tmp_path / "proc" / "self").symlink_to("7")

    def verdict(capabilities: str, users: str) -> bool:
        (here / "status").write_text(f"Name:\tx\nCapEff:\t{capabilities}\n")
        (here / "uid_map").write_text(users)
        return may_look_into_others(HostRoot(tmp_path))

    assert verdict("0000000000080000", "         0          0 4294967295\n")
    assert not verdict("0000000000000000", "         0          0 4294967295\n")
    assert not verdict("000001ffffffffff", "         0     100000      65536\n")
    assert not verdict("nonsense", "")


def test_without_a_status_no_right_is_claimed(tmp_path: Path) -> None:
    assert not may_look_into_others(HostRoot(tmp_path))


@pytest.mark.root
def test_the_hosts_table_in_a_namespace_of_our_own_counts_otherwise_than_events() -> None:
    if answers()[::2] != ["True", "True"]:
        pytest.skip("process numbers are not the host's own here")

    assert answers("unshare", "--pid", "--fork")[::2] == ["True", "False"]


def test_a_table_that_does_not_know_us_counts_otherwise(tmp_path: Path) -> None:
    a_process_dir(tmp_path, 2, stat=a_stat(2, "kthreadd", ppid=0))

    assert not has_host_numbers(HostRoot(tmp_path))
