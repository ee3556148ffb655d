"""Entries are stated once, then what came, went and changed; nothing lost, nothing twice."""

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from agent.hostroot import HostRoot
from agent.sense import mechanisms
from agent.sense.ports import Sighting
from agent.sense.sensors.persist.readers import READERS
from agent.sense.sensors.persist.settings import PersistenceSettings
from agent.sense.sensors.persistence import PersistenceSensor
from proto import model
from proto.model import (
    Change,
    Drop,
    DropReason,
    HealthState,
    InventoryItem,
    Login,
    Observation,
    ObservationKind,
    Persistence,
)
from tests.agent.sense.sensors.driving import drain
from tests.agent.sense.sensors.persist.looking import as_nobody, put
from tests.agent.sense.sensors.sessions import a_record
from tests.fakes.clock import FakeClock

ROOT = "root:x:0:0::/root:/bin/sh\n"


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class Host:
    """A host of a few files, and one sensor on it at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root / "host"
        self.put("/etc/passwd", ROOT)
        self.state = root / "persistence.db"
        self.clock = FakeClock()
        self.host = HostRoot(self.root)
        self.settings = PersistenceSettings()
        self.sensor = self.a_sensor()

    def a_sensor(self) -> PersistenceSensor:
        return PersistenceSensor(self.settings, self.host, self.clock, self.state)

    def put(self, path: str, data: str | bytes = "", mode: int = 0o644) -> Path:
        """Replace a file as a careful program does: never seen half written."""
        new = put(self.root, f"{path}.new", data, mode)
        place = new.with_suffix("")
        new.replace(place)
        return place

    def start(self, cursor: bytes = b"") -> list[Sighting]:
        self.sensor.stop()
        self.sensor = self.a_sensor()
        self.sensor.start(cursor)
        return drain(self.sensor, self.clock)

    def later(self, seconds: float = 61) -> list[Sighting]:
        self.clock.forward(seconds)
        return drain(self.sensor, self.clock)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.sensor.stop()
    made.host.close()


def said(told: list[Sighting]) -> list[tuple[object, str, str]]:
    """Return change or kind, mechanism and name of each sighting of an entry."""
    found: list[tuple[object, str, str]] = []
    for seen in told:
        assert isinstance(seen, InventoryItem | Observation)
        what: object = seen.change if isinstance(seen, InventoryItem) else seen.kind
        entity = seen.item if isinstance(seen, InventoryItem) else seen.subject
        assert isinstance(entity.value, Persistence)
        found.append((what, entity.value.mechanism, entity.value.name))
    return found


def kinds(told: list[Sighting]) -> list[tuple[ObservationKind, str]]:
    """Return kind and name of each observation."""
    return [
        (seen.kind, seen.subject.value.name)
        for seen in told
        if isinstance(seen, Observation) and isinstance(seen.subject.value, Persistence)
    ]


def test_the_first_look_states_what_stands_and_no_change(host: Host) -> None:
    host.put("/etc/crontab", "@daily root run\n")

    told = host.start()

    assert said(told) == [
        (Change.PRESENT, "user", "root"),
        (ObservationKind.ACCOUNT_SEEN, "user", "root"),
        (Change.PRESENT, "cron_job", "@daily"),
        (ObservationKind.PERSISTENCE_SEEN, "cron_job", "@daily"),
    ]


def test_what_comes_changes_and_goes_is_told(host: Host) -> None:
    host.put("/etc/profile.d/a.sh", "1")
    host.put("/etc/profile.d/b.sh", "1")
    host.start()

    host.put("/etc/profile.d/a.sh", "2")
    (host.root / "etc/profile.d/b.sh").unlink()
    host.put("/etc/profile.d/c.sh", "1")

    assert kinds(host.later()) == [
        (ObservationKind.PERSISTENCE_REMOVED, "b.sh"),
        (ObservationKind.PERSISTENCE_CHANGED, "a.sh"),
        (ObservationKind.PERSISTENCE_ADDED, "c.sh"),
    ]
    assert host.later() == []


def test_the_inventory_says_the_same_as_the_observations(host: Host) -> None:
    host.put("/etc/profile.d/a.sh", "1")
    host.start()

    host.put("/etc/profile.d/a.sh", "2")
    host.put("/etc/profile.d/c.sh", "1")
    changes = [
        (seen.change, seen.item.value.name)
        for seen in host.later()
        if isinstance(seen, InventoryItem) and isinstance(seen.item.value, Persistence)
    ]

    assert changes == [
        (Change.REMOVED, "a.sh"),
        (Change.ADDED, "a.sh"),
        (Change.ADDED, "c.sh"),
    ]


def test_an_account_is_told_by_the_kinds_named_for_accounts(host: Host) -> None:
    host.start()

    host.put("/etc/passwd", ROOT + "toor:x:0:0::/:/bin/sh\n")
    added = host.later()
    host.put("/etc/passwd", ROOT + "toor:x:0:0::/:/bin/bash\n")
    changed = host.later()
    host.put("/etc/passwd", ROOT + "toor:x:5:0::/:/bin/bash\n")
    other = host.later()

    assert kinds(added) == [(ObservationKind.ACCOUNT_ADDED, "toor")]
    assert kinds(changed) == [(ObservationKind.ACCOUNT_CHANGED, "toor")]
    assert kinds(other) == [
        (ObservationKind.ACCOUNT_REMOVED, "toor"),
        (ObservationKind.ACCOUNT_ADDED, "toor"),
    ]


def test_an_event_is_heard_before_the_interval(host: Host) -> None:
    host.put("/etc/cron.d/a", "@daily root a\n")
    host.start()
    host.clock.forward(30)
    drain(host.sensor, host.clock)

    host.put("/etc/cron.d/b", "@hourly root b\n")
    at_once = drain(host.sensor, host.clock)
    settled = host.later(3)

    assert at_once == []
    assert kinds(settled) == [(ObservationKind.PERSISTENCE_ADDED, "@hourly")]


def test_a_directory_that_is_written_all_the_time_does_not_keep_us_busy(host: Host) -> None:
    host.start()
    looked = []
    for _ in range(40):
        put(host.root, "/etc/busy", "x")
        drain(host.sensor, host.clock)
        looked.append(host.sensor.health().last_success)
        host.clock.forward(1)

    assert len(set(looked)) <= 6


def test_when_it_happened_is_the_stamp_of_the_file(host: Host) -> None:
    host.start()

    file = host.put("/etc/cron.d/b", "@hourly root b\n")
    seen = [one for one in host.later() if isinstance(one, Observation)]

    assert [one.event_time for one in seen] == [file.stat().st_ctime_ns]


def test_an_unchanged_host_says_nothing_after_a_restart(host: Host) -> None:
    host.put("/etc/crontab", "@daily root run\n")
    host.start()

    assert host.start(host.sensor.cursor()) == []


def test_changes_while_away_are_told_at_the_next_start(host: Host) -> None:
    host.start()
    sealed = host.sensor.cursor()
    host.sensor.stop()

    host.put("/etc/crontab", "@daily root run\n")

    assert kinds(host.start(sealed)) == [(ObservationKind.PERSISTENCE_ADDED, "@daily")]


def test_what_was_not_sealed_is_told_again_the_same(host: Host) -> None:
    host.start()
    sealed = host.sensor.cursor()
    host.put("/etc/crontab", "@daily root run\n")
    told = host.later()

    assert told
    assert host.start(sealed) == told
    assert host.start(host.sensor.cursor()) == []


def test_a_kill_at_any_step_loses_nothing_and_tells_the_rest_as_standing(host: Host) -> None:
    names = [f"j{number}.sh" for number in range(20)]
    for name in names:
        host.put(f"/etc/profile.d/{name}", name)
    sealed, told = b"", []
    for _ in range(10_000):
        host.sensor.stop()
        host.sensor = host.a_sensor()
        host.sensor.start(sealed)
        new: list[Sighting] = []
        while not new and (due := host.sensor.due()) is not None and due <= host.clock.boot_ns():
            new += host.sensor.poll(host.clock.boot_ns() - 1)  # a single step
        if not new:
            break
        told += new
        sealed = host.sensor.cursor()
        host.clock.forward(61)

    seen = kinds(told)
    assert sorted(name for _, name in seen) == sorted([*names, "root"])
    assert {kind for kind, _ in seen} == {
        ObservationKind.PERSISTENCE_SEEN,
        ObservationKind.ACCOUNT_SEEN,
    }


def test_a_source_that_cannot_be_read_keeps_its_entries(host: Host) -> None:
    host.put("/etc/cron.d/a", "@daily root a\n")
    host.start()

    (host.root / "etc/cron.d/a").unlink()
    os.mkfifo(host.root / "etc/cron.d/a")
    blind = host.later()
    health = host.sensor.health()
    (host.root / "etc/cron.d/a").unlink()
    gone = host.later()

    assert blind == []
    assert health.state is HealthState.DEGRADED
    assert "/etc/cron.d/a is neither a file nor a directory" in health.reason
    assert kinds(gone) == [(ObservationKind.PERSISTENCE_REMOVED, "@daily")]


def test_an_empty_file_of_accounts_is_a_problem_and_no_mass_removal(host: Host) -> None:
    host.start()
    host.put("/etc/passwd", "")

    assert host.later() == []
    assert host.sensor.health().state is HealthState.BLIND


def test_what_we_lacked_the_right_to_read_at_first_has_not_come_when_we_get_it(
    host: Host,
) -> None:
    sudoers = host.put("/etc/sudoers", "a ALL=ALL\n", 0o600)
    host.sensor.start(b"")
    with as_nobody():
        drain(host.sensor, host.clock)
    blind = host.sensor.health()
    host.put("/etc/sudoers", "a ALL=ALL\nb ALL=ALL\n", 0o600)
    first = kinds(host.later())
    sudoers.write_text("a ALL=ALL\nc ALL=ALL\n")

    assert "/etc/sudoers permission denied" in blind.reason
    assert first == [
        (ObservationKind.PERSISTENCE_SEEN, "a"),
        (ObservationKind.PERSISTENCE_SEEN, "b"),
    ]
    assert (ObservationKind.PERSISTENCE_ADDED, "c") in kinds(host.later())


def test_a_right_that_is_lost_later_makes_nothing_old(host: Host) -> None:
    host.put("/etc/sudoers", "a ALL=ALL\n", 0o600)
    host.start()
    host.put("/etc/sudoers", "a ALL=ALL\nb ALL=ALL\n", 0o600)
    with as_nobody():
        hidden = host.later()

    assert hidden == []
    assert kinds(host.later()) == [(ObservationKind.PERSISTENCE_ADDED, "b")]


def test_a_damaged_state_is_set_aside_said_and_all_is_stated_again(host: Host) -> None:
    host.put("/etc/crontab", "@daily root run\n")
    host.start()
    sealed = host.sensor.cursor()
    host.sensor.stop()
    host.state.write_bytes(b"damage" * 1000)

    drop, *rest = host.start(sealed)

    assert isinstance(drop, Drop)
    assert drop.reason is DropReason.SOURCE_GAP
    assert {what for what, _, _ in said(rest)} == {
        Change.PRESENT,
        ObservationKind.ACCOUNT_SEEN,
        ObservationKind.PERSISTENCE_SEEN,
    }
    assert host.state.with_name("persistence.db.damaged").exists()


def test_damage_found_while_in_use_is_said_and_all_is_stated_again(host: Host) -> None:
    host.start()
    sealed = host.sensor.cursor()
    host.sensor.stop()
    with sqlite3.connect(host.state) as db:
        db.execute("UPDATE rows SET value = x'c1' WHERE key >= x'693a' AND key < x'693b'")
    db.close()
    host.put("/etc/crontab", "@daily root run\n")

    drop, *rest = host.start(sealed)

    assert isinstance(drop, Drop)
    assert drop.detail == (
        "the state was damaged: a row cannot be read; all entries are stated again"
    )
    assert len(rest) == 4


def test_all_is_stated_again_at_the_full_interval_and_on_demand(host: Host) -> None:
    host.put("/etc/crontab", "@daily root run\n")
    host.start()
    host.clock.forward(86_401)
    daily = drain(host.sensor, host.clock)
    none = host.later()
    host.sensor.restate()
    asked = drain(host.sensor, host.clock)
    host.sensor.restate()
    too_soon = drain(host.sensor, host.clock)

    again = [(Change.PRESENT, "user", "root"), (Change.PRESENT, "cron_job", "@daily")]
    assert said(daily) == again
    assert none == []
    assert said(asked) == again
    assert too_soon == []


def test_files_with_special_rights_are_looked_for_after_a_while_and_daily(host: Host) -> None:
    host.put("/usr/bin/su", "su", 0o4755)
    first = host.start()
    early = host.sensor.health()
    found = host.later(301)
    late = host.sensor.health()
    host.put("/tmp/rootshell", "sh", 0o4755)
    hourly = host.later(3600)
    daily = [one for one in kinds(host.later(86_400)) if one[1] != "root"]

    assert [name for _, name in kinds(first)] == ["root"]
    assert (early.state, "not looked for yet" in early.reason) == (HealthState.OK, True)
    assert kinds(found) == [(ObservationKind.PERSISTENCE_SEEN, "su")]
    assert (late.state, late.reason) == (HealthState.OK, "")
    assert hourly == []
    assert daily == [(ObservationKind.PERSISTENCE_ADDED, "rootshell")]


def test_nothing_new_waits_for_a_long_walk(host: Host) -> None:
    for number in range(40):
        host.put(f"/srv/{number}/su", "su", 0o4755)
    host.start()
    host.clock.forward(301)
    for _ in range(30):  # the look, and the walk's beginning
        assert list(host.sensor.poll(host.clock.boot_ns() - 1)) == []

    host.put("/etc/crontab", "@daily root run\n")
    told = kinds(host.later())

    assert told[0] == (ObservationKind.PERSISTENCE_ADDED, "@daily")
    assert len(told) == 41


def test_what_is_packaged_says_so(host: Host) -> None:
    host.put("/var/lib/dpkg/info/cron.list", "/etc/cron.d/a\n")
    host.put("/var/lib/dpkg/info/cron.md5sums", "")
    host.put("/etc/cron.d/a", "@daily root a\n")

    items = [seen.item.value for seen in host.start() if isinstance(seen, InventoryItem)]

    assert [
        (item.name, item.package, item.caveats) for item in items if isinstance(item, Persistence)
    ] == [("root", None, ()), ("@daily", "cron", (mechanisms.UNVERIFIED,))]


def test_what_dpkg_is_working_on_is_told_when_it_has_ended(host: Host) -> None:
    info = "/var/lib/dpkg/info/cron"
    host.put(f"{info}.list", "/etc/x\n")
    host.start()
    busy = put(host.root, "/var/lib/dpkg/updates/0001")
    host.put("/etc/cron.d/a", "@daily root a\n")
    host.put("/etc/passwd", ROOT + "cron:x:100:100::/:/bin/sh\n")

    while_at_work = kinds(host.later(61))
    host.put(f"{info}.list", "/etc/x\n/etc/cron.d/a\n")
    host.put(f"{info}.md5sums", f"{md5(b'@daily root a' + bytes([10]))}  etc/cron.d/a\n")
    busy.unlink()
    told = host.later(16)

    assert while_at_work == [(ObservationKind.ACCOUNT_ADDED, "cron")]
    assert kinds(told) == [(ObservationKind.PERSISTENCE_ADDED, "@daily")]
    (item,) = (seen.item.value for seen in told if isinstance(seen, InventoryItem))
    assert isinstance(item, Persistence)
    assert (item.package, item.caveats) == ("cron", ())


def test_whoever_feigns_dpkg_at_work_wins_minutes(host: Host) -> None:
    host.start()
    put(host.root, "/var/lib/dpkg/updates/0001")
    host.put("/etc/cron.d/a", "@daily root a\n")

    told = [kinds(host.later(61)) for _ in range(11)]

    assert told[:10] == [[]] * 10
    assert told[10] == [(ObservationKind.PERSISTENCE_ADDED, "@daily")]


def test_logins_that_are_recorded_are_told_once(host: Host) -> None:
    wtmp = put(host.root, "/var/log/wtmp", a_record("before"))
    host.start()
    with wtmp.open("ab") as file:
        file.write(a_record("alice", address="203.0.113.9"))

    told = host.later()

    (seen,) = told
    assert isinstance(seen, Observation)
    assert seen.kind is ObservationKind.LOGIN
    assert isinstance(seen.subject.value, Login)
    assert seen.subject.value.remote_address == "203.0.113.9"
    assert seen.source.rung == "wtmp"
    assert host.start(host.sensor.cursor()) == []


def test_a_login_record_that_was_cut_is_a_gap(host: Host) -> None:
    wtmp = put(host.root, "/var/log/wtmp", a_record("before"))
    host.start()
    os.truncate(wtmp, 0)

    (drop,) = host.later()

    assert isinstance(drop, Drop)
    assert "was cut from 384 to 0 bytes" in drop.detail


def test_more_entries_than_are_kept_are_counted_and_nothing_is_taken_for_gone(host: Host) -> None:
    host.settings = PersistenceSettings(items_max=2)
    host.put("/etc/crontab", "@daily root a\n@daily root b\n@daily root c\n")
    host.start()
    over = host.sensor.health()
    host.put("/etc/crontab", "@daily root c\n@daily root b\n@daily root a\n")

    later = kinds(host.later())

    assert (over.dropped, "1 entries over the limit" in over.reason) == (1, True)
    assert all(kind is not ObservationKind.PERSISTENCE_REMOVED for kind, _ in later)


def test_a_host_of_nothing_is_seen_and_empty(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    clock = FakeClock()
    root = HostRoot(tmp_path / "host")
    sensor = PersistenceSensor(PersistenceSettings(), root, clock, tmp_path / "p.db")

    assert sensor.poll(0) == ()
    assert sensor.health().state is HealthState.BLIND
    sensor.start(b"")
    assert drain(sensor, clock) == []
    health = sensor.health()
    sensor.stop()
    sensor.stop()
    assert health.state is HealthState.BLIND
    assert "name no account" in health.reason
    assert sensor.due() is None


def test_without_inotify_the_interval_finds_the_change(host: Host) -> None:
    host.settings = PersistenceSettings(watches_max=0)
    host.start()
    host.put("/etc/crontab", "@daily root run\n")

    assert drain(host.sensor, host.clock) == []
    assert kinds(host.later()) == [(ObservationKind.PERSISTENCE_ADDED, "@daily")]
    assert list(host.sensor.descriptors()) == []


def test_a_clock_that_jumps_a_year_states_all_again_and_no_more(host: Host) -> None:
    host.start()
    for year in (-1, 1, 1):
        host.clock.wall += year * 365 * 86_400 * 10**9
        told = host.later()
        assert {seen.change for seen in told if isinstance(seen, InventoryItem)} == {Change.PRESENT}
        assert host.later() == []


def test_idle_wakes_are_at_multiples_of_the_interval(host: Host) -> None:
    host.start()
    due = host.sensor.due()

    assert due is not None
    assert due % (60 * 10**9) == 0


def test_many_homes_are_looked_at_less_often_and_that_is_said(host: Host) -> None:
    lines = (f"u{n}:x:{n}:{n}::/home/u{n}:/bin/sh\n" for n in range(1, 601))
    host.put("/etc/passwd", ROOT + "".join(lines))
    for number in range(1, 601):
        (host.root / f"home/u{number}").mkdir(parents=True)
    host.start()
    host.later()
    due = host.sensor.due()

    assert due is not None
    assert due % (120 * 10**9) == 0
    assert "looked at every 120 s" in host.sensor.health().reason


def test_each_reader_is_its_own_source_of_entries(host: Host) -> None:
    host.put("/etc/modules", "loop\n")
    host.put("/etc/pam.d/sshd", "auth required pam_exec.so /x\n")
    host.put("/etc/sudoers", "a ALL=ALL\n")
    host.put("/etc/systemd/system/x.service", "ExecStart=/x\n")
    host.put("/etc/ld.so.preload", "/x.so\n")
    host.put("/etc/cron.d/open", "@daily root x\n", 0o666)

    mechanism = {item for _, item, _ in said(host.start())}

    assert mechanism == {
        "user",
        "module_load",
        "pam_service",
        "pam_rule",
        "sudoers_rule",
        "systemd_unit",
        "ld_preload",
        "cron_job",
        "world_writable",
    }
    assert "setuid" not in READERS


def test_secrets_of_shadow_are_nowhere_in_what_is_told_or_kept(host: Host) -> None:
    host.put("/etc/shadow", "root:$6$salt$hunter2hunter2:19000:0:99999:7:::\n")

    told = host.start()
    host.sensor.stop()

    kept = b"".join(path.read_bytes() for path in host.state.parent.glob("persistence.db*"))
    assert "password=set" in str(told)
    assert "hunter2" not in str(told)
    assert b"hunter2" not in kept


def test_this_host_is_looked_at_and_said_once(tmp_path: Path) -> None:
    clock = FakeClock()
    settings = PersistenceSettings(watches_max=0)
    sensor = PersistenceSensor(settings, HostRoot("/"), clock, tmp_path / "p.db")
    sensor.start(b"")
    first = drain(sensor, clock)
    cursor = sensor.cursor()
    sensor.stop()

    users = {seen[2] for seen in said(first) if seen[1] == "user"}
    assert len(users) == len(set(Path("/etc/passwd").read_text("utf-8").split("\n")) - {""})
    assert isinstance(first[0], model.InventoryItem)
    assert structs.asdict(sensor.spec)["name"] == "persistence"
    assert cursor
