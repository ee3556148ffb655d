"""Full disks, read-only roots, no descriptors, no watches, wrong clocks, no rights: none of it ends
the file sensor, and what it costs is said."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.ports import Sighting
from agent.sense.sensors.files import FileSensor
from agent.sense.sensors.filetrees import FileSettings, Tree
from proto.model import HealthState, ObservationKind
from runtime.clock import NS_PER_S, SystemClock
from tests.agent.sense.sensors.driving import (
    drain,
    drops_of,
    files_of,
    no_more_descriptors,
)
from tests.agent.sense.sensors.smallfs import an_own_file_system
from tests.fakes.clock import FakeClock

YEAR_S = 366 * 24 * 3600


class Shifted(FakeClock):
    """A boot clock that moves when told, and a wall clock that somebody sets."""

    def __init__(self) -> None:
        super().__init__()
        self.off = 0

    def wall_ns(self) -> int:
        return SystemClock().wall_ns() + self.off


class Desk:
    """A tree, and a sensor whose state lies on a file system of its own."""

    def __init__(self, root: Path, state: Path, *, fanotify: bool = False) -> None:
        self.tree = root / "tree"
        self.tree.mkdir(exist_ok=True)
        self.clock = Shifted()
        self.host = HostRoot(root)
        settings = FileSettings(trees=(Tree("/tree"),), fanotify=fanotify)
        self.sensor = FileSensor(settings, self.host, self.clock, state / "files.db", own_pid=-1)

    def start(self, cursor: bytes = b"") -> list[Sighting]:
        self.sensor.start(cursor)
        return drain(self.sensor, self.clock)

    def later(self, seconds: float = 1) -> list[Sighting]:
        told = drain(self.sensor, self.clock)
        for _ in range(3):
            self.clock.forward(seconds)
            told += drain(self.sensor, self.clock)
        return told

    def close(self) -> None:
        self.sensor.stop()
        self.host.close()


@pytest.fixture(params=["inotify", "fanotify"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    with (
        an_own_file_system(tmp_path / "fs")
        if request.param == "fanotify"
        else (nullcontext(tmp_path)) as root
    ):
        (root / "state").mkdir()
        made = Desk(root, root / "state", fanotify=request.param == "fanotify")
        yield made
        made.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with an_own_file_system(tmp_path / "small", "size=4m") as where:
        yield where


def fill(disk: Path) -> None:
    """Leave no room on a small disk."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        while True:
            try:
                filler.write(bytes(4096))
            except OSError:
                return


def paths_of(told: list[Sighting]) -> set[str]:
    return {file.path for _, file in files_of(told)}


def test_a_disk_that_fills_under_the_state_silences_nothing_and_recovers(
    tmp_path: Path, small_disk: Path
) -> None:
    desk = Desk(tmp_path, small_disk)
    desk.start()
    fill(small_disk)
    for n in range(600):
        (desk.tree / f"{n}").write_bytes(b"%d" % n)
    during = desk.later()
    health = desk.sensor.health()
    swept = desk.later(601)
    (small_disk / "filler").unlink()
    (desk.tree / "after").touch()
    after = desk.later()
    sealed = desk.sensor.cursor()
    recovered = desk.sensor.health()
    again = desk.start(sealed)
    desk.close()

    assert paths_of(during) == {f"/tree/{n}" for n in range(600)}
    assert files_of(swept) == []
    assert health.state is HealthState.DEGRADED
    assert "restart will tell some files again" in health.reason
    assert paths_of(after) == {"/tree/after"}
    assert (recovered.state, recovered.reason) == (HealthState.OK, "")
    assert paths_of(again) == set()


