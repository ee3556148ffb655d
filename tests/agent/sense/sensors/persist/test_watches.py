"""What moves in a reader's directories wakes that reader, and a lost event wakes all."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors import inotify
from agent.sense.sensors.persist.watches import ReaderWatches
from tests.agent.sense.sensors.driving import no_more_descriptors

ALL = ("a", "b")


@pytest.fixture
def watches(tmp_path: Path) -> Iterator[ReaderWatches]:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    made = ReaderWatches(HostRoot(tmp_path), 2)
    made.open()
    yield made
    made.close()


def test_the_readers_of_a_directory_are_woken_and_no_others(
    watches: ReaderWatches, tmp_path: Path
) -> None:
    watches.watch("a", ["/one"])
    watches.watch("b", ["/one", "/two"])

    (tmp_path / "two/x").touch()
    two = watches.read(ALL)
    (tmp_path / "one/x").touch()

    assert two == {"b"}
    assert watches.read(ALL) == {"a", "b"}
    assert watches.read(ALL) == set()


def test_a_directory_that_nobody_uses_wakes_nobody(watches: ReaderWatches, tmp_path: Path) -> None:
    watches.watch("a", ["/one"])
    watches.watch("a", ["/two", "/gone"])
    watches.read(ALL)

    (tmp_path / "one/x").touch()

    assert watches.read(ALL) == set()


def test_a_directory_that_goes_wakes_its_readers(watches: ReaderWatches, tmp_path: Path) -> None:
    watches.watch("a", ["/one"])

    (tmp_path / "one").rmdir()

    assert watches.read(ALL) == {"a"}


def test_a_lost_event_wakes_everyone(
    watches: ReaderWatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = inotify.Event(-1, inotify.OVERFLOW, b"")
    monkeypatch.setattr(inotify.Inotify, "read", lambda self: [lost])

    assert watches.read(ALL) == {"a", "b"}


def test_more_directories_than_watches_are_said(watches: ReaderWatches, tmp_path: Path) -> None:
    (tmp_path / "three").mkdir()
    watches.watch("a", ["/one", "/two", "/three"])

    assert "more directories" in watches.problem


def test_without_inotify_nothing_wakes_and_it_is_said(tmp_path: Path) -> None:
    made = ReaderWatches(HostRoot(tmp_path), 2)
    with no_more_descriptors():
        made.open()
    made.watch("a", ["/"])

    assert made.fileno() == -1
    assert "no inotify" in made.problem
    assert made.read(ALL) == set()


def test_none_are_opened_where_none_are_wanted(tmp_path: Path) -> None:
    made = ReaderWatches(HostRoot(tmp_path), 0)
    made.open()

    assert (made.fileno(), made.problem) == (-1, "")


def test_a_limit_of_the_user_is_said(
    watches: ReaderWatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: inotify.Inotify, _fd: int, _mask: int) -> int:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(inotify.Inotify, "add", refuse)
    watches.watch("a", ["/one"])

    assert watches.problem == "no watch: No space left on device"
