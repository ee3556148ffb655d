"""A watch for the replacement of one file wakes for that file."""

from pathlib import Path

from agent.hostroot import HostRoot
from agent.sense.sensors.replacewatch import ReplaceWatch
from tests.agent.sense.sensors.driving import no_more_descriptors


def a_watch(root: Path) -> ReplaceWatch:
    (root / "lib").mkdir(exist_ok=True)
    watch = ReplaceWatch(HostRoot(root), "/lib/status")
    watch.open()
    return watch


def test_a_rename_onto_the_file_is_told_once(tmp_path: Path) -> None:
    watch = a_watch(tmp_path)

    (tmp_path / "lib/status-new").write_bytes(b"x")
    before = watch.was_replaced()
    (tmp_path / "lib/status-new").rename(tmp_path / "lib/status")

    assert not before
    assert watch.was_replaced()
    assert not watch.was_replaced()
    watch.close()


def test_other_files_are_no_reason(tmp_path: Path) -> None:
    watch = a_watch(tmp_path)

    (tmp_path / "lib/other").write_bytes(b"x")
    (tmp_path / "lib/other").rename(tmp_path / "lib/else")

    assert not watch.was_replaced()
    watch.close()


def test_a_directory_that_goes_ends_the_watch_and_asks_for_a_look(tmp_path: Path) -> None:
    watch = a_watch(tmp_path)

    (tmp_path / "lib").rmdir()

    assert watch.was_replaced()
    assert watch.fileno() == -1
    assert not watch.was_replaced()


def test_without_the_directory_nothing_wakes(tmp_path: Path) -> None:
    watch = ReplaceWatch(HostRoot(tmp_path), "/missing/status")

    watch.open()

    assert watch.fileno() == -1
    watch.close()


def test_without_inotify_nothing_wakes(tmp_path: Path) -> None:
    watch = a_watch(tmp_path)

    with no_more_descriptors():
        watch.open()

    assert watch.fileno() == -1
    assert not watch.was_replaced()
