"""A file is blamed only when dpkg is at rest and its lists are those that were read."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors.fileverdict import BUSY_NS, PATIENCE_NS, SETTLE_NS, Verdicts
from runtime.clock import NS_PER_S
from tests.agent.sense.sensors.dpkghost import DpkgHost, digest
from tests.fakes.clock import FakeClock

LS = b"/usr/bin/ls"


class Desk(DpkgHost):
    """A host with one package, and its judge."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.clock = FakeClock()
        self.host = HostRoot(root)
        self.verdicts = Verdicts(self.host, self.clock, lambda _: True)
        self.install("coreutils", {"usr/bin/ls": b"one"})
        self.verdicts.open()
        self.refresh()

    def refresh(self) -> None:
        for _ in self.verdicts.refresh():
            pass

    def blames(self, data: bytes) -> bool | None:
        return self.verdicts.is_blamed(self.verdicts.owner(LS), digest(data))

    def close(self) -> None:
        self.verdicts.close()
        self.host.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


def test_a_file_is_as_packaged_or_to_blame(desk: Desk) -> None:
    assert desk.blames(b"one") is False
    assert desk.blames(b"evil") is True
    assert desk.verdicts.due() is None


def test_what_no_package_owns_or_was_not_read_is_never_blamed(desk: Desk) -> None:
    assert desk.verdicts.is_blamed(None, digest(b"x")) is False
    assert desk.verdicts.is_blamed(desk.verdicts.owner(LS), b"") is False


def test_lists_that_changed_since_they_were_read_blame_nobody_until_they_are_read_again(
    desk: Desk,
) -> None:
    desk.install("coreutils", {"usr/bin/ls": b"two"})

    before = desk.blames(b"two")
    due = desk.verdicts.due()
    desk.clock.forward(SETTLE_NS / NS_PER_S)
    wants = desk.verdicts.wants_sweep()
    desk.clock.forward(SETTLE_NS / NS_PER_S)
    wants |= desk.verdicts.wants_sweep()
    desk.refresh()

    assert before is None
    assert due is not None
    assert wants
    assert desk.verdicts.is_anew
    assert desk.blames(b"two") is False
    assert desk.blames(b"one") is True


def test_while_dpkg_has_begun_what_is_not_in_its_status_nobody_is_blamed(desk: Desk) -> None:
    (desk.dpkg / "updates/0001").touch()

    during = desk.blames(b"evil")
    desk.clock.forward(60)
    wants = desk.verdicts.wants_sweep()
    again = desk.verdicts.due()
    (desk.dpkg / "updates/0001").unlink()
    desk.clock.forward(60)

    assert during is None
    assert not wants
    assert again == desk.clock.boot_ns() - 60 * NS_PER_S + BUSY_NS
    assert desk.verdicts.wants_sweep()
    assert desk.blames(b"evil") is True


def test_while_another_process_holds_the_lock_nobody_is_blamed(desk: Desk) -> None:
    code = (
        "import fcntl, sys\n"
        "f = open(sys.argv[1], 'r+b')\n"
        "fcntl.lockf(f, fcntl.LOCK_EX)\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(desk.dpkg / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        during = desk.blames(b"evil")
        holder.communicate(b"")

    assert during is None
    assert desk.blames(b"evil") is True


def test_asking_for_the_lock_does_not_take_it(desk: Desk) -> None:
    desk.blames(b"evil")

    fd = os.open(desk.dpkg / "lock", os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)


def test_who_keeps_dpkg_at_work_for_ever_wins_an_hour(desk: Desk) -> None:
    (desk.dpkg / "updates/0001").touch()
    first = desk.blames(b"evil")

    desk.clock.forward(PATIENCE_NS / NS_PER_S + 1)

    assert first is None
    assert desk.verdicts.wants_sweep()
    assert desk.blames(b"evil") is True


def test_dpkgs_end_wakes_and_is_given_time_to_settle(desk: Desk) -> None:
    desk.install("other", {"usr/bin/other": b"x"})

    first = desk.verdicts.wants_sweep()
    due = desk.verdicts.due()
    desk.clock.forward(SETTLE_NS / NS_PER_S)

    assert desk.verdicts.descriptors()
    assert not first
    assert due == desk.clock.boot_ns()
    assert desk.verdicts.wants_sweep()
    assert not desk.verdicts.wants_sweep()


def test_lists_that_did_not_change_are_not_read_again(desk: Desk) -> None:
    desk.verdicts.all_judged()

    desk.refresh()

    assert not desk.verdicts.is_anew


def test_a_host_without_dpkg_judges_nothing_and_has_no_problem(tmp_path: Path) -> None:
    with HostRoot(tmp_path) as host:
        verdicts = Verdicts(host, FakeClock(), lambda _: True)
        verdicts.open()
        for _ in verdicts.refresh():
            pass

        assert not verdicts.knows
        assert verdicts.problem == ""
        assert verdicts.owner(LS) is None
        verdicts.close()


def test_a_database_that_cannot_be_read_is_said(desk: Desk) -> None:
    (desk.dpkg / "status").unlink()
    (desk.dpkg / "status").mkdir()

    desk.refresh()

    assert "files are not compared with their packages" in desk.verdicts.problem
