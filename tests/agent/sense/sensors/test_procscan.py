from pathlib import Path

from agent.hostroot import HostRoot
from agent.sense.sensors.family import Family
from agent.sense.sensors.identity import ProcessReader
from agent.sense.sensors.procscan import ProcessScan
from tests.agent.sense.sensors.hosts import a_process_dir, a_stat
from tests.fakes.clock import FakeClock

LATER = 1 << 40


class AHost:
    """A small /proc that changes between passes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc").mkdir()
        self.family = Family(64)
        reader = ProcessReader(HostRoot(root), FakeClock(), argv_bytes_max=4096)
        self.scan = ProcessScan(reader, self.family)

    def runs(self, pid: int, exe: str, *, start: int = 100, ppid: int = 0, argv: str = "x") -> None:
        here = a_process_dir(
            self.root,
            pid,
            stat=a_stat(pid, Path(exe).name, ppid=ppid, start=start),
            cmdline=f"{argv}\0",
        )
        (here / "exe").unlink(missing_ok=True)
        (here / "exe").symlink_to(exe)

    def ends(self, pid: int) -> None:
        for path in (self.root / "proc" / str(pid)).iterdir():
            path.unlink()
        (self.root / "proc" / str(pid)).rmdir()

    def found(self, *, trust_events: bool = False, processes_max: int = 64) -> list[int]:
        pids = []
        self.scan.begin(processes_max, LATER)
        while self.scan.is_running:
            sight = self.scan.step(trust_events=trust_events)
            if sight is not None:
                self.family.remember(sight.process)
                pids.append(sight.process.pid)
        return pids


def test_the_first_pass_finds_everyone(tmp_path: Path) -> None:
    host = AHost(tmp_path)
    host.runs(7, "/bin/sh")
    host.runs(8, "/bin/sh", ppid=7)

    assert host.found() == [7, 8]
    assert host.found() == []


def test_a_new_process_is_found(tmp_path: Path) -> None:
    host = AHost(tmp_path)
    host.found()

    host.runs(9, "/bin/id")

    assert host.found(trust_events=True) == [9]


def test_a_number_with_a_new_owner_is_a_new_process(tmp_path: Path) -> None:
    host = AHost(tmp_path)
    host.runs(9, "/bin/id")
    host.found()

    host.runs(9, "/bin/id", start=200)

    assert host.found(trust_events=True) == [9]


def test_another_image_in_the_same_process_is_found(tmp_path: Path) -> None:
    host = AHost(tmp_path)
    host.runs(9, "/bin/sh")
    host.found()

    host.runs(9, "/bin/id")

    assert host.found(trust_events=True) == [9]


def test_without_events_an_image_of_the_same_name_is_found_too(tmp_path: Path) -> None:
    host = AHost(tmp_path)
    host.runs(9, "/bin/id")
    host.found()

    host.runs(9, "/tmp/id")

    assert host.found(trust_events=True) == []
    assert host.found(trust_events=False) == [9]


def test_who_only_renamed_itself_is_no_news(tmp_path: Path) -> None:
    host = AHost(tmp_path)
    host.runs(9, "/bin/sh")
    host.found()

    (tmp_path / "proc" / "9" / "stat").write_text(a_stat(9, "renamed"))

    assert host.found(trust_events=True) == []
    known = host.family.get(9)
    assert known is not None
    assert known.name == "renamed"


def test_who_only_forked_is_no_news(tmp_path: Path) -> None:
    host = AHost(tmp_path)
    host.runs(7, "/bin/sh", argv="server")
    host.found()

    host.runs(8, "/bin/sh", ppid=7, start=150, argv="server")
    host.runs(9, "/bin/sh", ppid=7, start=150, argv="other")

    assert host.found() == [9]
    assert host.family.get(8) is not None


def test_the_dead_are_forgotten(tmp_path: Path) -> None:
    host = AHost(tmp_path)
    host.runs(9, "/bin/id")
    host.found()
    host.ends(9)

    host.found()
    host.found()

    assert host.family.get(9) is None


def test_a_host_with_too_many_processes_is_looked_at_in_part(tmp_path: Path) -> None:
    host = AHost(tmp_path)
    for pid in range(1, 11):
        host.runs(pid, "/bin/id")

    assert host.found(processes_max=4) == [1, 2, 3, 4]
    assert host.scan.omitted == 6


def test_a_process_that_ends_meanwhile_is_passed_over(tmp_path: Path) -> None:
    host = AHost(tmp_path)
    host.runs(7, "/bin/sh")
    host.runs(8, "/bin/sh")

    host.scan.begin(64, LATER)
    host.ends(7)
    seen = [host.scan.step(trust_events=False) for _ in range(3)]

    assert [sight.process.pid for sight in seen if sight] == [8]
    assert not host.scan.is_running
