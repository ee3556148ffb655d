import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors.images import Images, key_of
from agent.sense.sensors.procdir import Proc
from agent.syscalls import facts_of
from tests.agent.sense.sensors.hosts import a_process_dir


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


def test_a_file_is_held_by_the_path_its_process_knows_it_by(tmp_path: Path) -> None:
    (tmp_path / "script").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "link").symlink_to(tmp_path / "script")
    with Proc(HostRoot()).process(os.getpid()) as entry:
        image = Images().open_beneath(entry, os.fsencode(tmp_path / "link"))

    assert image.facts.inode == (tmp_path / "script").stat().st_ino
    assert image.path() == os.fsencode(tmp_path / "script")
    image.close()


@pytest.mark.parametrize("name", ["gone", "fifo", "."])
def test_what_is_no_file_is_not_held(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    proc = Proc(HostRoot())
    before = len(list(Path("/proc/self/fd").iterdir()))
    with proc.process(os.getpid()) as entry, pytest.raises(OSError, match=r"No such|Invalid"):
        Images().open_beneath(entry, os.fsencode(tmp_path / name))

    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    proc.close()


def test_nothing_behind_a_server_is_walked_to(tmp_path: Path) -> None:
    table = b"9 1 0:77 / /srv/data rw - nfs4 server:/ rw\n"
    a_process_dir(tmp_path, 7, mountinfo=table)

    with (
        Proc(HostRoot(tmp_path)).process(7) as entry,
        pytest.raises(OSError, match=os.strerror(errno.EREMOTE)),
    ):
        Images().open_beneath(entry, b"/srv/data/x.py")
