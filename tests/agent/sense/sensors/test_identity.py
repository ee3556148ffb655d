import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import UNSET

from agent.hostroot import HostFileMissing, HostRoot
from agent.hosttext import CUT
from agent.sense.sensors import identity
from agent.sense.sensors.identity import Birth, Hint, ProcessReader
from agent.sense.sensors.procfs import NS_PER_TICK
from proto.model import Process, User
from runtime.clock import SystemClock
from tests.agent.sense.sensors.hosts import a_golden_host, a_process_dir, a_stat
from tests.fakes.clock import FakeClock


@pytest.fixture
def debian(tmp_path: Path) -> Iterator[ProcessReader]:
    with HostRoot(a_golden_host("debian12", tmp_path)) as host:
        reader = ProcessReader(host, FakeClock(), argv_bytes_max=4096)
        yield reader
        reader.close()


def the(reader: ProcessReader, pid: int) -> Process:
    sight = reader.read(pid)
    assert sight is not None
    return sight.process


def test_a_service_is_read_whole(debian: ProcessReader) -> None:
    assert the(debian, 812) == Process(
        boot_id=bytes.fromhex("0f1e2d3c4b5a69788796a5b4c3d2e1f0"),
        pid=812,
        start=900 * NS_PER_TICK,
        ppid=1,
        name="sshd",
        exe="/usr/sbin/sshd",
        cwd="/",
        argv=("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups",),
        user=User(uid=0, name="root"),
        effective_user=User(uid=0, name="root"),
        session=812,
        tty=None,
        container=None,
        unit="ssh.service",
    )


def test_a_login_shell_has_terminal_session_and_user(debian: ProcessReader) -> None:
    shell = the(debian, 900)

    assert (shell.tty, shell.session, shell.unit) == ("pts/0", 900, "session-3.scope")
    assert shell.user == User(uid=1000, name="alice")


def test_real_and_effective_user_are_told_apart(debian: ProcessReader) -> None:
    sudo = the(debian, 901)

    assert sudo.user == User(uid=1000, name="alice")
    assert sudo.effective_user == User(uid=0, name="root")


def test_hostile_names_and_arguments_are_facts(debian: ProcessReader) -> None:
    odd = the(debian, 902)

    assert odd.name == "a) S 1 1 1\n(b"
    assert odd.argv == ("/tmp/\\xff\\xfe", "--x=\n")
    assert odd.ppid == 900


def test_a_name_that_ends_like_a_deleted_file_is_not_taken_at_its_word(
    debian: ProcessReader,
) -> None:
    odd = the(debian, 902)

    assert odd.exe == "/tmp/odd\nname (deleted)"
    assert odd.caveats == (identity.DELETED_OR_SO_NAMED,)


def test_a_container_and_a_user_it_brought_are_named_as_far_as_known(
    debian: ProcessReader,
) -> None:
    nginx = the(debian, 1200)

    assert nginx.container == "4f" * 32
    assert nginx.user == User(uid=101, name=UNSET)


def test_a_kernel_thread_has_no_executable_and_that_is_known(debian: ProcessReader) -> None:
    thread = the(debian, 2)

    assert thread.exe is None
    assert thread.caveats == (identity.KERNEL_THREAD,)


def test_what_a_zombie_lost_was_not_collected(debian: ProcessReader) -> None:
    zombie = the(debian, 1300)

    assert (zombie.exe, zombie.cwd, zombie.argv) == (UNSET, UNSET, ())
    assert zombie.caveats == (identity.GONE,)
    assert zombie.name == "zombie"


def test_a_process_that_cannot_be_read_at_all_is_none(debian: ProcessReader) -> None:
    assert debian.read(1400) is None
    assert debian.read(99999) is None
    assert debian.stat(99999) is None


def test_files_that_are_missing_leave_their_values_uncollected(tmp_path: Path) -> None:
    a_process_dir(tmp_path, 7)

    process = the(ProcessReader(HostRoot(tmp_path), FakeClock(), argv_bytes_max=4096), 7)

    assert process.user is UNSET
    assert (process.container, process.unit, process.exe) == (UNSET, UNSET, UNSET)


def test_damaged_files_leave_their_values_uncollected(tmp_path: Path) -> None:
    a_process_dir(tmp_path, 7, status="nonsense", cgroup="nonsense")

    process = the(ProcessReader(HostRoot(tmp_path), FakeClock(), argv_bytes_max=4096), 7)

    assert (process.user, process.container) == (UNSET, UNSET)


def test_one_who_started_after_the_event_only_inherited_the_number(tmp_path: Path) -> None:
    a_process_dir(tmp_path, 7, stat=a_stat(7, start=500))
    reader = ProcessReader(HostRoot(tmp_path), FakeClock(), argv_bytes_max=4096)

    assert reader.read(7, hint=Hint(before=400 * NS_PER_TICK)) is None
    assert reader.read(7, hint=Hint(before=500 * NS_PER_TICK)) is not None


def test_what_ended_while_it_was_read_keeps_what_the_fork_told(tmp_path: Path) -> None:
    (a_process_dir(tmp_path, 7, cmdline="sh\0-c\0id\0") / "stat").unlink()
    reader = ProcessReader(HostRoot(tmp_path), FakeClock(), argv_bytes_max=4096)

    sight = reader.read(7, hint=Hint(Birth(ppid=3, start=42)))

    assert sight is not None
    assert (sight.process.ppid, sight.process.start) == (3, 42)
    assert sight.process.argv == ("sh", "-c", "id")
    assert sight.process.caveats == (identity.GONE,)


