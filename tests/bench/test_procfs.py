import os
import subprocess
import time

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
