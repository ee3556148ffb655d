"""dpkg is at work while it holds its lock or has updates that it has not written."""

import fcntl
import subprocess
import sys
from pathlib import Path

from agent.hostroot import HostRoot
from agent.sense.sensors.dpkgwork import LOCK_PATH, UPDATES_PATH, is_at_work
from tests.agent.sense.sensors.persist.looking import put

HOLD = (
    "import fcntl,sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(); input()"
)


def test_a_host_without_dpkg_or_with_one_at_rest_is_not_at_work(tmp_path: Path) -> None:
    bare = is_at_work(HostRoot(tmp_path))
    put(tmp_path, LOCK_PATH)
    put(tmp_path, f"{UPDATES_PATH}/tmp.i")

    assert not bare
    assert not is_at_work(HostRoot(tmp_path))


def test_updates_that_are_not_written_are_work(tmp_path: Path) -> None:
    put(tmp_path, f"{UPDATES_PATH}/0001")

    assert is_at_work(HostRoot(tmp_path))


def test_a_lock_that_another_process_holds_is_work_and_is_not_taken(tmp_path: Path) -> None:
    lock = put(tmp_path, LOCK_PATH)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    held = is_at_work(HostRoot(tmp_path))
    holder.communicate(b"\n")

    assert held
    assert not is_at_work(HostRoot(tmp_path))
    with lock.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
