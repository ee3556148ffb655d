"""What every sensor keeps to, whatever it reads: the real ones on a golden host, and the fake."""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agent.hostroot import HostRoot
from agent.sense import ports
from agent.sense.ports import POLL_SIGHTINGS_MAX, Sensor, SensorSpec
from agent.sense.posture.engine import PostureSensor
from agent.sense.posture.statements import Subject
from agent.sense.sensors.table import SENSORS, SensorPlace
from agent.sense.settings import SensorSettings
from agent.sense.wiring import POSTURE
from proto.content.checks import builtin_pack
from proto.model import HealthState
from runtime.clock import NS_PER_S
from tests.agent.sense.sensors.hosts import a_golden_host
from tests.fakes.clock import FakeClock
from tests.fakes.sensor import FakeSensor
from tests.proto.builders import an_observation

REAL = (*SENSORS, POSTURE)
NAMES = (*REAL, "fake")


@pytest.fixture
def place(tmp_path: Path) -> SensorPlace:
    root = a_golden_host("debian12", tmp_path)
    (root / "proc/1/net/dev").unlink()
    (root / "proc/1/net/dev").touch()  # so that the network is not ours
    return SensorPlace(HostRoot(root), FakeClock(), tmp_path)


def a_sensor(name: str, place: SensorPlace) -> Sensor:
    own = SensorSettings()
    if name == "fake":
        clock = place.clock
        assert isinstance(clock, FakeClock)
        return FakeSensor(clock, [an_observation()])
    if name == POSTURE:
        subject = Subject(bytes(16), bytes(16))
        return PostureSensor(place.host, place.clock, subject, builtin_pack(), own.posture)
    return SENSORS[name](getattr(own, name), place)


def polled(sensor: Sensor, clock: FakeClock, seconds: int = 30) -> Iterator[ports.Sighting]:
    """Everything a sensor sees until it has nothing due."""
    end = clock.boot_ns() + seconds * NS_PER_S
    while (due := sensor.due()) is not None and due <= clock.boot_ns() < end:
        seen = sensor.poll(clock.boot_ns() + NS_PER_S)
        assert len(seen) <= POLL_SIGHTINGS_MAX
        yield from seen
        clock.forward(0.001)


def clock_of(place: SensorPlace) -> FakeClock:
    assert isinstance(place.clock, FakeClock)
    return place.clock


@pytest.mark.parametrize("name", NAMES)
def test_a_sensor_says_what_it_is_before_it_runs(name: str, place: SensorPlace) -> None:
    spec = a_sensor(name, place).spec

    assert spec.name == name
    for field in msgspec.structs.fields(SensorSpec):
        assert getattr(spec, field.name)


@pytest.mark.parametrize("name", NAMES)
def test_stopping_is_harmless_at_any_time_and_twice(name: str, place: SensorPlace) -> None:
    sensor = a_sensor(name, place)

    sensor.stop()
    sensor.start(b"")
    sensor.stop()
    sensor.stop()

    assert list(sensor.descriptors()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_first_look_ends_and_sees_the_kinds_it_may(name: str, place: SensorPlace) -> None:
    sensor = a_sensor(name, place)

    sensor.start(b"")
    seen = list(polled(sensor, clock_of(place)))

    due = sensor.due()
    assert due is None or due > clock_of(place).boot_ns()
    assert all(isinstance(one, ports.Sighting) for one in seen)
    sensor.stop()


@pytest.mark.parametrize("name", REAL)
def test_what_cannot_be_seen_is_said_and_never_raised(name: str, tmp_path: Path) -> None:
    empty = SensorPlace(HostRoot(tmp_path), FakeClock(), tmp_path)
    sensor = a_sensor(name, empty)

    sensor.start(b"")
    list(polled(sensor, clock_of(empty)))

    health = sensor.health()
    assert (health.state, bool(health.reason)) == (HealthState.BLIND, True)
    assert health.rung
    assert health.dropped == 0
    sensor.stop()


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("cursor", [b"\xff" * 9, b"{}", json.dumps([[1] * 50] * 50).encode()])
def test_a_cursor_of_another_time_is_no_reason_to_fail(
    name: str, cursor: bytes, place: SensorPlace
) -> None:
    sensor = a_sensor(name, place)

    sensor.start(cursor)
    list(polled(sensor, clock_of(place)))

    assert isinstance(sensor.cursor(), bytes)
    sensor.stop()