def test_a_state_on_a_read_only_file_system_costs_memory_and_is_said(
    tmp_path: Path, small_disk: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    desk = Desk(tmp_path, small_disk)
    (desk.tree / "a").touch()

    first = desk.start()
    (desk.tree / "b").touch()
    second = desk.later()
    health = desk.sensor.health()
    desk.close()

    assert (paths_of(first), paths_of(second)) == ({"/tree/a"}, {"/tree/b"})
    assert health.state is HealthState.DEGRADED
    assert "the state is kept in memory only" in health.reason


def test_a_tree_on_a_read_only_file_system_is_sensed_like_any_other(
    tmp_path: Path, small_disk: Path
) -> None:
    (small_disk / "tree").mkdir()
    (small_disk / "tree/a").write_bytes(b"x")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    (tmp_path / "state").mkdir()
    desk = Desk(small_disk, tmp_path / "state", fanotify=True)

    told = desk.start()
    health = desk.sensor.health()
    desk.close()

    assert paths_of(told) == {"/tree/a"}
    assert health.state is HealthState.OK


def test_without_descriptors_nothing_is_lost_and_nothing_ends(desk: Desk) -> None:
    (desk.tree / "d").mkdir()
    desk.start()
    (desk.tree / "d/during").write_bytes(b"x")
    with no_more_descriptors():
        during = desk.later(0.2)
    told = during + desk.later() + desk.later(601)

    assert "/tree/d/during" in paths_of(told)
    assert desk.sensor.health().state is HealthState.OK
    assert not [kind for kind, _ in files_of(told) if kind is ObservationKind.FILE_REMOVED]


def test_a_start_without_descriptors_is_said_and_repairs_itself(desk: Desk) -> None:
    (desk.tree / "a").touch()
    with no_more_descriptors():
        desk.start()
        during = desk.sensor.health()
    told = desk.later(601)
    after = desk.sensor.health()

    assert during.state is not HealthState.OK
    assert "/tree/a" in paths_of(told)
    assert after.rung != ""


@pytest.mark.parametrize("years", [1, -1])
def test_a_wall_clock_that_jumps_a_year_tells_nothing_and_loses_nothing(
    desk: Desk, years: int
) -> None:
    (desk.tree / "a").write_bytes(b"x")
    desk.start()
    desk.clock.off = years * YEAR_S * NS_PER_S
    quiet = desk.later() + desk.later(601)
    (desk.tree / "b").write_bytes(b"y")
    told = desk.later()
    due = desk.sensor.due()
    again = desk.start(desk.sensor.cursor())

    assert files_of(quiet) == []
    assert drops_of(quiet) == []
    assert paths_of(told) == {"/tree/b"}
    assert due is not None
    assert due - desk.clock.boot_ns() <= 600 * NS_PER_S
    assert files_of(again) == []


def test_a_ctime_that_goes_back_is_a_change_like_any_other(desk: Desk) -> None:
    (desk.tree / "a").write_bytes(b"x")
    desk.start()
    older = desk.tree.parent / "older"
    older.write_bytes(b"y")
    (desk.tree / "a").write_bytes(b"x2")
    desk.later()

    older.replace(desk.tree / "a")  # whose ctime is that of the rename, whose mtime is older

    assert paths_of(desk.later()) == {"/tree/a"}


def test_suspended_time_brings_the_sweep_forward(desk: Desk) -> None:
    desk.start()
    due = desk.sensor.due()

    desk.clock.forward(8 * 3600)

    assert due is not None
    assert due <= desk.clock.boot_ns()
    assert drops_of(drain(desk.sensor, desk.clock)) == []


_SENSE = """
import os
import sys
from pathlib import Path
from agent.hostroot import HostRoot
from agent.sense.sensors.files import FileSensor
from agent.sense.sensors.filetrees import FileSettings, Tree
from runtime.clock import NS_PER_S, SystemClock
host = HostRoot(sys.argv[1])
os.chdir(sys.argv[2])
if len(sys.argv) > 3:
    os.setgroups([])
    os.setgid(int(sys.argv[3]))
    os.setuid(int(sys.argv[3]))
clock = SystemClock()
settings = FileSettings(trees=(Tree("/tree"),))
sensor = FileSensor(settings, host, clock, Path("files.db"), own_pid=-1)
sensor.start(b"")
told = 0
while (due := sensor.due()) is not None and due <= clock.boot_ns():
    told += len(sensor.poll(clock.boot_ns() + NS_PER_S))
print(told, sensor.health().state.value, sensor.health().rung, sensor.health().reason)
"""


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 125 or "unshare:" in done.stderr:
        pytest.skip(f"not permitted here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_user_without_watches_left_is_told_by_the_sweep(tmp_path: Path) -> None:
    for n in range(20):
        (tmp_path / f"tree/d{n}").mkdir(parents=True)
        (tmp_path / f"tree/d{n}/f").touch()
    (tmp_path / "state").mkdir()
    limited = 'echo 5 >/proc/sys/user/max_inotify_watches || exit 125; exec "$@"'
    said = _run(
        [
            *("unshare", "--user", "--map-root-user", "sh", "-c", limited, "sh"),
            *(sys.executable, "-c", _SENSE, str(tmp_path), str(tmp_path / "state")),
        ]
    )

    assert said.startswith("20 degraded inotify ")
    assert "the user's limit of inotify watches is reached" in said


@pytest.mark.root
def test_without_rights_it_sees_what_it_may_and_says_the_rest(tmp_path: Path) -> None:
    tree, state = tmp_path / "tree", tmp_path / "state"
    for path in (tree / "open", tree / "shut", state):
        path.mkdir(parents=True)
        (path / "f").touch()
    (tree / "open/secret").write_bytes(b"x")
    (tree / "open/secret").chmod(0o600)
    (tree / "shut").chmod(0o700)
    tmp_path.chmod(0o755)  # as is the root of a host; what lies above is held open
    said = _run([sys.executable, "-c", _SENSE, str(tmp_path), str(state), "65534"])

    assert said.startswith("2 degraded inotify ")
    assert "1 directories cannot be listed" in said
    assert "CAP_" in said
