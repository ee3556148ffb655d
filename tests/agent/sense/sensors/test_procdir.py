import os
import subprocess
from pathlib import Path

import pytest

from agent.hostroot import HostFileMissing, HostRoot
from agent.sense.sensors.procdir import Proc
from tests.agent.sense.sensors.hosts import a_golden_host, a_process_dir


def test_only_numbers_are_processes(tmp_path: Path) -> None:
    for name in ("7", "12", "1", "self", "12x", "sys", "\u0661"):
        (tmp_path / "proc" / name).mkdir(parents=True)

    assert Proc(HostRoot(tmp_path)).pids() == [1, 7, 12]


def test_this_process_is_in_the_table() -> None:
    proc = Proc(HostRoot())

    assert os.getpid() in proc.pids()
    proc.close()
    proc.close()


def test_a_host_without_proc_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HostFileMissing):
        Proc(HostRoot(tmp_path))


def test_a_held_process_is_never_another_one() -> None:
    child = subprocess.Popen(["/bin/sleep", "30"])
    proc = Proc(HostRoot())

    with proc.process(child.pid) as entry:
        alive = entry.read("stat", 4096)
        child.kill()
        child.wait()
        for read in (
            lambda: entry.read("stat", 4096),
            lambda: entry.link(b"exe"),
            entry.descriptor_links,
            entry.open_image,
        ):
            with pytest.raises(OSError, match="No such"):
                read()

    assert alive.startswith(b"%d " % child.pid)


def test_descriptors_lead_where_they_lead(tmp_path: Path) -> None:
    proc = Proc(HostRoot(a_golden_host("debian12", tmp_path)))

    with proc.process(812) as entry:
        links = entry.descriptor_links()

    assert sorted(links) == [b"/dev/null", b"/dev/null"] + [
        b"socket:[%d]" % inode for inode in (19990, 20001, 20002)
    ]


def test_links_of_a_copy_are_text_and_lead_nowhere(tmp_path: Path) -> None:
    here = a_process_dir(tmp_path, 7)
    (here / "exe").symlink_to("/bin/true")
    (here / "status").symlink_to("/etc/passwd")

    with Proc(HostRoot(tmp_path)).process(7) as entry:
        assert entry.link(b"exe") == b"/bin/true"
        with pytest.raises(PermissionError):
            entry.open_image()
        with pytest.raises(OSError, match="symbolic links"):
            entry.read("status", 64)


def test_a_file_written_line_by_line_is_read_to_its_end() -> None:
    with Proc(HostRoot()).process(os.getpid()) as entry:
        data = entry.read_all("mountinfo", 1 << 20)

    assert data == Path("/proc/self/mountinfo").read_bytes()


def test_a_process_tells_which_file_it_runs_and_where_its_root_is() -> None:
    proc = Proc(HostRoot())
    with proc.process(os.getpid()) as entry:
        image, root = entry.image_id(), entry.open_root()

    found, top = Path("/proc/self/exe").stat(), os.fstat(root)
    os.close(root)
    proc.close()
    assert image == (found.st_dev, found.st_ino)
    assert (top.st_dev, top.st_ino) == (Path("/").stat().st_dev, Path("/").stat().st_ino)


def test_the_links_of_a_copied_proc_mean_nothing(tmp_path: Path) -> None:
    a_process_dir(tmp_path, 7)
    with Proc(HostRoot(tmp_path)).process(7) as entry:
        for look in (entry.image_id, entry.open_root):
            with pytest.raises(PermissionError):
                look()
