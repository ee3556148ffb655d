"""Marks where permitted, watches elsewhere; events are gathered, and a flood is stepped out of."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors import fileevents
from agent.sense.sensors.fileevents import (
    BUSY_PERIOD_NS,
    BUSY_PERIODS_MAX,
    COALESCE_NS,
    COALESCE_NS_MAX,
    OVERFLOWS_MAX,
    RETRY_NS,
    FileEvents,
)
from agent.sense.sensors.filemarks import Own
from agent.sense.sensors.filetrees import FileSettings, Place, Scope, Tree
from runtime.clock import NS_PER_S
from tests.agent.sense.sensors.smallfs import an_own_file_system, mounted, unmounted
from tests.fakes.clock import FakeClock


class Desk:
    """A tree and its events."""

    def __init__(self, root: Path, *, fanotify: bool = True, watches_max: int = 100) -> None:
        self.root = root
        self.tree = root / "tree"
        self.tree.mkdir(exist_ok=True)
        self.own = root / "own"
        self.own.mkdir(exist_ok=True)
        self.clock = FakeClock()
        self.host = HostRoot("/")
        settings = FileSettings(
            trees=(Tree(str(self.tree)),), fanotify=fanotify, watches_max=watches_max
        )
        self.events = FileEvents(
            self.host, self.clock, Scope(settings.trees), settings, Own(-1, str(self.own))
        )
        self.events.open()
        self.sweep()

    def sweep(self) -> None:
        self.events.begin_sweep()
        fd = os.open(self.tree, os.O_RDONLY | os.O_DIRECTORY)
        self.events.add(fd, os.fstat(fd).st_dev, Place(os.fsencode(self.tree), 0))
        os.close(fd)
        self.events.end_sweep()

    def close(self) -> None:
        self.events.close()
        self.host.close()

    def read(self) -> set[str]:
        return {Path(os.fsdecode(path)).name for path in self.events.read().files}


@pytest.fixture
def own_root(tmp_path: Path) -> Iterator[Path]:
    with an_own_file_system(tmp_path / "fs") as where:
        yield where


@pytest.fixture
def desk(own_root: Path) -> Iterator[Desk]:
    made = Desk(own_root)
    if made.events.rung != "fanotify":
        made.close()
        pytest.skip(f"no marks here: {list(made.events.notes())}")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("fanotify", "watches_max", "rung"), [(False, 100, "inotify"), (False, 0, "sweep")]
)
def test_each_rung_has_its_name(
    tmp_path: Path, *, fanotify: bool, watches_max: int, rung: str
) -> None:
    desk = Desk(tmp_path, fanotify=fanotify, watches_max=watches_max)

    assert desk.events.rung == rung
    desk.close()


def test_a_marked_file_system_takes_no_watches(desk: Desk) -> None:
    assert desk.events.watches.count == 0
    assert list(desk.events.notes()) == []
    assert len(desk.events.descriptors()) == 3


def test_the_first_event_is_read_at_once_and_what_follows_is_gathered(desk: Desk) -> None:
    (desk.tree / "a").touch()
    first = desk.read()
    hidden = desk.events.descriptors()
    (desk.tree / "b").touch()
    early = desk.read()
    due = desk.events.due()
    desk.clock.forward(COALESCE_NS / NS_PER_S)
    late = desk.read()
    desk.clock.forward(COALESCE_NS / NS_PER_S)
    end = desk.read()

    assert (first, early, late, end) == ({"a"}, set(), {"b"}, set())
    assert len(hidden) == 2
    assert due == desk.clock.boot_ns() - COALESCE_NS
    assert desk.events.due() is None
    assert len(desk.events.descriptors()) == 3


def test_while_nothing_is_ours_events_are_gathered_longer_up_to_a_bound(desk: Desk) -> None:
    (desk.root / "foreign").mkdir()
    waits = []
    for n in range(8):
        (desk.root / f"foreign/{n}").touch()
        desk.read()
        waits.append((desk.events.due() or 0) - desk.clock.boot_ns())
        desk.clock.forward(waits[-1] / NS_PER_S)
    (desk.tree / "ours").touch()
    desk.read()

    assert waits == sorted(waits)
    assert waits[-1] == COALESCE_NS_MAX
    assert (desk.events.due() or 0) - desk.clock.boot_ns() == COALESCE_NS


def flood(desk: Desk, number: int) -> bool:
    """Make more events than a queue holds, read what is left and tell whether that was said."""
    limit = int(Path("/proc/sys/fs/fanotify/max_queued_events").read_text("ascii"))
    if limit > 100_000:
        pytest.skip(f"this host queues {limit} events")
    for n in range(limit + 1):
        os.link(desk.root / "link", desk.root / f"{number}-{n}")
    overflowed = False
    while True:
        desk.clock.forward(COALESCE_NS_MAX / NS_PER_S)
        changes = desk.events.read()
        overflowed |= changes.overflowed
        if not changes.seen or overflowed:
            return overflowed


def test_a_file_system_that_overflows_again_and_again_is_left_to_watches_and_tried_again(
    desk: Desk,
) -> None:
    (desk.root / "link").touch()
    floods = [flood(desk, n) for n in range(OVERFLOWS_MAX)]
    said, has_given_up = list(desk.events.notes()), desk.events.has_given_up
    desk.sweep()
    watched = desk.events.watches.count
    (desk.tree / "a").touch()
    by_watch = desk.read()
    desk.clock.forward(RETRY_NS / NS_PER_S + 1)
    desk.sweep()
    (desk.tree / "b").touch()

    assert all(floods)
    assert has_given_up
    assert not desk.events.has_given_up
    assert said == ["inotify instead of fanotify: the file systems are too busy"]
    assert (watched, by_watch) == (1, {"a"})
    assert desk.events.rung == "fanotify"
    assert list(desk.events.notes()) == []
    assert desk.read() == {"b"}


def test_a_file_system_that_keeps_us_busy_is_left_to_watches(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fileevents, "BUSY_EVENTS_A_SECOND", 10)
    (desk.root / "foreign").mkdir()
    gaps = []
    for n in range(BUSY_PERIODS_MAX + 1):
        for k in range(200):
            (desk.root / f"foreign/{n}-{k}").touch()
        gaps.append(desk.events.read().overflowed)
        desk.clock.forward(BUSY_PERIOD_NS / NS_PER_S)
        gaps.append(desk.events.read().overflowed)

    assert gaps.count(True) == 1
    assert list(desk.events.notes()) == [
        "inotify instead of fanotify: the file systems are too busy"
    ]


def test_a_file_system_that_cannot_be_marked_is_watched_and_said(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    mounted("tmpfs", tmp_path / "tree")
    unmounted(tmp_path / "tree")
    command = ["mount", "-t", "overlay", "-o", f"lowerdir={tmp_path}/lower:{tmp_path}/upper", "o"]
    subprocess.run([*command, str(tmp_path / "tree")], check=True)
    try:
        desk = Desk(tmp_path)
        rung, said = desk.events.rung, list(desk.events.notes())
        desk.close()
    finally:
        unmounted(tmp_path / "tree")

    assert rung == "inotify"
    assert said == [
        "inotify on 1 mounts instead of fanotify: an overlay has no upper directory in sight"
    ]


def test_our_own_state_directory_is_known_as_such(tmp_path: Path) -> None:
    desk = Desk(tmp_path, fanotify=False)

    assert desk.events.is_own(desk.own.stat())
    assert not desk.events.is_own(desk.tree.stat())
    desk.close()
