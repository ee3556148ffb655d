"""The inventory is stated once, then only what came and went."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.ports import Sighting
from agent.sense.sensors import dpkg
from agent.sense.sensors.packages import (
    PackageSensor,
    PackageSettings,
    package_rows,
    packages_of,
)
from proto.model import (
    Change,
    Drop,
    DropReason,
    HealthState,
    InventoryItem,
    Observation,
    ObservationKind,
    Package,
)
from tests.agent.sense.sensors.driving import drain, no_more_descriptors
from tests.agent.sense.sensors.rpms import a_database, a_header
from tests.fakes.clock import FakeClock


class Host:
    """A host with a dpkg status, and one sensor on it at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root / "host"
        self.status = self.root / dpkg.STATUS_PATH.lstrip("/")
        self.status.parent.mkdir(parents=True)
        self.state = root / "packages.db"
        self.clock = FakeClock()
        self.host = HostRoot(self.root)
        self.sensor = self.a_sensor()

    def a_sensor(self) -> PackageSensor:
        return PackageSensor(PackageSettings(), self.host, self.clock, self.state)

    def install(self, *packages: str) -> None:
        """Replace the status file as dpkg does; each is ``name=version`` and maybe ``/state``."""
        text = ""
        for package in packages:
            name, _, rest = package.partition("=")
            version, _, state = rest.partition("/")
            text += (
                f"Package: {name}\nStatus: install ok {state or 'installed'}\n"
                f"Architecture: amd64\nVersion: {version}\n\n"
            )
        new = self.status.with_name("status-new")
        new.write_text(text, "ascii")
        new.replace(self.status)

    def start(self, cursor: bytes = b"") -> list[Sighting]:
        self.sensor.stop()
        self.sensor = self.a_sensor()
        self.sensor.start(cursor)
        return drain(self.sensor, self.clock)

    def later(self) -> list[Sighting]:
        """Let dpkg's run settle and return what is told then."""
        told = drain(self.sensor, self.clock)
        self.clock.forward(2.1)
        return told + drain(self.sensor, self.clock)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.sensor.stop()
    made.host.close()


def said(told: list[Sighting]) -> list[tuple[object, str, str]]:
    """Return change or kind, name and version of each sighting."""
    found: list[tuple[object, str, str]] = []
    for seen in told:
        assert isinstance(seen, InventoryItem | Observation)
        what: object = seen.change if isinstance(seen, InventoryItem) else seen.kind
        entity = seen.item if isinstance(seen, InventoryItem) else seen.subject
        assert isinstance(entity.value, Package)
        found.append((what, entity.value.name, entity.value.version))
    return found


def test_the_first_look_states_the_whole_inventory_and_no_change(host: Host) -> None:
    host.install("bash=5.2", "zlib=1.3")

    told = host.start()

    assert said(told) == [(Change.PRESENT, "bash", "5.2"), (Change.PRESENT, "zlib", "1.3")]
    assert host.sensor.health().state is HealthState.OK


def test_an_unchanged_status_says_nothing_after_a_restart(host: Host) -> None:
    host.install("bash=5.2")
    host.start()

    assert host.start(host.sensor.cursor()) == []
    assert host.sensor.health().state is HealthState.OK


def test_an_installation_and_a_removal_are_told_when_they_happen(host: Host) -> None:
    host.install("bash=5.2", "old=1")
    host.start()

    host.install("bash=5.2", "evil=6.6")
    told = host.later()

    assert said(told) == [
        (Change.REMOVED, "old", "1"),
        (ObservationKind.PACKAGE_REMOVED, "old", "1"),
        (Change.ADDED, "evil", "6.6"),
        (ObservationKind.PACKAGE_INSTALLED, "evil", "6.6"),
    ]
    assert isinstance(told[3], Observation)
    assert told[3].event_time == host.status.stat().st_mtime_ns


def test_an_upgrade_is_one_version_gone_and_another_come(host: Host) -> None:
    host.install("bash=5.1")
    host.start()

    host.install("bash=5.2")

    assert said(host.later()) == [
        (Change.REMOVED, "bash", "5.1"),
        (Change.ADDED, "bash", "5.2"),
        (ObservationKind.PACKAGE_INSTALLED, "bash", "5.2"),
    ]


