"""The host's own sensor states facts and containers and what becomes of them."""

from pathlib import Path

from agent.hostroot import HostRoot
from agent.sense.sensors.host import HostSensor, HostSettings
from proto.model import Change, Container, HealthState, InventoryItem, Setting
from tests.agent.sense.sensors.driving import drain, no_more_descriptors
from tests.fakes.clock import FakeClock

ID = "a" * 64


def test_no_descriptor_left_stops_nothing_and_is_said(tmp_path: Path) -> None:
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.1\n")
    clock = FakeClock()
    sensor = HostSensor(HostSettings(), HostRoot(tmp_path), clock, tmp_path / "h.db")
    sensor.start(b"")
    drain(sensor, clock)

    clock.forward(3601)
    with no_more_descriptors():
        told = drain(sensor, clock)
        during = sensor.health()
    clock.forward(3601)
    told += drain(sensor, clock)
    after = sensor.health()
    sensor.stop()

    assert told == []
    assert (during.state, after.state) == (HealthState.DEGRADED, HealthState.OK)


def test_a_container_that_starts_and_ends_is_told(tmp_path: Path) -> None:
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.1\n")
    group = tmp_path / "sys/fs/cgroup/docker" / ID
    group.mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cgroup.procs").write_text("1\n")
    (group / "cgroup.procs").write_text("")
    clock = FakeClock()
    sensor = HostSensor(HostSettings(), HostRoot(tmp_path), clock, tmp_path / "h.db")

    sensor.start(b"")
    first = drain(sensor, clock)
    told = []
    for pids in ("7\n8\n", "7\n", ""):
        (group / "cgroup.procs").write_text(pids)
        clock.forward(61)
        told += drain(sensor, clock)
    health = sensor.health()
    sensor.stop()

    assert {
        seen.item.value.name
        for seen in first
        if isinstance(seen, InventoryItem) and isinstance(seen.item.value, Setting)
    } >= {"kernel.release"}
    assert [(seen.change, seen.item.value) for seen in told if isinstance(seen, InventoryItem)] == [
        (Change.ADDED, Container(ID, "docker", unit=None, processes=2)),
        (Change.REMOVED, Container(ID, "docker", unit=None, processes=2)),
    ]
    assert (health.state, health.reason) == (HealthState.OK, "")
