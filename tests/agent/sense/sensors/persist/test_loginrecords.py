"""Records are read once each, through restarts, rotation and growth; what is gone is said."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors.persist.loginrecords import BTMP, WTMP, LoginRecords, Loss, Record
from agent.sense.sensors.told import StateLost, Told, ToldLimits
from proto.model import User
from tests.agent.sense.sensors.persist.looking import put
from tests.agent.sense.sensors.sessions import a_record


class Files:
    """The files of a host and one reader of them."""

    def __init__(self, root: Path) -> None:
        self.root = root / "host"
        self.wtmp = put(self.root, WTMP, a_record("before"))
        self.btmp = put(self.root, BTMP)
        self.told = Told(root / "state.db", ToldLimits(1 << 22, 100))
        self.told.open(b"")
        self.records = LoginRecords(HostRoot(self.root), self.told)

    def add(self, path: Path, *records: bytes) -> None:
        with path.open("ab") as file:
            file.write(b"".join(records))

    def read(self) -> list[str]:
        """Return user and outcome of each record, and why others are lost."""
        found = []
        for one in self.records.read():
            if isinstance(one, Loss):
                found.append(one.why)
            elif one is not None:
                assert isinstance(one.login.user, User)
                found.append(f"{one.login.user.name} {one.login.outcome}")
        self.told.commit(1)
        return found


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    made = Files(tmp_path)
    yield made
    made.told.close()


def test_what_was_there_before_us_is_no_news(files: Files) -> None:
    assert files.read() == []


def test_what_is_added_is_told_once(files: Files) -> None:
    files.read()

    files.add(files.wtmp, a_record("alice"), a_record("", kind=8), a_record("reboot", kind=2))
    files.add(files.btmp, a_record("mallory", kind=6))
    files.add(files.btmp, a_record("", kind=6))

    assert files.read() == ["alice opened", "UNSET closed", "mallory refused"]
    assert files.read() == []


def test_a_record_that_is_half_written_waits_for_its_other_half(files: Files) -> None:
    files.read()
    record = a_record("alice")

    files.add(files.wtmp, record[:100])
    half = files.read()
    files.add(files.wtmp, record[100:])

    assert half == []
    assert files.read() == ["alice opened"]


def test_a_rotated_file_is_read_to_its_end_and_then_the_new_one(files: Files) -> None:
    files.read()
    files.add(files.wtmp, a_record("late"))
    files.wtmp.rename(f"{files.wtmp}.1")
    put(files.root, WTMP, a_record("new"))

    assert files.read() == ["late opened", "new opened"]
    assert files.read() == []


def test_a_file_that_was_replaced_is_a_loss(files: Files) -> None:
    files.read()
    put(files.root, "/var/log/other", a_record("new"))
    (files.root / "var/log/other").rename(files.wtmp)

    assert files.read() == [f"{WTMP} is another file and the one before is gone", "new opened"]
    assert files.read() == []


def test_a_file_that_was_cut_is_a_loss_and_is_read_from_its_start(files: Files) -> None:
    files.add(files.wtmp, a_record("two"))
    files.read()

    os.truncate(files.wtmp, 0)
    files.add(files.wtmp, a_record("new"))

    assert files.read() == [f"{WTMP} was cut from 768 to 384 bytes", "new opened"]
    assert files.read() == []


def test_a_record_that_was_rewritten_is_a_loss(files: Files) -> None:
    files.read()
    with files.wtmp.open("r+b") as file:
        file.write(bytes(384))
    files.add(files.wtmp, a_record("new"))

    assert files.read() == [f"{WTMP} was rewritten before byte 384", "new opened"]
    assert files.read() == []


def test_a_great_many_records_are_read_in_slices(files: Files) -> None:
    files.read()
    files.add(files.btmp, a_record("mallory") * 1000)

    steps = list(files.records.read())

    assert sum(isinstance(one, Record) for one in steps) == 1000
    assert steps.count(None) > 10


def test_what_cannot_be_read_is_a_problem(files: Files) -> None:
    files.btmp.unlink()
    os.mkfifo(files.btmp)
    put(files.root, "/var/lib/wtmpdb/wtmp.db")

    files.read()

    assert files.records.problems[0] == "/var/lib/wtmpdb/wtmp.db is not read"
    assert BTMP in files.records.problems[1]


def test_a_host_without_records_has_none(tmp_path: Path) -> None:
    told = Told(tmp_path / "state.db", ToldLimits(1 << 22, 100))
    told.open(b"")
    (tmp_path / "host").mkdir()

    assert list(LoginRecords(HostRoot(tmp_path / "host"), told).read()) == []
    told.close()


def test_a_place_that_cannot_be_read_is_damage(files: Files) -> None:
    files.told.put(b"l:" + WTMP.encode(), b"\xc1")

    with pytest.raises(StateLost):
        list(files.records.read())
