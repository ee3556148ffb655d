import contextlib
import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
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
    (tmp_path / "link").symlink_to(tmp_path / "served")

    with a_process_that_serves(tmp_path / "served") as pid, Proc(HostRoot()).process(pid) as entry:
        images = Images()
        with Proc(HostRoot()).process(os.getpid()) as other:
            images.open(other).close()  # whose mounts are others
        for path in ("served/x.py", "link/x.py", "served/../served/x.py"):
            with pytest.raises(OSError, match=os.strerror(errno.EREMOTE)):
                images.open_beneath(entry, os.fsencode(tmp_path / path))


@contextlib.contextmanager
def a_process_that_serves(where: Path) -> Iterator[int]:
    """Yield a process with a file system of its own, which never answers while it lives."""
    where.mkdir()
    program = [sys.executable, "-c", _SERVER, str(where)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        told = child.stdout.readline().decode()
        # Whoever asks it gets an error after so long, and not never.
        ender = threading.Timer(10, child.kill)
        ender.start()
        try:
            if told != "serving\n":
                pytest.skip(f"no FUSE here: {told.strip()}")
            yield child.pid
        finally:
            ender.cancel()
            child.kill()


_SERVER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, MS_PRIVATE, MS_REC = 0x20000, 1 << 18, 1 << 14
try:
    fuse = os.open("/dev/fuse", os.O_RDWR)
except OSError as error:
    sys.exit(print(error))
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
for step in (
    lambda: libc.unshare(CLONE_NEWNS),
    lambda: libc.mount(b"none", b"/", None, MS_PRIVATE | MS_REC, None),
    lambda: libc.mount(b"stuck", os.fsencode(sys.argv[1]), b"fuse", 0, options),
):
    if step():
        sys.exit(print(os.strerror(ctypes.get_errno())))
print("serving", flush=True)
sys.stdin.read()
"""