def test_a_state_that_moves_on_is_no_new_package(host: Host) -> None:
    host.install("bash=5.2/unpacked")
    host.start()

    host.install("bash=5.2")

    assert said(host.later()) == [(Change.PRESENT, "bash", "5.2")]


def test_changes_while_away_are_told_at_the_next_start(host: Host) -> None:
    host.install("bash=5.2")
    host.start()
    sealed = host.sensor.cursor()
    host.sensor.stop()

    host.install("bash=5.2", "evil=6.6")
    told = host.start(sealed)

    assert said(told) == [
        (Change.ADDED, "evil", "6.6"),
        (ObservationKind.PACKAGE_INSTALLED, "evil", "6.6"),
    ]


def test_what_was_not_sealed_is_told_again_the_same(host: Host) -> None:
    host.install("bash=5.2")
    host.start()
    sealed = host.sensor.cursor()
    host.install("bash=5.2", "evil=6.6")
    told = host.later()

    assert host.start(sealed) == told
    assert host.start(host.sensor.cursor()) == []


def test_a_crash_in_the_middle_of_the_inventory_states_the_rest_as_present(host: Host) -> None:
    host.install(*(f"p{number}=1" for number in range(700)))
    host.sensor.start(b"")
    first = host.sensor.poll(host.clock.boot_ns() + 1)
    sealed = host.sensor.cursor()
    host.install(*(f"p{number}=1" for number in range(700)))

    rest = host.start(sealed)

    assert 0 < len(first) < 700
    told = [name for _, name, _ in said([*first, *rest])]
    assert told == sorted(f"p{n}" for n in range(700))
    assert {what for what, _, _ in said(rest)} == {Change.PRESENT}


def test_an_empty_status_is_a_problem_and_no_mass_removal(host: Host) -> None:
    host.install("bash=5.2")
    host.start()

    host.install()
    told = host.later()

    assert told == []
    assert host.sensor.health().state is HealthState.DEGRADED


def test_a_host_without_dpkg_is_blind_and_says_why(host: Host) -> None:
    assert host.start() == []
    health = host.sensor.health()

    assert health.state is HealthState.BLIND
    assert dpkg.STATUS_PATH in health.reason


def test_a_fifo_in_the_place_of_the_status_stops_nothing(host: Host) -> None:
    os.mkfifo(host.status)

    assert host.start() == []
    assert host.sensor.health().state is HealthState.BLIND


def test_without_events_the_interval_finds_the_change(host: Host) -> None:
    host.install("bash=5.2")
    host.start()
    data = host.status.read_bytes().replace(b"5.2", b"5.3")

    host.status.write_bytes(data)  # in place: no rename wakes us
    before = drain(host.sensor, host.clock)
    host.clock.forward(601)

    assert before == []
    assert (Change.ADDED, "bash", "5.3") in said(drain(host.sensor, host.clock))


def test_a_damaged_state_is_said_and_the_inventory_stated_again(host: Host) -> None:
    host.install("bash=5.2")
    host.start()
    sealed = host.sensor.cursor()
    host.sensor.stop()
    host.state.write_bytes(b"damage" * 1000)

    drop, *rest = host.start(sealed)

    assert isinstance(drop, Drop)
    assert drop.reason is DropReason.SOURCE_GAP
    assert said(rest) == [(Change.PRESENT, "bash", "5.2")]


def test_damage_found_while_in_use_is_said_and_the_inventory_stated_again(host: Host) -> None:
    host.install("bash=5.2")
    host.start()
    sealed = host.sensor.cursor()
    host.sensor.stop()
    with sqlite3.connect(host.state) as db:
        db.execute("UPDATE rows SET value = x'c1'")
    db.close()
    host.install("bash=5.3")

    drop, *rest = host.start(sealed)

    assert isinstance(drop, Drop)
    assert drop.detail == (
        "the state was damaged: a row cannot be read; the inventory is stated again"
    )
    assert said(rest) == [(Change.PRESENT, "bash", "5.3")]


def test_a_stop_in_the_middle_of_a_comparison_is_harmless(host: Host) -> None:
    host.install(*(f"p{number}=1" for number in range(700)))
    host.sensor.start(b"")
    host.sensor.poll(0)

    host.sensor.stop()

    assert host.sensor.due() is None
    assert host.sensor.poll(0) == ()
    assert host.sensor.health().state is HealthState.BLIND


