"""rpm's database is read without rpm; what cannot be read is said and never taken for gone."""

import os
import sqlite3
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors import rpmdb
from agent.sense.sensors.listings import Unread
from agent.sense.sensors.rpmdb import RpmListing
from proto.model import Package
from tests.agent.sense.sensors.listed import finished
from tests.agent.sense.sensors.rpms import a_database, a_header


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "var/lib/rpm"
    made.mkdir(parents=True)
    return made


def a_listing(tmp_path: Path) -> RpmListing:
    return RpmListing(HostRoot(tmp_path), 600)


def test_packages_are_those_of_the_headers(folder: Path, tmp_path: Path) -> None:
    headers = [a_header("bash", "5.2", "1", files=9000), a_header("zlib", "1.3", "2", epoch=1)]
    a_database(folder / "rpmdb.sqlite", headers)

    listed = finished(a_listing(tmp_path).read())

    assert list(listed.things.values()) == [
        Package("rpm", "bash", "5.2-1", "x86_64", "installed"),
        Package("rpm", "zlib", "1:1.3-2", "x86_64", "installed"),
    ]
    assert (listed.odd, listed.problem) == (0, "")


def test_several_versions_side_by_side_are_several_packages(folder: Path, tmp_path: Path) -> None:
    headers = [a_header("kernel", version, "1") for version in ("6.1", "6.2")]
    a_database(folder / "rpmdb.sqlite", headers)

    assert len(finished(a_listing(tmp_path).read()).things) == 2


def test_a_row_that_is_no_header_is_counted(folder: Path, tmp_path: Path) -> None:
    a_database(folder / "rpmdb.sqlite", [b"junk", a_header("bash", "5", "1")])

    listed = finished(a_listing(tmp_path).read())

    assert (len(listed.things), listed.odd) == (1, 1)


def test_what_is_in_the_log_alone_counts_and_moves_the_stamp(folder: Path, tmp_path: Path) -> None:
    a_database(folder / "rpmdb.sqlite", [a_header("bash", "5", "1")])
    listing = a_listing(tmp_path)
    before = listing.look()
    db = sqlite3.connect(folder / "rpmdb.sqlite")
    db.execute("INSERT INTO Packages (blob) VALUES (?)", (a_header("evil", "6", "6"),))
    db.commit()

    listed = finished(listing.read())
    db.close()

    assert len(listed.things) == 2
    assert listing.look() != before


@pytest.mark.parametrize("name", rpmdb.UNREAD_NAMES)
def test_an_older_form_is_said_not_to_be_read(name: str, folder: Path, tmp_path: Path) -> None:
    (folder / name).write_bytes(b"\0" * 4096)

    with pytest.raises(Unread) as refused:
        a_listing(tmp_path).look()

    assert refused.value.is_absent is False
    assert rpmdb.UNREAD_NAMES[name] in refused.value.message


def test_no_database_and_one_without_packages_are_nothing_amiss(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(Unread) as none:
        a_listing(tmp_path).look()
    a_database(folder / "rpmdb.sqlite", [])
    with pytest.raises(Unread) as empty:
        finished(a_listing(tmp_path).read())

    assert none.value.is_absent
    assert empty.value.is_absent


def test_a_database_that_is_written_while_it_is_read_is_read_later(
    folder: Path, tmp_path: Path
) -> None:
    a_database(folder / "rpmdb.sqlite", [a_header("bash", "5", "1")])
    steps = a_listing(tmp_path).read()
    next(steps)

    os.utime(folder / "rpmdb.sqlite", ns=(1, 1))

    with pytest.raises(Unread) as refused:
        finished(steps)
    assert refused.value.is_absent is False


@pytest.mark.parametrize("data", [b"", b"no database" * 1000])
def test_a_damaged_database_is_said(data: bytes, folder: Path, tmp_path: Path) -> None:
    (folder / "rpmdb.sqlite").write_bytes(data)

    with pytest.raises(Unread) as refused:
        finished(a_listing(tmp_path).read())

    assert refused.value.is_absent is False


def test_a_database_that_is_no_file_stops_nothing(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(folder / "rpmdb.sqlite")

    with pytest.raises(Unread):
        finished(a_listing(tmp_path).read())


def test_the_newer_place_goes_before_the_older(folder: Path, tmp_path: Path) -> None:
    newer = tmp_path / "usr/lib/sysimage/rpm"
    newer.mkdir(parents=True)
    a_database(folder / "rpmdb.sqlite", [a_header("old", "5", "1")])
    a_database(newer / "rpmdb.sqlite", [a_header("new", "5", "1")])

    (package,) = finished(a_listing(tmp_path).read()).things.values()

    assert isinstance(package, Package)
    assert package.name == "new"
