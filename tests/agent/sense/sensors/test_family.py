from pathlib import Path

import pytest
from msgspec import UNSET

from agent.hostroot import HostRoot
from agent.hosttext import CUT
from agent.sense.sensors.family import (
    ANCESTOR_PATH_CHARS_MAX,
    ANCESTORS_MAX,
    FORKED,
    GROWTH_MAX,
    Family,
)
from agent.sense.sensors.identity import Birth, ProcessReader
from agent.sense.sensors.procfs import NS_PER_TICK
from proto.model import Process
from tests.agent.sense.sensors.hosts import a_golden_host, a_process_dir, a_stat
from tests.fakes.clock import FakeClock


@pytest.fixture
def reader(tmp_path: Path) -> ProcessReader:
    host = HostRoot(a_golden_host("debian12", tmp_path))
    return ProcessReader(host, FakeClock(), argv_bytes_max=4096)


LATER = 1 << 40


def a_process(pid: int, **changes: object) -> Process:
    values: dict[str, object] = {"boot_id": bytes(16), "pid": pid, "start": pid, "ppid": pid - 1}
    return Process(**(values | changes))  # type: ignore[arg-type]


def ancestors(
    family: Family, process: Process, reader: ProcessReader, *, verify: bool = False
) -> list[int]:
    return [parent.pid for parent in family.ancestry(process, reader, verify=verify)]


def test_ancestors_end_with_the_leader_of_the_session(reader: ProcessReader) -> None:
    sudo = reader.read(901)
    assert sudo is not None

    assert ancestors(Family(64), sudo.process, reader) == [900]


def test_a_session_leader_has_ancestors_of_its_own(reader: ProcessReader) -> None:
    shell = reader.read(900)
    assert shell is not None

    assert ancestors(Family(64), shell.process, reader) == [857, 850]


def test_the_first_process_ends_every_line(reader: ProcessReader) -> None:
    service = reader.read(812)
    assert service is not None

    assert ancestors(Family(64), service.process, reader) == [1]


def test_ancestors_are_bounded(reader: ProcessReader) -> None:
    family = Family(64)
    for pid in range(2001, 2030):
        family.remember(a_process(pid))

    assert ancestors(family, a_process(2030), reader) == list(range(2029, 2029 - ANCESTORS_MAX, -1))


def test_a_process_that_is_its_own_parent_has_none(reader: ProcessReader) -> None:
    family = Family(64)
    family.remember(a_process(2001, ppid=2001))

    assert ancestors(family, a_process(2001, ppid=2001), reader) == []
    assert ancestors(family, a_process(2002, ppid=UNSET), reader) == []


def test_two_that_are_each_others_parent_end(reader: ProcessReader) -> None:
    family = Family(64)
    family.remember(a_process(2001, ppid=2002, start=5))
    family.remember(a_process(2002, ppid=2001, start=5))

    assert len(ancestors(family, a_process(2001, ppid=2002, start=5), reader)) == ANCESTORS_MAX


def test_who_started_later_is_not_the_parent(reader: ProcessReader) -> None:
    family = Family(64)
    family.remember(a_process(2001, start=9999))

    assert ancestors(family, a_process(2002, start=5000), reader) == []


def test_a_double_fork_does_not_hide_the_parent(reader: ProcessReader) -> None:
    family = Family(64)
    family.remember(a_process(2001, ppid=0))
    family.born(2002, Birth(ppid=2001, start=2002))

    orphan = a_process(2002, ppid=1)

    assert ancestors(family, orphan, reader) == [2001]


def test_a_fork_of_an_earlier_owner_of_the_number_says_nothing(reader: ProcessReader) -> None:
    family = Family(64)
    family.remember(a_process(2001, ppid=0))
    family.born(2002, Birth(ppid=2001, start=7))

    assert ancestors(family, a_process(2002, ppid=0), reader) == []


def test_a_parent_that_only_forked_and_ended_has_the_image_of_its_own(
    reader: ProcessReader,
) -> None:
    family = Family(64)
    family.remember(a_process(2001, ppid=0, exe="/bin/sh"))
    family.born(2002, Birth(ppid=2001, start=2002))
    family.born(2003, Birth(ppid=2002, start=2003))

    parent, grandparent = family.ancestry(a_process(2003), reader, verify=False)

    assert (parent.pid, parent.exe, parent.caveats) == (2002, "/bin/sh", (FORKED,))
    assert grandparent.pid == 2001


def test_a_fork_ends_what_had_the_number_before(reader: ProcessReader) -> None:
    family = Family(64)
    family.remember(a_process(2001))

    family.born(2001, Birth(ppid=1, start=99))

    assert family.get(2001) is None
    assert family.birth(2001) == Birth(ppid=1, start=99)


