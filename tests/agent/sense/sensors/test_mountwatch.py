"""A mount wakes us once, and is told once."""

import subprocess
import sys
from pathlib import Path

import pytest

from agent.hostroot import HostFileError, HostRoot
from agent.sense.sensors.mountwatch import MountWatch

IN_A_NAMESPACE = """
import select, subprocess
from agent.hostroot import HostRoot
from agent.sense.sensors.mountwatch import MountWatch

def wakes():
    poll = select.poll()
    poll.register(watch.fileno(), select.POLLIN)
    return bool(poll.poll(0))

watch = MountWatch(HostRoot())
print(wakes(), watch.changed())
subprocess.run(["mount", "-t", "tmpfs", "none", FOLDER], check=True)
print(wakes(), watch.changed(), FOLDER.encode() in watch.read())
print(wakes(), watch.changed())
subprocess.run(["umount", FOLDER], check=True)
print(wakes(), watch.changed(), FOLDER.encode() in watch.read())
"""


@pytest.mark.root
def test_a_mount_and_its_end_wake_us_once_and_are_told_once(tmp_path: Path) -> None:
    script = f"FOLDER = {str(tmp_path)!r}\n{IN_A_NAMESPACE}"

    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )

    if done.returncode and ("unshare" in done.stderr or "mount" in done.stderr):
        pytest.skip(f"needs the right to mount: {done.stderr.strip()[-200:]}")
    assert done.stdout.splitlines() == [
        "False False",
        "True True True",
        "False False",
        "True True False",
    ]


def test_the_table_is_what_is_mounted_now_and_closing_twice_is_harmless() -> None:
    watch = MountWatch(HostRoot())

    assert b" / " in watch.read()
    watch.close()
    watch.close()
    assert watch.fileno() == -1


def test_a_host_without_a_mount_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostFileError):
        MountWatch(HostRoot(tmp_path))
