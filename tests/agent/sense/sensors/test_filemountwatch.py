"""A mount that concerns a tree is told once it has settled; any other is not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors.filemountwatch import SETTLE_NS, MountWatch
from runtime.clock import NS_PER_S
from tests.agent.sense.sensors.driving import no_more_descriptors
from tests.agent.sense.sensors.smallfs import an_own_file_system
from tests.fakes.clock import FakeClock


class Desk:
    """A watch that cares for what is mounted at one place."""

    def __init__(self, root: Path) -> None:
        self.place = root / "tree"
        self.clock = FakeClock()
        self.host = HostRoot("/")
        self.watch = MountWatch(self.host, self.clock, lambda p: p == str(self.place).encode())
        self.watch.open()

    def settled(self) -> bool:
        """Let changes settle and tell whether one concerned us."""
        changed = False
        for _ in range(3):
            changed |= self.watch.changed()
            self.clock.forward(SETTLE_NS / NS_PER_S)
        return changed


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.watch.close()
    made.host.close()


def test_a_mount_that_comes_and_one_that_goes_are_told_once(desk: Desk) -> None:
    with an_own_file_system(desk.place):
        come = desk.settled(), desk.settled()
    gone = desk.settled(), desk.settled()

    assert come == (True, False)
    assert gone == (True, False)


def test_a_mount_elsewhere_is_not_told(desk: Desk, tmp_path: Path) -> None:
    with an_own_file_system(tmp_path / "elsewhere"):
        assert not desk.settled()


def test_what_is_mounted_and_gone_before_it_settled_is_not_told(desk: Desk) -> None:
    with an_own_file_system(desk.place):
        desk.watch.changed()

    assert not desk.settled()


def test_while_a_change_settles_nothing_wakes_and_a_time_is_named(desk: Desk) -> None:
    with an_own_file_system(desk.place):
        desk.watch.changed()

        assert desk.watch.descriptors() == ()
        assert desk.watch.due() == desk.clock.boot_ns() + SETTLE_NS


def test_without_a_proc_or_a_descriptor_nothing_wakes(tmp_path: Path) -> None:
    with HostRoot(tmp_path) as bare, HostRoot("/") as host:
        watches = [MountWatch(root, FakeClock(), lambda _: True) for root in (bare, host)]
        watches[0].open()
        with no_more_descriptors():
            watches[1].open()

        assert [watch.descriptors() for watch in watches] == [(), ()]
        assert not any(watch.changed() for watch in watches)
        for watch in watches:
            watch.close()
