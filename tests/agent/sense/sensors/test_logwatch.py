"""Whoever follows logs is woken by lines and by rotations, and knows when he is not."""

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors.logfile import LogFile
from agent.sense.sensors.logwatch import LogWatch
from tests.agent.sense.sensors.driving import no_more_descriptors


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[LogWatch]:
    (tmp_path / "log").touch()
    made = LogWatch(HostRoot(tmp_path), ["/log"])
    made.open()
    yield made
    made.close()


def is_woken(watch: LogWatch) -> bool:
    return bool(select.select([watch.fileno()], [], [], 0)[0])


def opened(path: Path) -> LogFile:
    return LogFile(os.open(path, os.O_RDONLY))


def test_a_line_wakes_once(watch: LogWatch, tmp_path: Path) -> None:
    file = opened(tmp_path / "log")
    watch.watch_files([file])

    before = is_woken(watch)
    (tmp_path / "log").write_bytes(b"x\n")
    after = is_woken(watch)
    watch.drain()

    assert (before, after, is_woken(watch)) == (False, True, False)
    assert watch.is_whole
    file.close()


def test_a_new_file_in_the_directory_wakes(watch: LogWatch, tmp_path: Path) -> None:
    (tmp_path / "log").rename(tmp_path / "log.1")

    (tmp_path / "log").touch()

    assert is_woken(watch)


def test_a_file_no_longer_followed_does_not_wake(watch: LogWatch, tmp_path: Path) -> None:
    file = opened(tmp_path / "log")
    watch.watch_files([file])
    watch.watch_files([])
    watch.drain()

    (tmp_path / "log").write_bytes(b"x\n")

    assert not is_woken(watch)
    file.close()


def test_a_file_that_was_deleted_and_whose_inode_came_back_is_watched_again(
    watch: LogWatch, tmp_path: Path
) -> None:
    first = opened(tmp_path / "log")
    watch.watch_files([first])
    (tmp_path / "log").unlink()
    first.close()
    watch.drain()
    (tmp_path / "log").touch()
    second = opened(tmp_path / "log")

    watch.watch_files([second])
    watch.drain()
    (tmp_path / "log").write_bytes(b"x\n")

    assert is_woken(watch)
    second.close()


def test_a_directory_that_is_made_later_is_watched_then(tmp_path: Path) -> None:
    watch = LogWatch(HostRoot(tmp_path), ["/var/log/auth.log"])
    watch.open()
    before = watch.is_whole

    (tmp_path / "var/log").mkdir(parents=True)
    watch.watch_directories()
    (tmp_path / "var/log/auth.log").touch()

    assert not before
    assert watch.is_whole
    assert is_woken(watch)
    watch.close()


def test_closed_it_is_not_whole_and_nothing_breaks(watch: LogWatch) -> None:
    watch.close()

    watch.watch_directories()
    watch.watch_files([])
    watch.drain()

    assert not watch.is_whole
    assert watch.fileno() == -1


def test_without_inotify_it_is_not_whole(tmp_path: Path) -> None:
    watch = LogWatch(HostRoot(tmp_path), ["/log"])

    with no_more_descriptors():
        watch.open()

    assert not watch.is_whole
    watch.close()


def test_a_file_that_cannot_be_watched_makes_it_less_than_whole(
    watch: LogWatch, tmp_path: Path
) -> None:
    file = opened(tmp_path / "log")
    file.close()

    watch.watch_files([file])

    assert not watch.is_whole
