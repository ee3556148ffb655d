"""One mark hears of every directory of a file system, and asks to look at those in the trees."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors import filemarks
from agent.sense.sensors.filemarks import Marks, Own
from agent.sense.sensors.filetrees import Place, Scope, Tree
from agent.sense.sensors.filewatch import Changes
from tests.agent.sense.sensors.driving import no_more_descriptors
from tests.agent.sense.sensors.smallfs import an_own_file_system, mounted, unmounted

NOBODY = -1


class Desk:
    """A host on a file system of its own, and the marks on it."""

    def __init__(self, root: Path, *trees: Tree) -> None:
        self.root = root
        self.tree = root / "tree"
        self.tree.mkdir(exist_ok=True)
        (root / "own").mkdir(exist_ok=True)
        self.host = HostRoot("/")
        self.scope = Scope(trees or (Tree(str(self.tree), exclude=("*.tmp", "skip")),))
        self.marks = Marks(self.host, self.scope, Own(NOBODY, str(root / "own")))
        self.marks.open()

    def close(self) -> None:
        self.marks.close()
        self.host.close()

    def add(self, path: Path, number: int = 0, depth: int = 0) -> bool:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            place = Place(os.fsencode(path), number, depth)
            return self.marks.add(fd, os.fstat(fd).st_dev, place)
        finally:
            os.close(fd)

    def add_parent(self, root: Path) -> bool:
        fd = os.open(root.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            return self.marks.cover_parent(fd, Place(os.fsencode(root), 0))
        finally:
            os.close(fd)

    def read(self) -> tuple[set[str], set[str]]:
        """Return which files and which places are to be looked at, below our root."""
        changes = self.marks.read()
        assert not changes.overflowed
        return self.below(changes.files), self.below(changes.places)

    def below(self, paths: dict[bytes, Place]) -> set[str]:
        return {os.fsdecode(path).removeprefix(f"{self.root}/") for path in paths}


@pytest.fixture
def own_root(tmp_path: Path) -> Iterator[Path]:
    with an_own_file_system(tmp_path / "fs") as where:
        yield where


@pytest.fixture
def desk(own_root: Path) -> Iterator[Desk]:
    made = Desk(own_root)
    if not made.add(made.tree):
        made.close()
        pytest.skip(f"no marks here: {made.marks.problem} {made.marks.refusals()}")
    yield made
    made.close()


def test_every_kind_of_change_anywhere_below_is_told(desk: Desk) -> None:
    (desk.tree / "deep/down").mkdir(parents=True)
    (desk.tree / "deep/down/gone").touch()
    (desk.tree / "deep/down/mode").touch()
    (desk.tree / "out").touch()
    (desk.root / "in").touch()
    desk.read()

    (desk.tree / "deep/down/new").write_bytes(b"x")
    (desk.tree / "deep/down/gone").unlink()
    (desk.tree / "deep/down/mode").chmod(0o600)
    (desk.root / "in").rename(desk.tree / "in")
    (desk.tree / "out").rename(desk.root / "out")

    files, places = desk.read()
    assert files == {
        "tree/deep/down/new",
        "tree/deep/down/gone",
        "tree/deep/down/mode",
        "tree/in",
        "tree/out",
    }
    assert places == set()


def test_what_is_outside_the_trees_or_left_out_is_thrown_away(desk: Desk) -> None:
    (desk.root / "elsewhere").mkdir()
    (desk.tree / "skip").mkdir()
    desk.read()

    (desk.root / "elsewhere/a").touch()
    (desk.root / "tree2").mkdir()
    (desk.root / "tree2/a").touch()
    (desk.tree / "skip/a").touch()
    (desk.tree / "a.tmp").touch()
    changes = desk.marks.read()

    assert (changes.files, changes.places) == ({}, {})
    assert changes.seen > 0


def test_a_maze_outside_the_trees_too_deep_for_any_path_is_thrown_away(desk: Desk) -> None:
    (desk.root / "maze").mkdir()
    deep = a_maze_in(desk.root / "maze", 150)
    desk.read()

    os.close(os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=deep))
    os.close(deep)

    assert desk.read() == (set(), set())


def test_a_path_in_a_tree_too_long_to_be_told_is_a_gap(desk: Desk) -> None:
    desk.read()
    os.close(a_maze_in(desk.tree, 25))

    assert desk.marks.read().overflowed


def a_maze_in(directory: Path, depth: int) -> int:
    """Make directories within each other; return a descriptor of the last one."""
    fd = os.open(directory, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d" * 200, dir_fd=fd)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    return fd


def test_a_directory_that_comes_goes_or_moves_is_walked(desk: Desk) -> None:
    (desk.tree / "a/b").mkdir(parents=True)
    (desk.root / "c/d").mkdir(parents=True)
    (desk.root / "c/d/file").touch()
    desk.read()

    (desk.tree / "a").rename(desk.tree / "z")
    (desk.root / "c").rename(desk.tree / "c")
    (desk.tree / "made").mkdir()
    _, moved = desk.read()
    (desk.tree / "c/d/file").write_bytes(b"x")
    (desk.tree / "z/b/file").touch()
    files, _ = desk.read()

    assert moved == {"tree/a", "tree/z", "tree/c", "tree/made"}
    assert files == {"tree/c/d/file", "tree/z/b/file"}


def test_a_foreign_directory_that_was_known_and_moves_in_is_ours_from_then_on(desk: Desk) -> None:
    (desk.root / "x/y").mkdir(parents=True)
    (desk.root / "x/y/f").touch()
    before = desk.read()

    (desk.root / "x").rename(desk.tree / "x")
    desk.read()
    (desk.tree / "x/y/f").chmod(0o600)

    assert before == (set(), set())
    assert desk.read() == ({"tree/x/y/f"}, set())


def test_a_directory_that_moves_out_is_not_ours_any_more(desk: Desk) -> None:
    (desk.tree / "x").mkdir()
    (desk.tree / "x/f").touch()
    desk.read()

    (desk.tree / "x").rename(desk.root / "x")
    desk.read()
    (desk.root / "x/f").chmod(0o600)

    assert desk.read() == (set(), set())


def test_a_root_or_anything_above_it_that_moves_is_walked(own_root: Path) -> None:
    (own_root / "srv/app/conf").mkdir(parents=True)
    desk = Desk(own_root, Tree(str(own_root / "srv/app/conf")), Tree(str(own_root / "srv/app/x")))
    if not desk.add(own_root / "srv/app/conf"):
        pytest.skip("no marks here")
    desk.add_parent(own_root / "srv/app/x")

    (own_root / "srv/app").rename(own_root / "srv/old")
    _, gone = desk.read()
    (own_root / "srv/app/conf").mkdir(parents=True)
    (own_root / "srv/app/x").mkdir()
    _, come = desk.read()
    desk.add(own_root / "srv/app/conf")
    (own_root / "srv/app/conf/f").touch()
    files, _ = desk.read()
    desk.close()

    assert gone == {"srv/app/conf", "srv/app/x"}
    assert come == {"srv/app/conf", "srv/app/x"}
    assert files == {"srv/app/conf/f"}


def test_a_root_that_is_a_file_is_told_by_its_name(own_root: Path) -> None:
    desk = Desk(own_root, Tree(str(own_root / "tree/passwd")))
    if not desk.add_parent(own_root / "tree/passwd"):
        pytest.skip("no marks here")

    (desk.tree / "other").touch()
    (desk.tree / "passwd").touch()

    assert desk.read() == (set(), {"tree/passwd"})
    desk.close()


def test_a_root_reached_through_a_link_is_told_under_its_own_name(own_root: Path) -> None:
    (own_root / "run/x").mkdir(parents=True)
    (own_root / "var").symlink_to("run")
    desk = Desk(own_root, Tree(str(own_root / "var/x")))
    if not desk.add(own_root / "var/x"):
        pytest.skip("no marks here")

    (own_root / "run/x/f").touch()

    assert desk.read() == ({"var/x/f"}, set())
    desk.close()


def test_a_root_that_is_another_mount_of_the_same_file_system_is_told_under_its_name(
    desk: Desk,
) -> None:
    (desk.root / "data/www").mkdir(parents=True)
    where = desk.root / "tree/www"
    where.mkdir()
    subprocess.run(
        ["mount", "--bind", str(desk.root / "data/www"), str(where)],
        check=True,
    )
    try:
        desk.marks.read_mounts()
        is_told = desk.add(where, depth=1)
        desk.read()
        (desk.root / "data/www/f").touch()
        files, _ = desk.read()
    finally:
        unmounted(where)

    assert is_told
    assert files == {"tree/www/f"}


def test_changes_in_an_overlay_are_told_through_its_upper_directory(own_root: Path) -> None:
    for name in ("lower/d", "upper", "work"):
        (own_root / name).mkdir(parents=True)
    (own_root / "lower/d/f").write_bytes(b"x")
    merged = own_root / "merged"
    options = f"lowerdir={own_root}/lower,upperdir={own_root}/upper,workdir={own_root}/work"
    mounted("overlay", merged, options)
    try:
        desk = Desk(own_root, Tree(str(merged)))
        if not desk.add(merged):
            pytest.skip(f"no marks here: {desk.marks.refusals()}")
        overlays = desk.marks.overlays()
        with (merged / "d/f").open("ab") as file:
            file.write(b"y")
        changed, _ = desk.read()
        with (merged / "d/f").open("ab") as file:
            file.write(b"z")
        again, _ = desk.read()
        (merged / "d/new").touch()
        (merged / "d/f").unlink()
        more, _ = desk.read()
        desk.close()
    finally:
        unmounted(merged)

    assert overlays == [str(merged)]
    assert changed == {"merged/d/f"}
    assert again == {"merged/d/f"}
    assert more == {"merged/d/f", "merged/d/new"}


def test_a_file_system_without_handles_is_refused_and_said() -> None:
    with HostRoot("/") as host:
        marks = Marks(host, Scope((Tree("/proc/sys"),)), Own(NOBODY, "/nowhere"))
        marks.open()
        fd = os.open("/proc/sys", os.O_RDONLY | os.O_DIRECTORY)
        is_told = marks.add(fd, os.fstat(fd).st_dev, Place(b"/proc/sys", 0))
        os.close(fd)
        said = marks.problem or marks.refusals()
        marks.close()

    assert not is_told
    assert said


def test_our_own_process_and_our_own_state_are_not_told(desk: Desk) -> None:
    desk.marks.close()
    desk.marks = Marks(desk.host, desk.scope, Own(os.getpid(), str(desk.root / "own")))
    desk.marks.open()
    desk.add(desk.tree)

    (desk.tree / "mine").touch()
    by_us = desk.marks.read()
    subprocess.run(["touch", str(desk.root / "own/state")], check=True)
    of_ours = desk.marks.read()

    assert by_us.files == {}
    assert of_ours == Changes()


def test_who_did_it_is_told(desk: Desk) -> None:
    (desk.tree / "f").touch()

    changes = desk.marks.read()

    assert changes.pids == {os.fsencode(desk.tree / "f"): os.getpid()}


def test_of_several_who_changed_a_file_the_last_is_told_and_that_they_were_several(
    desk: Desk,
) -> None:
    path = os.fsencode(desk.tree / "f")
    (desk.tree / "f").touch()
    with subprocess.Popen(["touch", str(desk.tree / "f")]) as other:
        pass

    changes = desk.marks.read()

    assert changes.pids[path] == other.pid
    assert changes.shared == {path}


def test_a_full_queue_is_told_as_such(desk: Desk) -> None:
    limit = int(Path("/proc/sys/fs/fanotify/max_queued_events").read_text("ascii"))
    if limit > 100_000:
        pytest.skip(f"this host queues {limit} events")
    for n in range(limit + 1):
        (desk.root / f"{n}").touch()

    overflowed = False
    while (changes := desk.marks.read()).seen:
        overflowed |= changes.overflowed

    assert overflowed


def test_without_a_descriptor_to_follow_a_handle_with_something_may_be_lost(desk: Desk) -> None:
    (desk.tree / "d").mkdir()
    desk.read()
    (desk.tree / "d/f").touch()

    with no_more_descriptors():
        changes = desk.marks.read()

    assert changes.overflowed


def test_no_more_directories_are_remembered_than_the_limit(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filemarks, "DIRECTORIES_MAX", 4)
    told: set[str] = set()
    for n in range(20):
        (desk.tree / f"d{n}").mkdir()
        (desk.root / f"e{n}").mkdir()
        desk.read()
    for n in range(20):
        (desk.tree / f"d{n}/f").touch()
        (desk.root / f"e{n}/f").touch()
    told, _ = desk.read()

    assert told == {f"tree/d{n}/f" for n in range(20)}


def test_a_file_system_with_a_tree_can_be_unmounted(own_root: Path) -> None:
    desk = Desk(own_root)
    if not desk.add(desk.tree):
        pytest.skip("no marks here")
    (desk.tree / "f").touch()
    desk.read()

    unmounted(own_root)
    mounted("tmpfs", own_root)

    assert desk.marks.read().files == {}
    desk.close()


def test_a_mount_that_is_gone_while_its_file_system_lives_on_is_said_once(
    own_root: Path,
) -> None:
    for name in ("data", "foreign"):
        (own_root / name).mkdir()
    where = own_root.parent / "outside"
    where.mkdir()
    desk = Desk(own_root, Tree(str(where)))
    command = ["mount", "--bind", str(own_root / "data"), str(where)]
    subprocess.run(command, check=True)
    desk.marks.read_mounts()
    is_told = desk.add(where)
    unmounted(where)
    said = []
    for n in range(3):
        (own_root / f"foreign/{n}").touch()
        said.append(desk.marks.read().overflowed)
    subprocess.run(command, check=True)
    desk.marks.read_mounts()
    desk.add(where)
    (where / "f").touch()
    files = desk.marks.read().files
    unmounted(where)
    desk.close()

    assert is_told
    assert said == [True, False, False]
    assert set(files) == {os.fsencode(where / "f")}


def test_unprivileged_there_is_no_mark_and_it_is_said(tmp_path: Path) -> None:
    code = f"""