def test_more_packages_than_are_held_are_a_problem_and_no_mass_removal(host: Host) -> None:
    host.install("bash=5.2")
    host.start()

    host.install(*(f"p{number}=1" for number in range(dpkg.PACKAGES_MAX + 1)))
    told = host.later()

    assert told == []
    assert "more than" in host.sensor.health().reason


def test_entries_that_are_no_packages_are_counted(host: Host) -> None:
    host.install("bash=5.2", "-rf=1")
    host.start()
    health = host.sensor.health()

    assert (health.state, health.dropped) == (HealthState.DEGRADED, 1)


def test_rows_for_people_are_what_is_present(host: Host) -> None:
    host.install("bash=5.2", "gone=1/config-files")

    assert list(package_rows(HostRoot(host.root))) == [
        {
            "manager": "deb",
            "name": "bash",
            "version": "5.2",
            "architecture": "amd64",
            "state": "installed",
            "path": None,
        }
    ]


def test_no_descriptor_left_stops_nothing_and_nothing_is_gone(host: Host) -> None:
    host.install("bash=5.2")
    (host.root / "usr/lib/node_modules/npm").mkdir(parents=True)
    host.start()

    host.clock.forward(601)
    with no_more_descriptors():
        told = drain(host.sensor, host.clock)
        during = host.sensor.health()
    host.clock.forward(601)
    told += drain(host.sensor, host.clock)

    assert told == []
    assert during.state is HealthState.DEGRADED
    assert host.sensor.health().state is HealthState.OK


def test_every_manager_of_a_host_is_stated_with_where_it_installed(host: Host) -> None:
    host.install("bash=5.2")
    python = host.root / "usr/lib/python3/dist-packages"
    (python / "six-1.16.dist-info").mkdir(parents=True)
    (python / "six-1.16.dist-info/METADATA").write_text("Name: six\nVersion: 1.16\n")
    (host.root / "usr/lib/node_modules/npm").mkdir(parents=True)
    (host.root / "usr/lib/node_modules/npm/package.json").write_text(
        '{"name": "npm", "version": "10.1"}'
    )

    told = host.start()

    packages = [seen.item.value for seen in told if isinstance(seen, InventoryItem)]
    assert packages == [
        Package("deb", "bash", "5.2", "amd64", "installed"),
        Package("python", "six", "1.16", path="/usr/lib/python3/dist-packages"),
        Package("npm", "npm", "10.1", path="/usr/lib/node_modules/npm"),
    ]
    assert [seen.source.rung for seen in told if isinstance(seen, InventoryItem)] == [
        "deb",
        "python",
        "npm",
    ]
    assert host.sensor.health().state is HealthState.OK


def test_a_host_of_rpm_alone_needs_no_dpkg(host: Host) -> None:
    (host.root / "var/lib/rpm").mkdir(parents=True)
    a_database(host.root / "var/lib/rpm/rpmdb.sqlite", [a_header("bash", "5.2", "1")])

    told = host.start()

    assert said(told) == [(Change.PRESENT, "bash", "5.2-1")]
    assert host.sensor.health().state is HealthState.OK


def test_a_database_of_rpm_that_cannot_be_read_is_said(host: Host) -> None:
    host.install("bash=5.2")
    (host.root / "var/lib/rpm").mkdir(parents=True)
    (host.root / "var/lib/rpm/Packages.db").write_bytes(b"RpmP")

    host.start()

    health = host.sensor.health()
    assert health.state is HealthState.DEGRADED
    assert "ndb" in health.reason


def test_what_could_not_be_read_for_people_is_told_apart(host: Host) -> None:
    problems: list[str] = []

    assert list(packages_of(PackageSettings(), HostRoot(host.root), problems)) == []
    assert [dpkg.STATUS_PATH in problem for problem in problems] == [True, False]


def test_this_host_states_what_it_lists(tmp_path: Path) -> None:
    if not Path(dpkg.STATUS_PATH).exists():
        pytest.skip("this host has no dpkg")
    clock = FakeClock()
    sensor = PackageSensor(PackageSettings(), HostRoot("/"), clock, tmp_path / "p.db")
    sensor.start(b"")

    told = drain(sensor, clock)
    sensor.stop()

    assert len(told) == len(list(package_rows(HostRoot("/")))) > 10