def test_without_events_a_number_that_changed_hands_is_noticed(reader: ProcessReader) -> None:
    family = Family(64)
    family.remember(a_process(812, start=1))

    shell = a_process(2002, ppid=812, start=1 << 60)

    trusting = family.ancestry(shell, reader, verify=False)[0]
    verifying = family.ancestry(shell, reader, verify=True)[0]
    assert (trusting.start, verifying.start) == (1, 900 * NS_PER_TICK)


def test_the_longest_untouched_makes_room() -> None:
    family = Family(3)
    for pid in (1, 2, 3):
        family.remember(a_process(pid))

    family.remember(a_process(1))
    family.remember(a_process(4))

    assert [family.get(pid) is not None for pid in (1, 2, 3, 4)] == [True, False, True, True]


def test_forks_are_bounded_too() -> None:
    family = Family(10)
    for pid in range(1, 1000):
        family.born(pid, Birth(ppid=1, start=pid))

    assert len(family) == 10


def test_the_dead_are_kept_for_one_more_pass() -> None:
    family = Family(64)
    family.remember(a_process(7))
    family.born(8, Birth(ppid=7, start=8))

    family.prune([7], LATER)
    kept = (family.get(7), family.birth(8))
    family.prune([7], LATER)

    assert None not in kept
    assert family.get(7) is not None
    assert family.birth(8) is None


def test_what_began_after_the_listing_is_not_dead() -> None:
    family = Family(64)
    family.remember(a_process(8))
    family.prune([], LATER)
    family.born(8, Birth(ppid=7, start=LATER))  # the number has changed hands meanwhile
    family.born(9, Birth(ppid=7, start=LATER))

    family.prune([], LATER)
    family.prune([], LATER)

    assert family.birth(8) == family.birth(9) == Birth(ppid=7, start=LATER)


def test_a_number_that_was_given_anew_has_two_passes_again() -> None:
    family = Family(64)
    family.remember(a_process(8))
    family.prune([], LATER)
    family.born(8, Birth(ppid=7, start=LATER))

    family.prune([], 2 * LATER)

    assert family.birth(8) is not None


def test_who_came_back_is_not_dead() -> None:
    family = Family(64)
    family.remember(a_process(7))

    for alive in ([], [7], [], [7]):
        family.prune(alive, LATER)

    assert family.get(7) is not None


def test_a_child_that_only_forked_is_told_from_one_that_runs_something() -> None:
    family = Family(64)
    family.remember(a_process(7, exe="/bin/sh", argv=("sh",)))

    assert family.is_fork(a_process(8, exe="/bin/sh", argv=("sh",)))
    assert not family.is_fork(a_process(8, exe="/bin/sh", argv=("sh", "-c", "id")))
    assert not family.is_fork(a_process(8, exe="/bin/id", argv=("sh",)))
    assert not family.is_fork(a_process(8, ppid=6, exe="/bin/sh", argv=("sh",)))


def test_a_digest_is_learned_by_the_image_it_is_of() -> None:
    family = Family(64)
    family.remember(a_process(7, exe="/bin/new"))

    family.learn_digest(a_process(7, exe="/bin/old", sha256=b"o" * 32))
    unlearned = family.get(7)
    family.learn_digest(a_process(7, exe="/bin/new", sha256=b"n" * 32))
    learned = family.get(7)

    assert unlearned is not None
    assert unlearned.sha256 is UNSET
    assert learned is not None
    assert learned.sha256 == b"n" * 32


def test_ancestors_carry_little_of_their_arguments(reader: ProcessReader) -> None:
    family = Family(64)
    family.remember(a_process(2001, ppid=0, argv=("x", "y" * 5000, "z"), exe="/e" * 4000))

    parent = family.ancestry(a_process(2002), reader, verify=False)[0]

    assert parent.argv == ("x", CUT)
    assert isinstance(parent.exe, str)
    assert len(parent.exe) == ANCESTOR_PATH_CHARS_MAX
    assert parent.exe.endswith(CUT)


def test_a_parent_read_once_is_remembered(tmp_path: Path) -> None:
    here = a_process_dir(tmp_path, 7, stat=a_stat(7, ppid=0, start=1))
    reader = ProcessReader(HostRoot(tmp_path), FakeClock(), argv_bytes_max=4096)
    family = Family(64)
    child = a_process(8, start=NS_PER_TICK * 2)

    ancestors(family, child, reader)
    (here / "stat").unlink()

    assert ancestors(family, child, reader) == [7]


def test_a_crowd_is_noticed_and_over_once_it_was_pruned() -> None:
    family = Family(4 * GROWTH_MAX)
    crowded = []
    for pid in range(1, GROWTH_MAX + 2):
        family.born(pid, Birth(ppid=1, start=pid))
        crowded.append(family.is_crowded)

    family.prune([], LATER)
    family.prune([], LATER)

    assert crowded == [False] * GROWTH_MAX + [True]
    assert (len(family), family.is_crowded) == (0, False)
