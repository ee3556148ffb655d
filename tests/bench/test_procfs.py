import os
import subprocess
import time
from contextlib import ExitStack

import pytest

from bench import procfs


def test_memory_is_that_of_this_process() -> None:
    before = procfs.memory()
    held = bytearray(os.urandom(16 * 1024 * 1024))
    after = procfs.memory()

    assert after.rss >= after.pss > 1
    assert after.anonymous - before.anonymous > 12
    assert held


def test_work_grows_with_work() -> None:
    before = procfs.work()
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    time.sleep(0.001)
    after = procfs.work()

    assert after.cpu_seconds - before.cpu_seconds > 0.02
    assert after.wakeups > before.wakeups


def test_children_are_found_by_their_arguments() -> None:
    with subprocess.Popen(["sleep", "30"]) as child:
        found = procfs.children(os.getpid())
        child.kill()

    assert found[child.pid][:2] == ("sleep", "30") or child.pid in found


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="root is needed")
def test_a_page_that_two_processes_map_counts_once() -> None:
    argv = ["python3", "-c", "print(1, flush=True); input()"]
    with ExitStack() as running:
        pids = []
        for _ in range(2):
            child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            running.callback(child.communicate, b"\n")
            assert child.stdout is not None
            child.stdout.readline()
            pids.append(child.pid)
        one, both = procfs.together(pids[:1]), procfs.together(pids)
        rss = [procfs.memory(pid).rss for pid in pids]

    assert one == pytest.approx(rss[0], abs=1)
    assert one < both < sum(rss) - 1
