import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from agent import layout
from agent.layout import Owners, give, make_directories, owners
from agent.settings import PathSettings, PrivilegeSettings
from proto.model import Split

SENSE, SHIP, GROUP, DNS = 61001, 61002, 61003, 61004
APART = Owners(SENSE, SHIP, GROUP, DNS, DNS)
TWO_USERS = PrivilegeSettings(str(SENSE), str(SHIP), str(GROUP), str(DNS))
ME = Owners(os.geteuid(), os.geteuid(), os.getegid(), os.geteuid(), os.getegid())


def paths_in(folder: Path) -> PathSettings:
    return PathSettings(state=str(folder / "lib/state"), run=str(folder / "run/v"))


def mode(path: str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


def owner(path: str) -> tuple[int, int]:
    found = Path(path).stat()
    return found.st_uid, found.st_gid


def as_user(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)


def test_each_half_is_closed_to_the_other_and_the_outbox_open_to_its_group(tmp_path: Path) -> None:
    paths = paths_in(tmp_path)

    make_directories(paths, ME)

    found = [mode(path) for path in (paths.sense, paths.outbox, paths.ship, paths.run)]
    assert found == [0o700, 0o750, 0o700, 0o751]
    assert mode(paths.state) & 0o022 == 0


def test_modes_that_were_opened_by_hand_are_closed_again(tmp_path: Path) -> None:
    paths = paths_in(tmp_path)
    make_directories(paths, ME)
    for path in (paths.sense, paths.outbox, paths.ship):
        Path(path).chmod(0o777)

    make_directories(paths, ME)

    assert [mode(p) for p in (paths.sense, paths.outbox, paths.ship)] == [0o700, 0o750, 0o700]


@pytest.mark.root
def test_root_gives_each_half_its_own(tmp_path: Path) -> None:
    paths = paths_in(tmp_path)

    make_directories(paths, APART)

    assert owner(paths.state)[0] == 0
    assert owner(paths.sense) == (SENSE, os.getegid())
    assert owner(paths.outbox) == (SENSE, GROUP)
    assert owner(paths.ship) == (SHIP, GROUP)
    assert owner(paths.run) == (SENSE, GROUP)
    folder = str(Path(paths.dns_door).parent)
    assert (owner(folder), mode(folder)) == ((SENSE, DNS), 0o2750)


@pytest.mark.root
def test_a_link_in_the_place_of_a_directory_of_ours_is_not_followed(tmp_path: Path) -> None:
    paths = paths_in(tmp_path)
    others = tmp_path / "others"
    others.mkdir()
    Path(paths.run).mkdir(parents=True)
    Path(paths.dns_door).parent.symlink_to(others)

    with pytest.raises(OSError, match="Not a directory"):
        make_directories(paths, APART)

    assert owner(str(others))[0] == os.geteuid()


@pytest.mark.root
def test_a_socket_of_sense_is_open_to_the_group_of_its_directory(tmp_path: Path) -> None:
    paths = paths_in(tmp_path)
    make_directories(paths, APART)

    with socket.socket(socket.AF_UNIX) as door:
        door.bind(paths.dns_door)

    assert owner(paths.dns_door)[1] == DNS


def test_without_a_user_for_dns_packets_the_halves_are_apart_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    as_user(monkeypatch, SENSE)
    privileges = PrivilegeSettings(str(SENSE), str(SHIP), str(GROUP), "no-such-user")

    assert owners(privileges) == (Owners(SENSE, SHIP, GROUP), "")


@pytest.mark.root
def test_a_file_that_root_made_is_given_and_a_link_is_not_followed(tmp_path: Path) -> None:
    own, others = tmp_path / "own", tmp_path / "others"
    own.touch()
    others.touch()
    link = tmp_path / "link"
    link.symlink_to(others)

    give(own, SENSE)
    give(link, SENSE)

    assert owner(str(own))[0] == SENSE
    assert owner(str(others))[0] == 0
    assert link.lstat().st_uid == SENSE


def test_an_ordinary_user_gives_nothing_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own"
    path.touch()
    as_user(monkeypatch, 61009)

    give(path, SENSE)

    assert owner(str(path))[0] == os.getuid()


def test_two_users_are_a_split_and_one_is_none() -> None:
    assert APART.split is Split.USERS
    assert Owners(1, 1, 2).split is Split.NONE


def test_root_splits_where_both_users_can_run_this_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    as_user(monkeypatch, 0)
    monkeypatch.setattr(layout, "_closed_to_others", lambda _: None)

    assert owners(TWO_USERS) == (APART, "")


@pytest.mark.parametrize("uid", [SENSE, SHIP])
def test_one_of_the_two_users_belongs_to_the_split_that_made_it(
    monkeypatch: pytest.MonkeyPatch, uid: int
) -> None:
    as_user(monkeypatch, uid)

    assert owners(TWO_USERS) == (APART, "")


@pytest.mark.parametrize(
    ("privileges", "uid", "reason"),
    [
        (TWO_USERS, 61009, "not started by root"),
        (PrivilegeSettings("61001", "61001", "61003"), 0, "both halves have one user"),
        (PrivilegeSettings("no-such-user", "61002", "61003"), 0, "there is no user 'no-such-user'"),
        (PrivilegeSettings("61001", "61002", "no-group"), 0, "there is no group 'no-group'"),
    ],
)
def test_where_there_is_no_split_the_reason_is_said(
    monkeypatch: pytest.MonkeyPatch, privileges: PrivilegeSettings, uid: int, reason: str
) -> None:
    as_user(monkeypatch, uid)

    found, why = owners(privileges)

    assert (found.split, why) == (Split.NONE, reason)
    assert found.sense_uid == uid


def test_a_program_in_a_closed_home_cannot_be_run_by_the_users_it_should_become(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    (home / "bin/python").touch()
    home.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(home / "bin/python"))
    as_user(monkeypatch, 0)

    found, why = owners(TWO_USERS)

    assert found.split is Split.NONE
    assert why == f"other users cannot run Python from under {home}"
