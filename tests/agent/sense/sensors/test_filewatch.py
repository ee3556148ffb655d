"""Events say where to look, for as long as a directory is where we think it is."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors.filetrees import Place, Scope, Tree
from agent.sense.sensors.filewatch import Changes, Watches
from tests.agent.sense.sensors.driving import no_more_descriptors


class Desk:
    """A host with a tree at /tree and the watches on it."""

    def __init__(self, root: Path, count_max: int = 100, exclude: tuple[str, ...] = ()) -> None:
        self.root = root
        self.tree = root / "tree"
        self.tree.mkdir()
        self.scope = Scope((Tree("/tree", depth_max=2, exclude=exclude),))
        self.host = HostRoot(root)
        self.watches = Watches(self.host, self.scope, count_max)
        self.watches.open()

    def close(self) -> None:
        self.watches.close()
        self.host.close()

    def add(self, path: str, depth: int = 0) -> Place:
        place = Place(path.encode(), 0, depth)
        fd = os.open(self.root / path.lstrip("/"), os.O_PATH)
        try:
            self.watches.add(fd, place)
        finally:
            os.close(fd)
        return place

    def read(self) -> Changes:
        return self.watches.read()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


def test_a_file_written_moved_in_or_out_changed_or_removed_is_looked_at(desk: Desk) -> None:
    place = desk.add("/tree")
    (desk.tree / "gone").touch()
    (desk.root / "in").touch()
    desk.read()

    (desk.tree / "new").write_bytes(b"x")
    (desk.tree / "new").chmod(0o600)
    (desk.tree / "gone").unlink()
    (desk.root / "in").rename(desk.tree / "in")
    (desk.tree / "in").rename(desk.root / "out")
    changes = desk.read()

    assert changes.files == dict.fromkeys([b"/tree/new", b"/tree/gone", b"/tree/in"], place)
    assert not changes.overflowed
    assert desk.read() == Changes({}, {}, overflowed=False)


def test_a_directory_made_or_removed_is_walked(desk: Desk) -> None:
    desk.add("/tree")

    (desk.tree / "inner").mkdir()
    made = desk.read().places
    (desk.tree / "inner").rmdir()

    assert made == desk.read().places == {b"/tree/inner": Place(b"/tree/inner", 0, 1)}


def test_a_directory_beyond_the_tree_and_an_excluded_name_are_no_reason(tmp_path: Path) -> None:
    desk = Desk(tmp_path, exclude=("*.swp",))
    (desk.tree / "a/b").mkdir(parents=True)
    desk.add("/tree/a/b", 2)

    (desk.tree / "a/b/c").mkdir()
    (desk.tree / "a/b/x.swp").touch()

    assert desk.read() == Changes({}, {}, overflowed=False)
    desk.close()


def test_a_directory_moved_away_is_not_watched_under_its_old_name(desk: Desk) -> None:
    (desk.tree / "a/b").mkdir(parents=True)
    for depth, path in enumerate(("/tree", "/tree/a", "/tree/a/b")):
        desk.add(path, depth)

    (desk.tree / "a").rename(desk.root / "elsewhere")
    moved = desk.read().places
    (desk.root / "elsewhere/b/file").touch()

    assert b"/tree/a" in moved
    assert desk.read() == Changes({}, {}, overflowed=False)


def test_a_directory_moved_within_the_tree_is_watched_under_its_new_name(desk: Desk) -> None:
    (desk.tree / "a").mkdir()
    desk.add("/tree")
    desk.add("/tree/a", 1)

    (desk.tree / "a").rename(desk.tree / "z")
    desk.read()
    desk.add("/tree/z", 1)
    (desk.tree / "z/file").touch()

    assert list(desk.read().files) == [b"/tree/z/file"]


def test_a_root_that_goes_is_walked_and_found_again_through_its_parent(desk: Desk) -> None:
    root = desk.add("/tree")

    desk.tree.rmdir()
    gone = desk.read().places
    desk.watches.add_parent(root, is_file=False)
    (desk.root / "other").mkdir()
    quiet = desk.read()
    desk.tree.mkdir()

    assert gone == {b"/tree": root}
    assert quiet == Changes({}, {}, overflowed=False)
    assert desk.read().places == {b"/tree": root}


def test_a_root_that_is_a_file_is_looked_at_when_it_is_written(desk: Desk) -> None:
    root = Place(b"/file", 0)
    (desk.root / "file").touch()
    desk.watches.add_parent(root, is_file=True)

    (desk.root / "other").write_bytes(b"x")
    quiet = desk.read()
    (desk.root / "file").write_bytes(b"x")

    assert quiet.places == {}
    assert desk.read().places == {b"/file": root}


def test_a_parent_that_is_in_a_tree_keeps_its_own_watch(desk: Desk) -> None:
    place = desk.add("/tree")
    root = Place(b"/tree/missing", 0)

    desk.watches.add_parent(root, is_file=False)
    (desk.tree / "file").write_bytes(b"x")
    (desk.tree / "missing").touch()
    changes = desk.read()

    assert changes.files == {b"/tree/file": place, b"/tree/missing": place}
    assert changes.places == {b"/tree/missing": root}


def test_watches_beyond_the_limit_are_said_until_a_sweep_needs_no_more(tmp_path: Path) -> None:
    desk = Desk(tmp_path, count_max=1)
    (desk.tree / "a").mkdir()
    desk.add("/tree")

    desk.add("/tree/a", 1)
    at_once = desk.watches.problem
    desk.watches.begin_sweep()
    during = desk.watches.problem
    desk.add("/tree")
    desk.watches.end_sweep()

    assert at_once == during == "more directories than 1 watches"
    assert desk.watches.problem == ""
    desk.close()


def test_no_watches_at_all_is_a_choice_that_is_said(tmp_path: Path) -> None:
    desk = Desk(tmp_path, count_max=0)

    desk.add("/tree")

    assert desk.watches.fileno() == -1
    assert desk.watches.problem == "events are switched off"
    assert desk.read() == Changes({}, {}, overflowed=False)


def test_an_overflow_is_passed_on(desk: Desk) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text("ascii"))
    if limit > 100_000:
        pytest.skip(f"this host queues {limit} events")
    desk.add("/tree")
    for n in range(2):
        (desk.tree / f"{n}").touch()

    for n in range(limit + 8):
        (desk.tree / f"{n % 2}").chmod(0o600 + n // 2 % 2)
    reads = [desk.read() for _ in range(100)]

    assert any(changes.overflowed for changes in reads)


def test_a_directory_seen_under_two_names_is_watched_under_the_last(desk: Desk) -> None:
    (desk.tree / "a").mkdir()
    desk.add("/tree/a", 1)
    fd = os.open(desk.tree / "a", os.O_PATH)

    desk.watches.add(fd, Place(b"/tree/b", 0, 1))
    os.close(fd)
    (desk.tree / "a/file").touch()

    assert list(desk.read().files) == [b"/tree/b/file"]


def test_without_inotify_the_reason_is_said(desk: Desk) -> None:
    watches = Watches(desk.host, desk.scope, 100)

    with no_more_descriptors():
        watches.open()
    watches.begin_sweep()
    watches.end_sweep()

    assert watches.fileno() == -1
    assert watches.problem == "no inotify: Too many open files"


def test_a_directory_that_cannot_be_watched_is_said(desk: Desk) -> None:
    fd = os.open(desk.tree, os.O_PATH)
    os.close(fd)

    desk.watches.add(fd, Place(b"/tree", 0))

    assert desk.watches.problem == "no watch: No such file or directory"


def test_a_parent_that_cannot_be_opened_is_no_matter(desk: Desk) -> None:
    desk.watches.add_parent(Place(b"/missing/root", 0), is_file=False)

    assert desk.watches.problem == ""