@pytest.mark.parametrize("ppid", [0, 1])
def test_one_that_is_vanishing_keeps_the_parent_of_its_birth(tmp_path: Path, ppid: int) -> None:
    stat = a_stat(7, ppid=ppid).replace(" S ", " X " if ppid == 0 else " Z ")
    a_process_dir(tmp_path, 7, stat=stat)
    reader = ProcessReader(HostRoot(tmp_path), FakeClock(), argv_bytes_max=4096)

    sight = reader.read(7, hint=Hint(Birth(ppid=3, start=42)))

    assert sight is not None
    assert sight.process.ppid == 3


def test_what_ended_before_it_was_read_is_still_said(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    reader = ProcessReader(HostRoot(tmp_path), FakeClock(), argv_bytes_max=4096)

    born = reader.unread(7, Birth(ppid=3, start=42), 99)
    unborn = reader.unread(7, None, 99)

    assert (born.ppid, born.start, born.caveats) == (3, 42, (identity.GONE,))
    assert (unborn.ppid, unborn.start) == (UNSET, 99)
    assert unborn.caveats == (identity.GONE, identity.START_UNKNOWN)


def test_numbers_of_another_namespace_are_marked(debian: ProcessReader) -> None:
    debian.is_foreign = True

    assert the(debian, 812).caveats == (identity.FOREIGN,)


def test_a_host_without_proc_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HostFileMissing):
        ProcessReader(HostRoot(tmp_path), FakeClock(), argv_bytes_max=4096)


def test_a_copied_proc_lends_no_image(debian: ProcessReader) -> None:
    sight = debian.read(812, with_image=True)

    assert sight is not None
    assert sight.image is None


def test_this_process_is_who_it_is() -> None:
    reader = ProcessReader(HostRoot(), SystemClock(), argv_bytes_max=32_768)

    sight = reader.read(os.getpid(), with_image=True)

    assert sight is not None
    process = sight.process
    assert (process.pid, process.ppid) == (os.getpid(), os.getppid())
    assert process.exe == str(Path(sys.executable).resolve())
    assert process.cwd == str(Path.cwd())
    assert isinstance(process.user, User)
    assert process.user.uid == os.getuid()
    assert sight.image is not None
    assert sight.image.path().decode() == process.exe
    sight.image.close()
    reader.close()


def test_a_megabyte_of_arguments_is_read_up_to_the_limit() -> None:
    child = subprocess.Popen(["/bin/sleep", "30", *["0" * 100_000] * 10])
    reader = ProcessReader(HostRoot(), SystemClock(), argv_bytes_max=32_768)

    sight = None
    while sight is None or not sight.process.argv:  # the exec lays them out after it has begun
        sight = reader.read(child.pid)
        assert child.poll() is None

    child.kill()
    child.wait()
    assert sight.process.argv[:2] == ("/bin/sleep", "30")
    assert sight.process.argv[-1] == CUT
    assert sum(map(len, sight.process.argv)) > 32_000


def test_an_image_deleted_under_its_process_is_named_and_said(tmp_path: Path) -> None:
    copy = tmp_path / "sleeper"
    copy.write_bytes(Path("/bin/sleep").read_bytes())
    copy.chmod(0o755)
    child = subprocess.Popen([copy, "30"])
    copy.unlink()
    reader = ProcessReader(HostRoot(), SystemClock(), argv_bytes_max=4096)

    sight = reader.read(child.pid, with_image=True)
    unheld = reader.read(child.pid)

    child.kill()
    child.wait()
    assert sight is not None
    assert sight.image is not None
    sight.image.close()
    assert (sight.process.exe, sight.process.caveats) == (str(copy), (identity.DELETED,))
    assert unheld is not None
    assert unheld.process.caveats == (identity.DELETED_OR_SO_NAMED,)


def test_a_program_that_never_was_a_file_is_said(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "fd = os.memfd_create('quiet')\n"
        "os.write(fd, open('/bin/sleep', 'rb').read())\n"
        "print(flush=True)\n"
        "os.execve(fd, ['sleep', '30'], {})\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    reader = ProcessReader(HostRoot(), SystemClock(), argv_bytes_max=4096)

    seen = None
    for _ in range(200):
        sight = reader.read(child.pid, with_image=True)
        assert sight is not None
        assert sight.image is not None
        sight.image.close()
        seen = sight.process
        if seen.exe != os.path.realpath(sys.executable) and seen.argv[:1] == ("sleep",):
            break

    child.kill()
    child.communicate()
    assert seen is not None
    assert (seen.exe, seen.caveats) == ("/memfd:quiet", (identity.MEMFD,))


def test_reading_leaves_no_descriptor_open() -> None:
    reader = ProcessReader(HostRoot(), SystemClock(), argv_bytes_max=4096)
    reader.read(os.getpid())
    # Other tests' rubbish must not be collected while this one counts.
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))

    for pid in (*reader.proc.pids(), 1 << 22):
        sight = reader.read(pid, with_image=True, hint=Hint(before=0))
        assert sight is None
    for pid in reader.proc.pids():
        if (sight := reader.read(pid, with_image=True)) and sight.image:
            sight.image.close()

    assert len(list(Path("/proc/self/fd").iterdir())) <= before