import os
from agent.hostroot import HostRoot
from agent.sense.sensors.filemarks import Marks, Own
from agent.sense.sensors.filetrees import Place, Scope, Tree
marks = Marks(HostRoot("/"), Scope((Tree("/"),)), Own(-1, {str(tmp_path)!r}))
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
marks.open()
fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
assert not marks.add(fd, os.fstat(fd).st_dev, Place(b"/", 0))
assert marks.fileno() == -1
print(marks.problem or marks.refusals())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)

    assert "missing" in done.stdout or "needs" in done.stdout or "not permitted" in done.stdout


@pytest.mark.root
@pytest.mark.parametrize(
    ("held", "said"),
    [
        ("+sys_admin", "CAP_DAC_READ_SEARCH is missing"),
        ("+dac_read_search", "needs CAP_SYS_ADMIN"),
        ("+sys_admin,+dac_read_search", "{}"),
    ],
)
def test_the_right_that_is_missing_is_named(held: str, said: str) -> None:
    code = """
import os
from agent.hostroot import HostRoot
from agent.sense.sensors.filemarks import Marks, Own
from agent.sense.sensors.filetrees import Place, Scope, Tree
marks = Marks(HostRoot("/"), Scope((Tree("/"),)), Own(-1, "/nowhere"))
marks.open()
fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
marks.add(fd, os.fstat(fd).st_dev, Place(b"/", 0))
print(marks.problem or marks.refusals())
"""
    words = ["setpriv", "--reuid", "65534", "--clear-groups", "--inh-caps", held]
    words += ["--ambient-caps", held, sys.executable, "-c", code]
    try:
        done = subprocess.run(words, capture_output=True, check=False, text=True)
    except OSError as error:
        pytest.skip(f"no setpriv here: {error}")
    if "not in" in done.stderr or "PermissionError" in done.stderr:
        pytest.skip(f"not permitted here: {done.stderr}")

    assert said in done.stdout, done.stderr
