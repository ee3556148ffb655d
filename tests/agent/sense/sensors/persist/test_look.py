"""A look notes all that its answer depends on, before it reads it."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostRoot
from agent.sense.sensors.persist.look import (
    NAMES_MAX,
    UNREAD_MAX,
    Look,
    Mark,
    is_as,
    shown,
)
from tests.agent.sense.sensors.persist.looking import NOW, a_look, put


def still(root: Path, mark: Mark, now: int = NOW) -> bool:
    steps = is_as(mark, HostRoot(root), now)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return bool(end.value)


def look_at(root: Path) -> Look:
    """Use a file, a directory and one of each that is not there."""
    look = a_look(root)
    look.file("/etc/passwd")
    look.names("/etc/cron.d")
    look.file("/etc/gone")
    look.names("/etc/none")
    look.stat("/home")
    return look


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path, "/etc/passwd", "x")
    put(tmp_path, "/etc/cron.d/one", "x")
    (tmp_path / "home").mkdir()
    return tmp_path


def test_what_did_not_move_need_not_be_read_again(root: Path) -> None:
    assert still(root, look_at(root).mark())


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/etc/gone", "/etc/cron.d/two", "/home/new", "/etc/none/x"]
)
def test_whatever_an_answer_depended_on_moves_its_mark(root: Path, path: str) -> None:
    mark = look_at(root).mark()

    put(root, path, "other")

    assert not still(root, mark)


def test_a_mode_or_an_owner_moves_the_mark(root: Path) -> None:
    mark = look_at(root).mark()

    (root / "etc/passwd").chmod(0o600)

    assert not still(root, mark)


def test_a_file_younger_than_its_stamp_is_exact_is_looked_at_again(root: Path) -> None:
    changed = (root / "etc/passwd").stat().st_ctime_ns
    look = a_look(root, now=changed + 1)

    look.file("/etc/passwd")

    assert not still(root, look.mark(), changed + 10**9)


def test_what_proc_shows_is_known_by_its_content(root: Path) -> None:
    put(root, "/proc/modules", "one 1 0 - Live 0x0\n")
    look = a_look(root)
    look.file("/proc/modules")
    mark = look.mark()
    same = still(root, mark)

    with (root / "proc/modules").open("r+b") as file:
        file.write(b"two")

    assert same
    assert not still(root, mark)


@pytest.mark.parametrize("kind", ["fifo", "directory", "loop"])
def test_what_is_no_file_is_said_and_does_not_make_us_look_for_ever(root: Path, kind: str) -> None:
    odd = root / "etc/odd"
    match kind:
        case "fifo":
            os.mkfifo(odd)
        case "directory":
            odd.mkdir()
        case _:
            odd.symlink_to("odd")
    look = a_look(root)

    assert look.file("/etc/odd") is None
    assert ("/etc/odd" in look.unread) == (kind != "loop")
    assert still(root, look.mark())


def test_a_file_in_the_place_of_a_directory_is_no_directory(root: Path) -> None:
    look = a_look(root)

    assert look.names("/etc/passwd") == []
    assert still(root, look.mark())


def test_a_large_file_is_read_in_part_and_said(root: Path) -> None:
    put(root, "/etc/passwd", b"a\n" * 100 + b"cut")
    look = a_look(root)

    content = look.file("/etc/passwd", 101)

    assert content is not None
    assert (content.is_whole, content.sha256, len(list(content.lines()))) == (False, None, 50)
    assert "/etc/passwd" in look.unread


def test_a_directory_of_too_many_names_is_read_in_part_and_said(root: Path) -> None:
    for number in range(NAMES_MAX + 1):
        (root / "etc/cron.d" / str(number)).touch()
    look = a_look(root)

    assert len(look.names("/etc/cron.d")) == NAMES_MAX
    assert "/etc/cron.d" in look.unread


def test_what_was_not_read_keeps_what_was_known_below_it(root: Path) -> None:
    look = a_look(root)
    look.cannot("/etc/cron.d", "permission denied")

    assert look.keeps("/etc/cron.d/one")
    assert look.keeps("/etc/cron.d")
    assert not look.keeps("/etc/cron.daily/one")


def test_more_failures_than_are_counted_keep_everything(root: Path) -> None:
    look = a_look(root)
    for number in range(UNREAD_MAX + 5):
        look.cannot(f"/{number}", "no")

    assert len(look.unread) == UNREAD_MAX
    assert look.keeps("/anything")


def test_nothing_below_a_remote_mount_is_touched(root: Path) -> None:
    put(root, "/home/net/.bashrc", "x")
    (root / "home/link").symlink_to("/home/net")
    look = a_look(root, remote=("/home/net",))

    assert look.file("/home/net/.bashrc") is None
    assert look.names("/home/net") == []
    assert look.stat("/home/net/x") is None
    assert look.resolved("/home/link/.bashrc") is None
    assert look.unread["/home/net/.bashrc"] == "lies on a remote file system"


def test_links_are_resolved_inside_the_host_and_a_loop_of_them_ends(root: Path) -> None:
    (root / "a").symlink_to("home/../home")
    (root / "loop").symlink_to("/loop")
    look = a_look(root)

    assert look.resolved("/a/./x") == "/home/x"
    assert look.resolved("/../..") == "/"
    assert look.resolved("/loop/x") is None


def test_what_everyone_may_write_to_is_noted(root: Path) -> None:
    put(root, "/etc/open", "x", 0o666)
    (root / "etc/cron.d").chmod(0o777)
    (root / "home").chmod(0o1777)
    look = a_look(root)
    look.file("/etc/open")
    look.names("/etc/cron.d")
    look.names("/home")

    assert [(one.path, one.mode) for one in look.writable.values()] == [
        ("/etc/open", 0o666),
        ("/etc/cron.d", 0o777),
    ]


def test_homes_do_not_wake_us_and_their_keys_do(root: Path) -> None:
    put(root, "/home/a/.bashrc", "x")
    put(root, "/home/a/.ssh/authorized_keys", "x")
    look = a_look(root)
    look.file("/home/a/.bashrc")
    look.file("/home/a/.ssh/authorized_keys")
    look.file("/etc/passwd")

    assert list(look.directories) == ["/home/a/.ssh", "/etc"]


def test_a_few_sources_are_named_and_the_rest_counted() -> None:
    reasons = [(f"/{number}", "is odd") for number in range(5)]

    assert shown(reasons) == "/0 is odd, /1 is odd, /2 is odd and 2 more"
    assert shown(reasons[:1]) == "/0 is odd"


@given(path=st.text(max_size=40))
def test_any_path_is_answered(path: str) -> None:
    look = Look(HostRoot("/proc/self/fdinfo"), (), NOW)
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return

    look.file(path)
    look.names(path)
    look.resolved(path)
    look.mark()
