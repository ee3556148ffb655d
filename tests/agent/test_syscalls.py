import errno
import os
from pathlib import Path

import pytest
from msgspec import structs

from agent.syscalls import facts_here, facts_of, is_procfs, openat2_in_root


def test_facts_of_a_file_are_those_of_stat(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"four")
    fd = os.open(path, os.O_PATH)

    facts = facts_of(fd)
    path.unlink()
    gone = facts_of(fd)

    stat = os.fstat(fd)
    os.close(fd)
    assert (facts.dev, facts.inode, facts.size) == (stat.st_dev, stat.st_ino, 4)
    assert (facts.mode, facts.modified) == (stat.st_mode, stat.st_mtime_ns)
    assert gone.changed == stat.st_ctime_ns
    assert (facts.links, gone.links) == (1, 0)


def test_both_ways_to_the_facts_agree_but_for_the_mount(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"four")
    fd = os.open(path, os.O_RDONLY)

    thorough, quick = facts_of(fd), facts_here(fd)

    os.close(fd)
    assert quick == structs.replace(thorough, mount_id=0)
    assert quick.uid == os.geteuid()


def test_the_mount_of_a_file_is_the_one_its_descriptor_names(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)

    facts = facts_of(fd)

    fields = dict(
        line.split(":\t") for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    )
    os.close(fd)
    assert facts.mount_id == int(fields["mnt_id"])


def test_only_the_kernels_proc_is_proc(tmp_path: Path) -> None:
    for path, genuine in ((Path("/proc"), True), (Path("/proc/self"), True), (tmp_path, False)):
        fd = os.open(path, os.O_PATH)
        assert is_procfs(fd) is genuine
        os.close(fd)


def test_a_magic_link_is_not_followed(tmp_path: Path) -> None:
    fd = os.open("/", os.O_PATH)

    with pytest.raises(OSError, match=r".") as caught:
        os.close(openat2_in_root(fd, b"/proc/self/exe", os.O_RDONLY | os.O_CLOEXEC))

    os.close(fd)
    if caught.value.errno in {errno.ENOSYS, errno.EPERM}:
        pytest.skip("this kernel has no openat2, or a filter denies it")
    assert caught.value.errno in {errno.EXDEV, errno.ELOOP}


def test_a_closed_descriptor_is_an_error_and_not_a_value() -> None:
    fd = os.open("/", os.O_PATH)
    os.close(fd)

    for call in (facts_of, is_procfs):
        with pytest.raises(OSError, match="Bad file descriptor"):
            call(fd)
