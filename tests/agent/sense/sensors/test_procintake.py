from pathlib import Path

from agent.hostroot import HostRoot
from agent.sense.sensors import procintake
from agent.sense.sensors.family import Family
from agent.sense.sensors.hashqueue import HashQueue, Seen
from agent.sense.sensors.identity import GONE, ProcessReader, Sight
from agent.sense.sensors.imagehash import ImageHashes
from agent.sense.sensors.losses import Losses
from agent.sense.sensors.overlays import Overlays
from agent.sense.sensors.procevents import Ack, Event, Exec, Exit, Fork, Lost
from agent.sense.sensors.procfs import NS_PER_TICK
from agent.sense.sensors.procintake import INHERITED, UNHASHED, Means, ProcessIntake
from proto.model import DropReason, ObservationKind, Precision, Process
from tests.agent.sense.sensors.hosts import a_process_dir, a_stat
from tests.fakes.clock import FakeClock


class AnIntake:
    """An intake over a small /proc, with a clock whose boot and monotonic time differ."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc").mkdir()
        self.clock = FakeClock()
        self.family = Family(64)
        self.losses = Losses("processes", self.clock)
        hashes = ImageHashes(self.clock, size_bytes_max=1, entries_max=16)
        reader = ProcessReader(HostRoot(root), self.clock, argv_bytes_max=4096)
        self.queue = HashQueue(hashes, 8, self.clock, reader.runs)
        self.intake = ProcessIntake(Means(reader, self.family, self.queue, self.losses, Overlays()))

    def take(self, *events: Event) -> list[Seen]:
        self.intake.take(events, self.clock)
        told = []
        while seen := self.queue.ready():
            told.append(seen)
        return told


def test_an_exec_is_read_at_once_and_timed_by_the_kernel(tmp_path: Path) -> None:
    host = AnIntake(tmp_path)
    a_process_dir(tmp_path, 7, stat=a_stat(7, "id"), cmdline="id\0")
    happened = host.clock.monotonic - 5_000_000

    [seen] = host.take(Exec(pid=7, at=happened))

    assert (seen.kind, seen.precision) == (ObservationKind.PROCESS_EXEC, Precision.EXACT)
    assert seen.event_time == host.clock.wall - 5_000_000
    assert seen.process.argv == ("id",)


def test_an_exec_that_is_over_is_told_by_its_fork(tmp_path: Path) -> None:
    host = AnIntake(tmp_path)
    a_process_dir(tmp_path, 3, stat=a_stat(3, "sh", ppid=0), cmdline="sh\0")
    at = host.clock.monotonic

    [seen] = host.take(Fork(pid=7, ppid=3, at=at), Exec(pid=7, at=at))

    assert seen.process.caveats == (GONE, UNHASHED, INHERITED)
    assert seen.process.session == 1
    assert seen.process.start == host.clock.boot // NS_PER_TICK * NS_PER_TICK
    assert [parent.argv for parent in seen.ancestry] == [("sh",)]


def test_the_next_owner_of_a_number_is_not_taken_for_the_one_that_ran(tmp_path: Path) -> None:
    host = AnIntake(tmp_path)
    later = host.clock.boot // NS_PER_TICK + 10
    a_process_dir(tmp_path, 7, stat=a_stat(7, "later", start=later), cmdline="later\0")

    [seen] = host.take(Exec(pid=7, at=host.clock.monotonic))

    assert seen.process.argv == ()
    assert GONE in seen.process.caveats


def test_the_end_of_a_known_process_is_told_and_of_others_not(tmp_path: Path) -> None:
    host = AnIntake(tmp_path)
    host.family.remember(Process(boot_id=bytes(16), pid=7, start=1, name="id"))

    [seen] = host.take(Exit(pid=7, at=5), Exit(pid=8, at=6))

    assert seen.kind is ObservationKind.PROCESS_EXIT
    assert seen.process.name == "id"


def test_a_loss_is_noted_where_it_stood(tmp_path: Path) -> None:
    host = AnIntake(tmp_path)

    assert host.intake.take([Ack(error=0, number=0), Lost(at=1)], host.clock)
    assert not host.intake.take([Ack(error=0, number=0)], host.clock)

    assert [drop.reason for drop in host.losses.take()] == [DropReason.SOURCE_GAP]


def test_a_find_of_a_pass_has_the_precision_of_a_poll(tmp_path: Path) -> None:
    host = AnIntake(tmp_path)
    process = Process(boot_id=bytes(16), pid=7, start=1)

    host.intake.find(Sight(process), 99, verify=True)
    seen = host.queue.ready()

    assert seen is not None
    assert (seen.kind, seen.precision) == (ObservationKind.PROCESS_SEEN, Precision.POLL)
    assert seen.event_time == 99


def test_a_flood_is_cut_and_counted(tmp_path: Path) -> None:
    host = AnIntake(tmp_path)
    flood = [Exec(pid=pid, at=1) for pid in range(1, procintake.WAITING_MAX + 11)]

    told = host.take(*flood)

    [drop] = host.losses.take()
    assert len(told) == procintake.WAITING_MAX
    assert (drop.reason, drop.count) == (DropReason.OVERFLOW, 10)
