"""A walk sees every file of a tree, and takes nothing for gone that it could not look at."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors.fileevents import FileEvents
from agent.sense.sensors.filelook import Looker
from agent.sense.sensors.filemarks import Own
from agent.sense.sensors.filesweep import Sweep, roots_of
from agent.sense.sensors.filetrees import FileSettings, Place, Scope, Tree
from agent.sense.sensors.fileverdict import Verdicts
from agent.sense.sensors.told import Told, ToldLimits
from proto.model import ObservationKind
from tests.agent.sense.sensors.driving import files_of
from tests.fakes.clock import FakeClock
from tests.fakes.disk import FailingDisk

SEEN, CREATED = ObservationKind.FILE_SEEN, ObservationKind.FILE_CREATED
CHANGED, REMOVED = ObservationKind.FILE_CHANGED, ObservationKind.FILE_REMOVED


class Desk:
    """A host, trees on it, and walks over them."""

    def __init__(self, root: Path, *trees: Tree, entries_max: int = 100) -> None:
        self.root = root / "host"
        self.root.mkdir(exist_ok=True)
        self.told = Told(root / "state.db", ToldLimits(1 << 22, 1000))
        self.told.open(b"")
        self.disk = FailingDisk()
        self.host = HostRoot(self.root, self.disk)
        self.use(*trees, entries_max=entries_max)

    def close(self) -> None:
        self.watches.close()
        self.told.close()
        self.host.close()

    def use(self, *trees: Tree, entries_max: int = 100) -> None:
        settings = FileSettings(entries_max=entries_max, watches_max=100, fanotify=False)
        verdicts = Verdicts(self.host, FakeClock(), lambda _: True)
        self.looker = Looker(self.host, FakeClock(), self.told, settings, verdicts)
        scope = Scope(trees or (Tree("/tree"),))
        own = Own(-1, os.fspath(self.root.parent))
        self.watches = FileEvents(self.host, FakeClock(), scope, settings, own)
        self.sweep = Sweep(self.host, scope, self.looker, self.watches, entries_max)

    def make(self, *names: str) -> None:
        for name in names:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name, "utf-8")

    def walk(self, *, baselined: bool = True) -> list[tuple[ObservationKind, str]]:
        self.looker.out = []
        for _ in self.sweep.everything({0, 1, 2} if baselined else set()):
            pass
        self.told.commit(1)
        return sorted(
            ((kind, file.path) for kind, file in files_of(self.looker.out)),
            key=lambda told: (told[1], told[0].value),
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


def test_every_file_of_a_tree_is_seen_once(desk: Desk) -> None:
    desk.make("tree/a", "tree/d/b", "tree/d/e/c", "other/x")

    first = desk.walk(baselined=False)

    assert first == [(SEEN, "/tree/a"), (SEEN, "/tree/d/b"), (SEEN, "/tree/d/e/c")]
    assert desk.walk() == []


def test_a_walk_tells_what_came_changed_and_went(desk: Desk) -> None:
    desk.make("tree/a", "tree/b", "tree/d/c", "tree/d/e/f")
    desk.walk(baselined=False)

    desk.make("tree/a", "tree/new")
    (desk.root / "tree/b").unlink()
    (desk.root / "tree/d/c").unlink()
    (desk.root / "tree/d/e/f").unlink()
    (desk.root / "tree/d/e").rmdir()
    (desk.root / "tree/d").rmdir()

    assert desk.walk() == [
        (CHANGED, "/tree/a"),
        (REMOVED, "/tree/b"),
        (REMOVED, "/tree/d/c"),
        (REMOVED, "/tree/d/e/f"),
        (CREATED, "/tree/new"),
    ]


def test_a_link_to_a_directory_is_not_walked(desk: Desk) -> None:
    desk.make("tree/a", "other/x")
    (desk.root / "tree/link").symlink_to("../other")
    (desk.root / "tree/loop").symlink_to(".")

    assert desk.walk(baselined=False) == [
        (SEEN, "/tree/a"),
        (SEEN, "/tree/link"),
        (SEEN, "/tree/loop"),
    ]


def test_a_root_that_is_a_link_is_told_as_one_and_said(desk: Desk) -> None:
    desk.make("other/x")
    (desk.root / "tree").symlink_to("other")

    assert desk.walk(baselined=False) == [(SEEN, "/tree")]
    assert desk.sweep.report.links == 1


def test_a_tree_that_is_one_file_is_that_file(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Tree("/etc/passwd"))
    desk.make("etc/passwd", "etc/shadow")

    first = desk.walk(baselined=False)
    desk.make("etc/passwd")
    second = desk.walk()
    (desk.root / "etc/passwd").unlink()

    assert first == [(SEEN, "/etc/passwd")]
    assert second == [(CHANGED, "/etc/passwd")]
    assert desk.walk() == [(REMOVED, "/etc/passwd")]
    desk.close()


def test_a_tree_that_vanishes_is_removed_file_by_file(desk: Desk) -> None:
    desk.make("tree/a", "tree/d/b")
    desk.walk(baselined=False)

    (desk.root / "tree").rename(desk.root / "elsewhere")

    assert desk.walk() == [(REMOVED, "/tree/a"), (REMOVED, "/tree/d/b")]
    assert desk.sweep.report.missing == 1


def test_what_the_settings_no_longer_name_is_forgotten_and_not_removed(desk: Desk) -> None:
    desk.make("tree/a", "tree/b.swp", "old/c")
    desk.use(Tree("/tree"), Tree("/old"))
    desk.walk(baselined=False)

    desk.use(Tree("/tree", exclude=("*.swp",)))
    narrowed = desk.walk()
    desk.use(Tree("/tree"), Tree("/old"))
    widened = desk.walk(baselined=False)

    assert narrowed == []
    assert widened == [(SEEN, "/old/c"), (SEEN, "/tree/b.swp")]


def test_each_star_is_any_directory_there(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Tree("/home/*/.ssh"))
    desk.make("home/ann/.ssh/authorized_keys", "home/bob/.ssh/config", "home/bob/x", "home/file")

    assert desk.walk(baselined=False) == [
        (SEEN, "/home/ann/.ssh/authorized_keys"),
        (SEEN, "/home/bob/.ssh/config"),
    ]
    assert list(roots_of(desk.host, b"/*/bob")) == [b"/home/bob"]
    assert list(roots_of(desk.host, b"/home/*")) == [b"/home/ann", b"/home/bob"]
    assert list(roots_of(desk.host, b"/missing/*")) == []
    desk.close()


def test_an_inner_tree_is_walked_once_by_its_own_rules(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Tree("/tree"), Tree("/tree/inner", recursive=False))
    desk.make("tree/a", "tree/inner/b", "tree/inner/deep/c")

    assert desk.walk(baselined=False) == [(SEEN, "/tree/a"), (SEEN, "/tree/inner/b")]
    assert desk.walk() == []
    desk.close()


def test_files_over_the_limit_are_counted_and_known_ones_stay_watched(tmp_path: Path) -> None:
    desk = Desk(tmp_path, entries_max=3)
    desk.make("tree/a", "tree/b", "tree/c")
    desk.walk(baselined=False)

    desk.make("tree/a", "tree/d", "tree/e")

    assert desk.walk() == [(CHANGED, "/tree/a")]
    assert desk.sweep.report.over == 2
    desk.close()


def test_directories_over_the_limit_are_not_taken_for_gone(tmp_path: Path) -> None:
    desk = Desk(tmp_path, entries_max=100)
    desk.make(*(f"tree/d{n}/f" for n in range(6)))
    desk.walk(baselined=False)

    desk.use(entries_max=3)
    told = desk.walk()

    assert told == []
    assert desk.sweep.report.unlisted
    desk.close()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize("broken", [b"/tree", b"/tree/d", b"/tree/d/e"])
def test_a_directory_that_cannot_be_listed_is_not_taken_for_gone(
    desk: Desk, broken: bytes, code: int
) -> None:
    desk.make("tree/a", "tree/d/e/b", "tree/d/e/f/c")
    desk.walk(baselined=False)

    desk.disk.fail(broken, code)
    during = desk.walk()
    unlisted = desk.sweep.report.unlisted
    desk.disk.mend()
    (desk.root / "tree/d/e/b").unlink()

    assert during == []
    assert unlisted == {broken}
    assert desk.walk() == [(REMOVED, "/tree/d/e/b")]


def test_a_directory_that_goes_before_it_is_listed_is_settled(desk: Desk) -> None:
    desk.make("tree/a", "tree/d/b")
    desk.walk(baselined=False)

    desk.disk.fail(b"/tree/d", errno.ENOENT)
    desk.disk.fail(b"/tree/d/b", errno.ENOENT)

    assert desk.walk() == [(REMOVED, "/tree/d/b")]


def test_a_file_that_cannot_be_asked_about_is_kept_when_its_tree_goes(desk: Desk) -> None:
    desk.make("tree/a", "old/b")
    desk.use(Tree("/tree"), Tree("/old"))
    desk.walk(baselined=False)
    desk.use(Tree("/tree"))

    desk.disk.fail(b"/old/b", errno.EIO)
    desk.walk()

    assert desk.looker.row(b"/old/b") is not None


def test_a_star_over_what_cannot_be_listed_is_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Tree("/home/*/x"))
    desk.make("home/ann/x")
    desk.disk.fail(b"/home", errno.EACCES)

    assert desk.walk(baselined=False) == []
    desk.close()


@pytest.mark.root
def test_another_file_system_in_a_tree_is_left_out(desk: Desk) -> None:
    desk.make("tree/a")
    (desk.root / "tree/mount").mkdir()
    command = ["mount", "-t", "tmpfs", "none", str(desk.root / "tree/mount")]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        desk.make("tree/mount/b")
        told = desk.walk(baselined=False)
    finally:
        subprocess.run(["umount", str(desk.root / "tree/mount")], check=True)

    assert told == [(SEEN, "/tree/a")]


def test_a_part_is_walked_alone(desk: Desk) -> None:
    desk.make("tree/a", "tree/d/b", "tree/d/e/c")
    desk.walk(baselined=False)
    desk.make("tree/a", "tree/d/b", "tree/d/new")
    (desk.root / "tree/d/e/c").unlink()
    (desk.root / "tree/d/e").rmdir()
    desk.looker.out = []

    for _ in desk.sweep.part(Place(b"/tree/d", 0, 1), is_baseline=False):
        pass

    assert sorted((kind.value, file.path) for kind, file in files_of(desk.looker.out)) == [
        ("file_changed", "/tree/d/b"),
        ("file_created", "/tree/d/new"),
        ("file_removed", "/tree/d/e/c"),
    ]


def test_names_of_any_bytes_are_walked(desk: Desk) -> None:
    (desk.root / "tree").mkdir()
    for name in (b"\xff", b"a\nb", b"\x01", "é".encode()):
        (desk.root / "tree" / os.fsdecode(name)).mkdir()
        (desk.root / "tree" / os.fsdecode(name) / os.fsdecode(name)).touch()

    first = desk.walk(baselined=False)

    assert len(first) == 4
    assert (SEEN, "/tree/\\xff/\\xff") in first
    assert desk.walk() == []


def test_a_walk_can_be_left_at_any_step_and_gives_its_descriptors_back(desk: Desk) -> None:
    desk.make("tree/a", "tree/d/b")
    before = set(Path("/proc/self/fd").iterdir())

    for count in range(12):
        walk = desk.sweep.everything(set())
        for _ in zip(range(count), walk, strict=False):
            pass
        walk.close()

    assert len(set(Path("/proc/self/fd").iterdir())) <= len(before)
