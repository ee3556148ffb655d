"""An exec and its record find each other, whichever comes first, and nobody else's."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import UNSET

from agent.hostroot import HostRoot
from agent.sense.sensors.accounts import Accounts
from agent.sense.sensors.argvjoin import APART_S_MAX, EARLY_MAX, SILENT_AFTER, WAIT_MS_MAX, ArgvJoin
from agent.sense.sensors.execrecord import ExecRecord
from agent.sense.sensors.hashqueue import Seen
from proto.model import ObservationKind, Precision, Process, User
from runtime.clock import NS_PER_MS, NS_PER_S
from tests.fakes.argv import FakeArgv
from tests.fakes.clock import FakeClock


class AJoin:
    """A join over a host with one account."""

    def __init__(self, root: Path) -> None:
        (root / "etc").mkdir()
        (root / "etc" / "passwd").write_text("ann:x:1000:1000::/:/bin/sh\n")
        self.clock = FakeClock()
        self.source = FakeArgv()
        self.join = ArgvJoin(self.source, Accounts(HostRoot(root), self.clock), self.clock)

    def seen(
        self, pid: int = 7, kind: ObservationKind = ObservationKind.PROCESS_EXEC, after: int = 0
    ) -> Seen:
        process = Process(boot_id=bytes(16), pid=pid, start=1, argv=("as", "in", "proc"))
        return Seen(kind, process, (), self.clock.wall_ns() + after, Precision.EXACT)

    def record(self, *argv: str, pid: int = 7, after: int = 0, success: bool = True) -> ExecRecord:
        return ExecRecord(
            pid=pid,
            ppid=3,
            serial=1,
            wall_ns=self.clock.wall_ns() + after,
            argv=argv,
            success=success,
        )


@pytest.fixture
def host(tmp_path: Path) -> Iterator[AJoin]:
    made = AJoin(tmp_path)
    yield made
    made.source.close()


def test_an_exec_waits_for_its_record_which_counts_more_than_proc(host: AJoin) -> None:
    seen = host.seen()
    host.join.expect(seen)
    waits = seen.waits_until

    host.source.tell(host.record("id", "-u", after=3 * NS_PER_MS))
    has_more = host.join.receive()

    assert waits == host.clock.boot_ns() + WAIT_MS_MAX * NS_PER_MS
    assert has_more
    assert seen.waits_until == 0
    assert seen.process.argv == ("id", "-u")
    assert seen.process.ppid == 3
    assert not host.join.receive()


def test_a_record_waits_for_its_exec(host: AJoin) -> None:
    host.source.tell(host.record("id", after=-NS_PER_MS))
    host.join.receive()
    seen = host.seen()

    host.join.expect(seen)

    assert seen.waits_until == 0
    assert seen.process.argv == ("id",)


def test_a_record_that_found_its_exec_is_in_nobodys_way(host: AJoin) -> None:
    host.source.tell(host.record("id", after=-NS_PER_MS))
    host.join.receive()
    host.join.expect(host.seen())
    host.source.tell(host.record("ls", pid=8, after=-NS_PER_MS))
    host.join.receive()
    seen = host.seen(pid=8)

    host.join.expect(seen)

    assert seen.process.argv == ("ls",)


def test_a_process_that_fails_for_ever_has_no_more_room_than_the_others(host: AJoin) -> None:
    host.source.tell(*(host.record("x", success=False) for _ in range(EARLY_MAX)))
    host.source.tell(*(host.record("y", pid=pid) for pid in range(100, EARLY_MAX + 100)))
    while host.join.receive():
        pass
    failed = host.seen(kind=ObservationKind.PROCESS_EXEC_FAILED)
    other = host.seen(pid=100)

    host.join.expect(failed)
    host.join.expect(other)

    assert failed.process.argv == ("as", "in", "proc")
    assert other.process.argv == ("y",)


def test_of_two_execs_of_one_process_each_gets_its_own(host: AJoin) -> None:
    first, second = host.seen(), host.seen(after=50 * NS_PER_MS)
    host.join.expect(first)
    host.join.expect(second)

    host.source.tell(host.record("two", after=51 * NS_PER_MS), host.record("one", after=1))
    host.join.receive()

    assert (first.process.argv, second.process.argv) == (("one",), ("two",))


def test_another_process_or_another_time_is_not_joined(host: AJoin) -> None:
    seen = host.seen()
    host.join.expect(seen)

    host.source.tell(host.record("x", pid=8), host.record("x", after=(APART_S_MAX + 1) * NS_PER_S))
    host.join.receive()

    assert seen.waits_until
    assert seen.process.argv == ("as", "in", "proc")


def test_a_call_that_failed_is_joined_to_a_failed_exec_alone(host: AJoin) -> None:
    done = host.seen()
    host.join.expect(done)
    host.source.tell(host.record("gone", success=False))
    host.join.receive()
    failed = host.seen(kind=ObservationKind.PROCESS_EXEC_FAILED)

    host.join.expect(failed)

    assert done.process.argv == ("as", "in", "proc")
    assert failed.process.argv == ("gone",)
    assert failed.waits_until == 0


def test_what_was_told_without_its_record_is_forgotten(host: AJoin) -> None:
    seen = host.seen()
    host.join.expect(seen)

    host.join.tell(seen)
    host.source.tell(host.record("late"))
    host.join.receive()

    assert seen.process.argv == ("as", "in", "proc")


def test_users_are_named_and_only_what_is_missing_is_taken(host: AJoin) -> None:
    seen = host.seen()
    seen.process = Process(bytes(16), 7, 1, cwd="/known")
    host.join.expect(seen)
    record = ExecRecord(
        pid=7,
        ppid=None,
        serial=1,
        wall_ns=host.clock.wall_ns(),
        argv=("id",),
        exe="/bin/id",
        cwd="/other",
        uid=1000,
        euid=0,
        auid=1000,
        tty="pts/0",
    )

    host.source.tell(record)
    host.join.receive()

    process = seen.process
    assert (process.exe, process.cwd, process.tty) == ("/bin/id", "/known", "pts/0")
    assert process.user == User(uid=1000, name="ann")
    assert process.effective_user == User(uid=0)
    assert process.login_user == User(uid=1000, name="ann")
    assert process.ppid is UNSET


def test_records_nobody_waits_for_are_forgotten_in_time_and_number(host: AJoin) -> None:
    host.source.tell(*(host.record("x", pid=pid) for pid in range(EARLY_MAX + 10)))
    while host.join.receive():
        pass
    first = host.seen(pid=0)
    host.join.expect(first)
    host.clock.forward(APART_S_MAX + 1)
    host.source.tell(host.record("new", pid=1))
    host.join.receive()
    old = host.seen(pid=EARLY_MAX)
    host.join.expect(old)

    assert first.process.argv == ("as", "in", "proc")
    assert old.process.argv == ("as", "in", "proc")


def test_a_source_that_stays_silent_is_waited_for_no_longer_until_it_speaks(host: AJoin) -> None:
    before = host.join.is_telling
    for pid in range(SILENT_AFTER):
        seen = host.seen(pid=100 + pid)
        host.join.expect(seen)
        assert seen.waits_until
        host.join.tell(seen)
    ignored = host.seen()
    host.join.expect(ignored)

    host.source.tell(host.record("id"))
    host.join.receive()
    again = host.seen(pid=9)
    host.join.expect(again)

    assert not before
    assert ignored.waits_until == 0
    assert host.join.is_telling
    assert again.waits_until


def test_losses_are_told_once_and_closing_closes_the_source(host: AJoin) -> None:
    host.source.losses = 2

    assert host.join.take_lost() == 2
    assert host.join.take_lost() == 0
    assert host.join.fileno() == host.source.fileno() >= 0
    host.join.close()
    assert host.source.is_closed
