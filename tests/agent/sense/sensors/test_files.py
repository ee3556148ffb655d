"""The file sensor tells every change of its trees once, and says when it may have missed one."""

import hashlib
import os
import pwd
import select
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from msgspec import UNSET

from agent.hostroot import HostRoot
from agent.sense.match.packaged import LIKE_AGAIN, UNLIKE
from agent.sense.ports import POLL_SIGHTINGS_MAX, Ease, SensorHealth, Sighting
from agent.sense.sensors import fileevents
from agent.sense.sensors.filecontent import EASED
from agent.sense.sensors.fileevents import COALESCE_NS_MAX
from agent.sense.sensors.filelook import NOT_COMPARED
from agent.sense.sensors.files import EASED_SWEEPS, FileSensor
from agent.sense.sensors.filetrees import FileSettings, Tree
from proto.model import DropReason, HealthState, Observation, ObservationKind, User
from runtime.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from tests.agent.sense.sensors.dpkghost import DpkgHost
from tests.agent.sense.sensors.driving import drain, drops_of, files_of, is_readable
from tests.agent.sense.sensors.smallfs import an_own_file_system, unmounted
from tests.fakes.clock import FakeClock

SEEN, CREATED = ObservationKind.FILE_SEEN, ObservationKind.FILE_CREATED
CHANGED, REMOVED = ObservationKind.FILE_CHANGED, ObservationKind.FILE_REMOVED


class TrueWall(FakeClock):
    """A boot clock that moves when told, beside the wall clock that files are stamped with."""

    def wall_ns(self) -> int:
        return SystemClock().wall_ns()


class Slow(FakeClock):
    """A clock on which every glance costs a millisecond."""

    def boot_ns(self) -> int:
        self.boot += NS_PER_MS
        return self.boot


