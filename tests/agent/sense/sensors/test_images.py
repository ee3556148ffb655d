import os
import stat
import subprocess
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors.images import Images, key_of
from agent.sense.sensors.procdir import Proc
from agent.syscalls import facts_of


def test_the_image_of_this_process_is_its_interpreter() -> None:
    images = Images()
    with Proc(HostRoot()).process(os.getpid()) as entry:
        image = images.open(entry)

    found = Path("/proc/self/exe").stat()
    assert (image.facts.dev, image.facts.inode) == (found.st_dev, found.st_ino)
    assert stat.S_ISREG(image.facts.mode)
    assert not image.is_deleted
    assert not image.is_remote
    image.close()


def test_an_image_outlives_its_process_and_its_name(tmp_path: Path) -> None:
    copy = tmp_path / "sleeper"
    copy.write_bytes(Path("/bin/sleep").read_bytes())
    copy.chmod(0o755)
    child = subprocess.Popen([copy, "30"])
    with Proc(HostRoot()).process(child.pid) as entry:
        image = Images().open(entry)

    child.kill()
    child.wait()
    copy.unlink()

    assert image.path() == os.fsencode(copy) + b" (deleted)"
    assert facts_of(image.fd).links == 0
    assert image.key != key_of(facts_of(image.fd))  # its ctime moved with the unlink
    image.close()


def test_a_process_that_ended_has_no_image() -> None:
    child = subprocess.Popen(["/bin/sleep", "30"])
    with Proc(HostRoot()).process(child.pid) as entry:
        child.kill()
        child.wait()

        with pytest.raises(OSError, match="No such"):
            Images().open(entry)


def test_mounts_can_be_forgotten_and_are_read_again() -> None:
    images = Images()
    with Proc(HostRoot()).process(os.getpid()) as entry:
        images.open(entry).close()
        images.forget_mounts()
        image = images.open(entry)

    assert not image.is_remote
    image.close()