class Host:
    """A host with a tree at /tree, and one sensor on it at a time."""

    def __init__(self, root: Path, **changes: object) -> None:
        self.root = root / "host"
        self.tree = self.root / "tree"
        self.tree.mkdir(parents=True)
        self.state = root / "files.db"
        defaults: dict[str, object] = {"trees": (Tree("/tree"),), "fanotify": False}
        self.settings = FileSettings(**defaults | changes)  # type: ignore[arg-type]
        self.clock: FakeClock = TrueWall()
        self.host = HostRoot(self.root)
        self.sensor = self.a_sensor()

    def a_sensor(self) -> FileSensor:
        return FileSensor(self.settings, self.host, self.clock, self.state, own_pid=-1)

    def close(self) -> None:
        self.sensor.stop()
        self.host.close()

    def start(self, cursor: bytes = b"") -> list[Sighting]:
        self.sensor.stop()
        self.sensor = self.a_sensor()
        self.sensor.start(cursor)
        return drain(self.sensor, self.clock)

    def later(self, seconds: float = 0.2) -> list[Sighting]:
        """Read the events, let them gather and settle, and return what is told then."""
        told = drain(self.sensor, self.clock)
        self.clock.forward(COALESCE_NS_MAX / NS_PER_S)
        told += drain(self.sensor, self.clock)
        self.clock.forward(seconds)
        return told + drain(self.sensor, self.clock)

    def write(self, name: str, data: bytes = b"x") -> None:
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@pytest.fixture(params=["inotify", "fanotify"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    is_marked = request.param == "fanotify"
    with an_own_file_system(tmp_path / "fs") if is_marked else nullcontext(tmp_path) as root:
        made = Host(root, fanotify=is_marked)
        yield made
        made.close()


def said(told: list[Sighting]) -> list[tuple[ObservationKind, str]]:
    return sorted(
        ((kind, file.path) for kind, file in files_of(told)), key=lambda s: (s[1], s[0].value)
    )


def test_what_was_there_before_us_is_seen_with_its_hash_and_no_gap_is_claimed(host: Host) -> None:
    host.write("known", b"bad")

    told = host.start()
    ((kind, file),) = files_of(told)

    assert len(told) == 1
    assert (kind, file.sha256) == (SEEN, hashlib.sha256(b"bad").digest())
    assert host.sensor.health().state is HealthState.OK
    assert host.sensor.health().rung in {"inotify", "fanotify"}


def test_after_a_restart_only_differences_are_told_and_the_gap_is_said(host: Host) -> None:
    host.write("same")
    host.write("old")
    host.write("gone")
    host.start()
    host.sensor.stop()
    host.write("old", b"other")
    (host.tree / "gone").unlink()
    host.write("new")

    told = host.start(host.sensor.cursor())
    (drop,) = drops_of(told)

    assert told[0] is drop
    assert said(told) == [(REMOVED, "/tree/gone"), (CREATED, "/tree/new"), (CHANGED, "/tree/old")]
    assert drop.reason is DropReason.SOURCE_GAP
    assert drop.first is not None
    assert drop.last is not None
    assert drop.first < drop.last
    assert drop.detail == "the sensor was not running; all trees are compared again"


def test_a_new_file_wakes_the_loop_and_is_told_once_it_has_settled(host: Host) -> None:
    host.start()

    host.write("new", b"eicar")
    woken = is_readable(host.sensor)
    early = drain(host.sensor, host.clock)
    due = host.sensor.due()
    host.clock.forward(0.1)
    told = drain(host.sensor, host.clock)

    assert woken
    assert early == []
    assert due is not None
    assert due - host.clock.boot_ns() <= 0
    ((kind, file),) = files_of(told)
    assert (kind, file.sha256) == (CREATED, hashlib.sha256(b"eicar").digest())


def test_many_events_of_one_file_are_one_change(host: Host) -> None:
    host.write("file")
    host.start()

    for n in range(20):
        host.write("file", b"%d" % n)
    told = host.later()

    assert said(told) == [(CHANGED, "/tree/file")]


def test_a_tree_that_is_dropped_in_at_once_is_told_whole(host: Host) -> None:
    host.start()

    for name in ("a", "d/b", "d/e/f/c", "d/e/f/d"):
        host.write(name)
    told = host.later()
    host.write("d/e/f/late")

    assert said(told) == [
        (CREATED, "/tree/a"),
        (CREATED, "/tree/d/b"),
        (CREATED, "/tree/d/e/f/c"),
        (CREATED, "/tree/d/e/f/d"),
    ]
    assert said(host.later()) == [(CREATED, "/tree/d/e/f/late")]


def test_a_rename_is_one_file_gone_and_another_come(host: Host) -> None:
    host.write("a", b"x")
    host.write("d/b", b"y")
    host.start()

    (host.tree / "a").rename(host.tree / "z")
    (host.tree / "d").rename(host.tree / "e")
    told = host.later()
    host.write("e/after")

    assert said(told) == [
        (REMOVED, "/tree/a"),
        (REMOVED, "/tree/d/b"),
        (CREATED, "/tree/e/b"),
        (CREATED, "/tree/z"),
    ]
    assert said(host.later()) == [(CREATED, "/tree/e/after")]


def test_a_directory_removed_and_made_again_is_watched_again(host: Host) -> None:
    host.write("d/a")
    host.start()

    shutil.rmtree(host.tree / "d")
    gone = host.later()
    host.write("d/b")
    come = host.later()
    host.write("d/c")

    assert said(gone) == [(REMOVED, "/tree/d/a")]
    assert said(come) == [(CREATED, "/tree/d/b")]
    assert said(host.later()) == [(CREATED, "/tree/d/c")]


def test_a_root_removed_and_made_again_is_watched_again(host: Host) -> None:
    host.write("a")
    host.start()

    shutil.rmtree(host.tree)
    gone = host.later()
    host.write("b")
    come = host.later()
    host.write("c")

    assert said(gone) == [(REMOVED, "/tree/a")]
    assert said(come) == [(CREATED, "/tree/b")]
    assert said(host.later()) == [(CREATED, "/tree/c")]


def test_a_root_that_comes_later_is_new_and_found_without_the_sweep(tmp_path: Path) -> None:
    host = Host(tmp_path, trees=(Tree("/late"),))
    told = host.start()
    blind = host.sensor.health()

    (host.root / "late").mkdir()
    (host.root / "late/file").touch()
    found = host.later()
    host.clock.forward(601)
    drain(host.sensor, host.clock)

    assert told == []
    assert (blind.state, blind.reason) == (HealthState.BLIND, "none of the trees exists")
    assert said(found) == [(CREATED, "/late/file")]
    assert host.sensor.health().state is HealthState.OK
    host.close()


def test_a_single_file_is_watched_through_its_replacements(tmp_path: Path) -> None:
    host = Host(tmp_path, trees=(Tree("/tree/passwd"),))
    host.write("passwd", b"1")
    host.start()

    host.write("passwd+", b"2")
    (host.tree / "passwd+").replace(host.tree / "passwd")
    replaced = host.later()
    host.write("passwd", b"3")

    assert said(replaced) == [(CHANGED, "/tree/passwd")]
    assert said(host.later()) == [(CHANGED, "/tree/passwd")]
    host.close()


def test_the_sweep_finds_what_made_no_event(host: Host) -> None:
    host.write("open")
    host.start()

    with (host.tree / "open").open("ab", buffering=0) as file:
        file.write(b"never closed")
        before = host.later()
        host.clock.forward(600)
        after = drain(host.sensor, host.clock)

    assert before == []
    assert said(after) == [(CHANGED, "/tree/open")]


def test_an_overflow_is_a_declared_gap_and_repaired_at_once(host: Host) -> None:
    limit = max(
        int(Path(f"/proc/sys/fs/{kind}/max_queued_events").read_text("ascii"))
        for kind in ("inotify", "fanotify")
    )
    if limit > 100_000:
        pytest.skip(f"this host queues {limit} events")
    host.write("a")
    host.start()

    for n in range(limit + 8):
        os.link(host.tree / "a", host.tree / f"{n}")
    host.write("hidden/in/the/flood")
    told = host.later()

    assert [d.detail for d in drops_of(told)] == [
        "more events than could be taken; all trees are compared again"
    ]
    assert (CREATED, "/tree/hidden/in/the/flood") in said(told)
    assert not [s for s in said(host.later(601)) if s[1].startswith("/tree/hidden")]


def test_marks_that_others_keep_too_busy_are_a_degradation(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.start()
    if "fanotify" not in host.sensor.health().rung:
        pytest.skip(f"no marks here: {host.sensor.health().reason}")
    before = host.sensor.health().state
    monkeypatch.setattr(fileevents, "BUSY_EVENTS_A_SECOND", 0)
    monkeypatch.setattr(fileevents, "BUSY_PERIODS_MAX", 1)

    for n in range(3):
        host.write(f"{n}")
        host.later(11)

    health = host.sensor.health()
    assert (before, health.state) == (HealthState.OK, HealthState.DEGRADED)
    assert "too busy" in health.reason


def test_without_watches_the_sweep_alone_tells_and_says_so(tmp_path: Path) -> None:
    host = Host(tmp_path, watches_max=0)
    host.start()
    host.write("new")

    told = host.later(601)
    health = host.sensor.health()

    assert said(told) == [(CREATED, "/tree/new")]
    assert host.sensor.descriptors() == ()
    assert (health.state, health.rung) == (HealthState.DEGRADED, "sweep")
    assert "events are switched off" in health.reason
    host.close()


def test_a_limit_of_watches_or_files_degrades_and_says_so(tmp_path: Path) -> None:
    host = Host(tmp_path, watches_max=2, entries_max=4)
    for n in range(4):
        host.write(f"d{n}/f")
        host.write(f"g{n}")

    host.start()
    health = host.sensor.health()

    assert health.state is HealthState.DEGRADED
    assert "more directories than 2 watches" in health.reason
    assert "over the limit of 4" in health.reason
    assert health.dropped > 0
    host.close()


def test_health_does_not_change_while_a_sweep_is_going_on(tmp_path: Path) -> None:
    host = Host(tmp_path, watches_max=2)
    for n in range(4):
        host.write(f"d{n}/f")
    host.start()
    host.clock.forward(601)

    healths: list[SensorHealth] = []
    while (due := host.sensor.due()) is not None and due <= host.clock.boot_ns():
        host.sensor.poll(0)
        healths.append(host.sensor.health())

    assert {(h.state, h.reason) for h in healths} == {
        (
            HealthState.DEGRADED,
            "sweep only for some directories: more directories than 2 watches",
        )
    }
    assert len(healths) > 4
    host.close()


def test_a_flood_of_new_directories_hides_no_file(host: Host) -> None:
    host.start()

    told: list[Sighting] = []
    for n in range(400):
        (host.tree / f"d{n}").mkdir()
        (host.tree / f"d{n}/f").touch()
        if n == 50:
            host.write("evil")
        host.clock.forward(0.01)
        told += host.sensor.poll(0)
        if ("/tree/evil") in {path for _, path in said(told)}:
            break

    assert n < 399


def test_what_was_not_sealed_is_told_again_the_same(host: Host) -> None:
    host.write("a")
    host.start()
    sealed = host.sensor.cursor()
    host.write("a", b"one")
    told = host.later()
    host.write("a", b"two")
    (host.tree / "b").touch()
    told += host.later()
    (host.tree / "b").unlink()
    told += host.later()

    again = host.start(sealed)

    assert again[: len(told)] == told
    assert files_of(again[len(told) :]) == []
    assert files_of(host.start(host.sensor.cursor())) == []


def test_a_crash_in_the_middle_of_the_baseline_goes_on_with_it(host: Host) -> None:
    for n in range(600):
        host.write(f"f{n}")
    host.sensor.start(b"")
    first = list(host.sensor.poll(host.clock.boot_ns() + NS_PER_S))
    sealed = host.sensor.cursor()
    host.sensor.poll(host.clock.boot_ns() + NS_PER_S)

    rest = host.start(sealed)

    assert 0 < len(first) < POLL_SIGHTINGS_MAX
    assert said(first + rest) == [
        (SEEN, path) for path in sorted(f"/tree/f{n}" for n in range(600))
    ]


def test_a_poll_ends_soon_after_its_deadline_and_always_moves_on(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.clock = Slow()
    for n in range(50):
        host.write(f"f{n}", os.urandom(600_000) if n == 25 else b"x")
    host.sensor = host.a_sensor()
    host.sensor.start(b"")

    polls, told, longest = 0, 0, 0
    while host.sensor.due() == 0 or not polls:
        began = host.clock.boot
        told += len(host.sensor.poll(began + 5 * NS_PER_MS))
        longest = max(longest, host.clock.boot - began)
        polls += 1

    assert told == 50
    assert polls > 10
    assert longest <= 12 * NS_PER_MS
    host.close()


def test_a_damaged_state_is_moved_aside_said_and_built_anew(host: Host) -> None:
    host.write("a")
    host.start()
    sealed = host.sensor.cursor()
    host.sensor.stop()
    host.state.write_bytes(b"damage" * 5000)

    told = host.start(sealed)

    assert [d.detail.partition(":")[0] for d in drops_of(told)] == ["the state was damaged"]
    assert said(told) == [(SEEN, "/tree/a")]
    assert host.state.with_name("files.db.damaged").exists()


def test_damage_found_while_in_use_costs_a_gap_and_no_change(host: Host) -> None:
    for name in ("a", "b"):
        host.write(name)
    host.start()
    sealed = host.sensor.cursor()
    host.sensor.stop()
    with sqlite3.connect(host.state) as db:
        db.execute("UPDATE rows SET value = x'c1'")
    db.close()
    host.write("a", b"other")

    told = host.start(sealed)
    ((kind, path), *_) = said(told)

    assert [d.detail for d in drops_of(told)] == [
        "the sensor was not running; all trees are compared again",
        "the state was damaged: a row cannot be read; all trees are compared again",
    ]
    assert (kind, path) == (SEEN, "/tree/a")
    assert [path for _, path in said(told)] == ["/tree/a", "/tree/b"]
    assert host.sensor.health().state is HealthState.OK
    assert files_of(host.start(host.sensor.cursor())) == []


def test_a_disk_that_is_full_silences_nothing_and_says_so(tmp_path: Path) -> None:
    host = Host(tmp_path, state_bytes_max=1 << 20)
    host.start()
    for n in range(3000):
        (host.tree / f"{n:0>200}").touch()

    told = host.later()
    health = host.sensor.health()

    assert len(files_of(told)) == 3000
    assert health.state is HealthState.DEGRADED
    assert "restart will tell some files again" in health.reason
    assert files_of(host.later(601)) == []
    host.close()


def test_other_trees_in_the_settings_tell_no_file_as_created_or_removed(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.write("a")
    (host.root / "other").mkdir()
    (host.root / "other/b").touch()
    host.start()
    host.settings = FileSettings(trees=(Tree("/other"),))

    told = host.start(host.sensor.cursor())

    assert said(told) == [(SEEN, "/other/b")]
    host.close()


def test_idle_it_asks_for_nothing_until_the_sweep(tmp_path: Path) -> None:
    host = Host(tmp_path)  # a mark would hear of the whole machine, which is not idle
    host.start()

    due = host.sensor.due()

    assert due is not None
    interval = host.settings.sweep_interval_s * NS_PER_S
    assert host.clock.boot_ns() < due <= host.clock.boot_ns() + interval
    # At a multiple, so that it wakes together with the others.
    assert due % interval == 0
    host.close()


def test_not_started_it_is_blind_and_harmless(host: Host) -> None:
    assert host.sensor.due() is None
    assert host.sensor.poll(0) == ()
    assert host.sensor.health().state is HealthState.BLIND
    host.sensor.stop()
    host.sensor.stop()


def test_this_hosts_own_files_are_seen_whoever_we_are(tmp_path: Path) -> None:
    clock = SystemClock()
    sensor = FileSensor(
        FileSettings(trees=(Tree("/etc"),)), HostRoot("/"), clock, tmp_path / "files.db"
    )
    sensor.start(b"")

    told = files_of(drain(sensor, clock, slice_ns=500 * NS_PER_MS))
    sensor.stop()

    assert len(told) > 10
    assert {kind for kind, _ in told} == {SEEN}


def test_something_mounted_over_a_tree_is_found_without_waiting_for_the_sweep(
    tmp_path: Path,
) -> None:
    with an_own_file_system(tmp_path / "fs"):
        pass  # or skipped
    clock = SystemClock()
    (tmp_path / "tree/cron").mkdir(parents=True)
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil/job").touch()
    settings = FileSettings(trees=(Tree(str(tmp_path / "tree")),), fanotify=False)
    with HostRoot("/") as root:
        sensor = FileSensor(settings, root, clock, tmp_path / "files.db")
        sensor.start(b"")
        drain(sensor, clock)
        subprocess.run(
            ["mount", "--bind", str(tmp_path / "evil"), str(tmp_path / "tree/cron")],
            check=True,
        )
        try:
            woken = is_readable(sensor)
            told = until_told(sensor, clock, tmp_path / "tree/cron/job")
        finally:
            unmounted(tmp_path / "tree/cron")
            sensor.stop()

    assert woken
    assert told.kind is CREATED


def verdicts_of(told: list[Sighting]) -> list[tuple[str, str]]:
    return [(file.path, ", ".join(file.caveats)) for _, file in files_of(told) if file.caveats]


def test_a_modified_packaged_program_is_said_once_and_so_is_its_repair(tmp_path: Path) -> None:
    host = Host(tmp_path)
    packages = DpkgHost(host.root)
    packages.install("p", {"tree/bin": b"good", "tree/other": b"x"})
    told = [verdicts_of(host.start())]

    packages.write("tree/bin", b"evil")
    told += [verdicts_of(host.later()), verdicts_of(host.later(601))]
    told.append(verdicts_of(host.start(host.sensor.cursor())))
    packages.write("tree/bin", b"good")
    told += [verdicts_of(host.later()), verdicts_of(host.later(601))]

    assert told == [
        [],
        [("/tree/bin", UNLIKE)],
        [],
        [],
        [("/tree/bin", LIKE_AGAIN)],
        [],
    ]
    host.close()


def test_a_program_modified_before_us_is_said_with_the_baseline(tmp_path: Path) -> None:
    host = Host(tmp_path)
    packages = DpkgHost(host.root)
    packages.install("p", {"tree/bin": b"good"})
    packages.write("tree/bin", b"evil")

    told = host.start()

    assert [(kind, file.package) for kind, file in files_of(told)] == [(SEEN, "p")]
    assert verdicts_of(told) == [("/tree/bin", UNLIKE)]
    host.close()


def test_an_upgrade_blames_nobody_and_what_it_left_is_judged_when_it_has_ended(
    tmp_path: Path,
) -> None:
    host = Host(tmp_path)
    packages = DpkgHost(host.root)
    packages.install("p", {"tree/a": b"1", "tree/b": b"1"})
    host.start()

    (packages.dpkg / "updates/0001").touch()
    packages.write("tree/a", b"2")
    packages.write("tree/b", b"evil")
    during = host.later() + host.later(20)
    packages.list("p", {"tree/a": b"2", "tree/b": b"2"})
    (packages.dpkg / "updates/0001").unlink()
    after = host.later(20) + host.later(20)

    assert {word for _, word in verdicts_of(during)} == {NOT_COMPARED}
    assert verdicts_of(after) == [("/tree/b", UNLIKE)]
    assert host.sensor.due() != 0
    host.close()


def until_told(sensor: FileSensor, clock: Clock, path: Path) -> Observation:
    """Poll in real time until a file is told."""
    give_up = clock.boot_ns() + 20 * NS_PER_S
    while clock.boot_ns() < give_up:
        for seen in drain(sensor, clock):
            if isinstance(seen, Observation) and getattr(seen.subject.value, "path", "") == str(
                path
            ):
                return seen
        select.select(sensor.descriptors(), [], [], 0.05)
    raise AssertionError(f"{path} was not told")


@pytest.fixture
def marked(tmp_path: Path) -> Iterator[FileSensor]:
    """A sensor in real time on a mark, whose next sweep is far away."""
    (tmp_path / "own").mkdir()
    with an_own_file_system(tmp_path / "tree"), HostRoot("/") as root:
        settings = FileSettings(trees=(Tree(str(tmp_path / "tree")),), sweep_interval_s=86_400)
        sensor = FileSensor(settings, root, SystemClock(), tmp_path / "own/files.db")
        sensor.start(b"")
        drain(sensor, SystemClock())
        if sensor.health().rung != "fanotify":
            pytest.skip(f"no marks here: {sensor.health().reason}")
        yield sensor
        sensor.stop()


def test_who_changed_a_file_is_told_with_user_and_program(
    marked: FileSensor, tmp_path: Path
) -> None:
    made = tmp_path / "tree/made"
    code = "import sys; sys.stdin.read(1); open(sys.argv[1], 'w').close(); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(made)], stdin=subprocess.PIPE, bufsize=0
    ) as child:
        assert child.stdin is not None
        drain(marked, SystemClock())
        child.stdin.write(b"x")
        process = until_told(marked, SystemClock(), made).process
        child.stdin.close()

    if process is None:
        pytest.skip("process numbers are not the host's own here")
    assert process.pid == child.pid
    assert process.user == User(uid=os.getuid(), name=accounts_name(os.getuid()))
    assert process.argv[-1] == str(made)


def test_what_we_change_ourselves_is_left_to_the_sweep(marked: FileSensor, tmp_path: Path) -> None:
    (tmp_path / "tree/mine").touch()
    with subprocess.Popen(["touch", str(tmp_path / "tree/theirs")]):
        pass

    until_told(marked, SystemClock(), tmp_path / "tree/theirs")

    assert files_of(drain(marked, SystemClock())) == []


def accounts_name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


class Changes(RuleBasedStateMachine):
    """Files come, change, move and go between polls, seals, sweeps, crashes and restarts."""

    NAMES = ("a", "b", "d/a", "d/b", "d/e/a")
    MARKS = False

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.host = Host(Path(self.directory.name), fanotify=self.MARKS)
        self.sealed: list[Sighting] = []
        self.waiting: list[Sighting] = self.host.start()
        self.cursor = b""
        self.writes = 0

    @rule(name=st.sampled_from(NAMES))
    def write(self, name: str) -> None:
        self.writes += 1
        if (self.host.tree / name).is_dir() or any(
            parent.is_file() for parent in (self.host.tree / name).parents
        ):
            return
        self.host.write(name, b"%d" % self.writes)

    @rule(name=st.sampled_from((*NAMES, "d", "d/e")))
    def remove(self, name: str) -> None:
        path = self.host.tree / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    @rule(name=st.sampled_from(("a", "d", "d/e")), to=st.sampled_from(("b", "x", "d/b")))
    def move(self, name: str, to: str) -> None:
        source, target = self.host.tree / name, self.host.tree / to
        if source.exists() and target.parent.is_dir() and source not in target.parents:
            if target.is_dir() or (target.exists() and source.is_dir()):
                return
            source.rename(target)

    @rule()
    def glance(self) -> None:
        self.waiting += drain(self.host.sensor, self.host.clock)

    @rule()
    def settle(self) -> None:
        self.waiting += self.host.later()

    @rule()
    def sweep(self) -> None:
        self.waiting += self.host.later(601)

    @rule()
    def seal(self) -> None:
        self.sealed += self.waiting
        self.waiting = []
        self.cursor = self.host.sensor.cursor()

    @rule()
    def crash(self) -> None:
        self.waiting = self.host.start(self.cursor)

    @rule()
    def stop(self) -> None:
        self.host.sensor.stop()
        self.seal()
        self.waiting = self.host.start(self.cursor)

    def teardown(self) -> None:
        self.settle()
        self.sweep()
        self.host.close()
        known: dict[str, object] = {}
        for kind, file in files_of(self.sealed + self.waiting):
            assert (file.path in known) == (kind in {CHANGED, REMOVED}), (kind, file.path)
            known[file.path] = file.sha256
            if kind is REMOVED:
                del known[file.path]
        there = {
            f"/{path.relative_to(self.host.root)}": hashlib.sha256(path.read_bytes()).digest()
            for path in self.host.tree.rglob("*")
            if path.is_file()
        }
        self.directory.cleanup()
        assert known == there


Changes.TestCase.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
TestChanges = Changes.TestCase


class MarkedChanges(Changes):
    """The same, heard of through a mark on the file system."""

    MARKS = True


MarkedChanges.TestCase.settings = Changes.TestCase.settings
TestMarkedChanges = MarkedChanges.TestCase


def test_over_budget_nothing_new_is_hashed_and_all_of_it_is_once_that_is_over(host: Host) -> None:
    host.write("old", b"1")
    host.start()
    host.sensor.ease(Ease.NO_HASHING)
    host.write("new", b"2")

    ((kind, hurried),) = files_of(host.later())
    assert (kind, hurried.sha256, hurried.caveats) == (CREATED, UNSET, (EASED,))
    assert host.sensor.health().state is HealthState.DEGRADED
    assert "over budget: files are not hashed" in host.sensor.health().reason

    host.sensor.ease(Ease.NORMAL)

    told = [file for _, file in files_of(host.later(3))]
    assert [(f.path, f.sha256) for f in told] == [("/tree/new", hashlib.sha256(b"2").digest())]
    assert host.sensor.health().state is HealthState.OK


def test_over_budget_sweeps_are_rarer(host: Host) -> None:
    host.start()
    host.sensor.ease(Ease.SLOWER)
    interval = host.settings.sweep_interval_s
    host.clock.forward(interval)
    drain(host.sensor, host.clock)

    due = host.sensor.due()

    assert due is not None
    assert interval * NS_PER_S < due - host.clock.boot_ns() <= EASED_SWEEPS * interval * NS_PER_S
    assert due % (EASED_SWEEPS * interval * NS_PER_S) == 0
