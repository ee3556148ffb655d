import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec import UNSET

from agent.dnsframes import DnsHello, DnsLost, DnsSeen, encode_dns
from agent.hostroot import HostRoot
from agent.sense.ports import Sighting
from agent.sense.sensors.dns import WAITING_MAX, DnsSensor
from agent.sense.sensors.dnssettings import DnsSettings
from proto.model import (
    DnsMessage,
    DropReason,
    HealthState,
    Observation,
    ObservationKind,
    Precision,
    Role,
)
from runtime.frames import encode_frame
from tests.agent.sense.sensors.driving import drain, drops_of
from tests.agent.test_dnsframes import a_sighting
from tests.fakes.clock import FakeClock

QUERY = a_sighting(is_answer=False, answers=())
ANSWER = a_sighting()


class Unit:
    """What speaks to the sensor as the unit does, or as a liar."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))

    def say(self, *frames: DnsHello | DnsLost | DnsSeen) -> None:
        self.send(b"".join(encode_frame(encode_dns(frame)) for frame in frames))

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def is_shown_out(self) -> bool:
        self._socket.settimeout(5)
        try:
            return self._socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def door(tmp_path: Path) -> Path:
    return tmp_path / "dns" / "dns.sock"


@pytest.fixture
def knock(door: Path) -> Iterator[Callable[[], Unit]]:
    """Come to the door, as often as it takes."""
    units: list[Unit] = []

    def come() -> Unit:
        units.append(Unit(door))
        return units[-1]

    yield come
    for unit in units:
        unit.close()


@pytest.fixture
def sensor(tmp_path: Path, door: Path, clock: FakeClock) -> Iterator[DnsSensor]:
    """A sensor of a host without /proc: nobody is named."""
    made = DnsSensor(DnsSettings(), HostRoot(tmp_path), clock, (door, os.geteuid()))
    made.start(b"")
    yield made
    made.stop()


def seen(told: list[Sighting]) -> list[tuple[ObservationKind, DnsMessage]]:
    return [
        (fact.kind, fact.subject.value)
        for fact in told
        if isinstance(fact, Observation) and isinstance(fact.subject.value, DnsMessage)
    ]


def heard(
    sensor: DnsSensor, clock: FakeClock, unit: Unit, *frames: DnsHello | DnsLost | DnsSeen
) -> list[Sighting]:
    unit.say(*frames)
    return drain(sensor, clock)


def test_what_the_unit_saw_is_told(
    sensor: DnsSensor, clock: FakeClock, knock: Callable[[], Unit]
) -> None:
    told = heard(sensor, clock, knock(), DnsHello(), QUERY, ANSWER)

    [(asked, query), (answered, answer)] = seen(told)
    assert (asked, answered) == (ObservationKind.DNS_QUERY, ObservationKind.DNS_ANSWER)
    assert (query.name, query.qtype, query.code, query.answers) == (
        "www.example.org",
        "A",
        None,
        (),
    )
    assert (answer.code, answer.answers) == ("NOERROR", ("203.0.113.5",))
    assert answer.endpoint is not UNSET
    for fact in told:
        assert isinstance(fact, Observation)
        assert (fact.event_precision, fact.subject.role) == (Precision.SECOND, Role.TARGET)
        assert fact.process is None  # not collected: this host has no /proc


def test_the_same_is_told_once_a_minute(
    sensor: DnsSensor, clock: FakeClock, knock: Callable[[], Unit]
) -> None:
    unit = knock()
    again = ANSWER._replace(id=9, client_port=40_001)
    other = ANSWER._replace(answers=("203.0.113.6",))

    first = heard(sensor, clock, unit, ANSWER, again, other)
    clock.forward(59)
    soon = heard(sensor, clock, unit, again)
    clock.forward(2)
    later = heard(sensor, clock, unit, again)

    assert [answer.answers for _, answer in seen(first)] == [("203.0.113.5",), ("203.0.113.6",)]
    assert (len(seen(soon)), len(seen(later))) == (0, 1)


def test_answers_in_another_order_are_the_same(
    sensor: DnsSensor, clock: FakeClock, knock: Callable[[], Unit]
) -> None:
    two = ANSWER._replace(answers=("203.0.113.5", "203.0.113.6"))
    turned = ANSWER._replace(answers=("203.0.113.6", "203.0.113.5"))

    assert len(seen(heard(sensor, clock, knock(), two, turned))) == 1


def test_what_the_unit_lost_is_a_loss(
    sensor: DnsSensor, clock: FakeClock, knock: Callable[[], Unit]
) -> None:
    drops = drops_of(heard(sensor, clock, knock(), DnsLost(5, 2, 0)))

    assert [(drop.reason, drop.count) for drop in drops] == [
        (DropReason.OVERFLOW, 5),
        (DropReason.OVERFLOW, 2),
    ]
    assert sensor.health().dropped == 7


def test_without_the_unit_the_sensor_is_blind_and_says_how_to_start_it(
    sensor: DnsSensor, clock: FakeClock, knock: Callable[[], Unit]
) -> None:
    before = sensor.health()
    unit = knock()
    heard(sensor, clock, unit, DnsHello())
    during = sensor.health()
    unit.close()
    drain(sensor, clock)
    after = sensor.health()

    for health in (before, after):
        assert (health.state, health.rung) == (HealthState.BLIND, "none")
        assert "vedette-dns" in health.reason
    assert (during.state, during.rung, during.reason) == (HealthState.OK, "packets", "")
    assert during.last_success == clock.wall


def test_a_liar_is_shown_out_for_a_while_and_sensing_goes_on(
    sensor: DnsSensor, clock: FakeClock, knock: Callable[[], Unit]
) -> None:
    liar = knock()
    liar.send(encode_frame(b"\xff rubbish"))
    drain(sensor, clock)
    shut = liar.is_shown_out()
    early = knock()
    drain(sensor, clock)
    refused = early.is_shown_out()
    clock.forward(11)

    told = heard(sensor, clock, knock(), ANSWER)

    assert shut
    assert refused
    assert len(seen(told)) == 1


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\0\0\0\0", encode_frame(b"\x02" * 50)])
def test_no_bytes_stop_sensing(
    sensor: DnsSensor, clock: FakeClock, knock: Callable[[], Unit], data: bytes
) -> None:
    liar = knock()
    liar.send(data)

    drain(sensor, clock)

    assert liar.is_shown_out()
    assert sensor.health().state is HealthState.BLIND


def test_a_liar_that_floods_is_held_to_a_rate_and_that_is_declared(
    sensor: DnsSensor, clock: FakeClock, knock: Callable[[], Unit]
) -> None:
    unit = knock()
    told: list[Sighting] = []
    for first in range(0, 3000, 500):
        frames = [
            ANSWER._replace(name=f"n{number}.example") for number in range(first, first + 500)
        ]
        told += heard(sensor, clock, unit, *frames)

    [*drops] = drops_of(told)
    assert len(seen(told)) == 1000  # what may come at once, after a rest
    assert sum(drop.count or 0 for drop in drops) == 2000
    assert WAITING_MAX >= 1000


def test_nobody_but_the_units_user_is_heard(
    tmp_path: Path, door: Path, clock: FakeClock, knock: Callable[[], Unit]
) -> None:
    sensor = DnsSensor(DnsSettings(), HostRoot(tmp_path), clock, (door, os.geteuid() + 1))
    sensor.start(b"")
    stranger = knock()

    told = heard(sensor, clock, stranger, ANSWER)

    assert told == []
    assert stranger.is_shown_out()
    assert sensor.health().state is HealthState.BLIND
    sensor.stop()


def test_the_door_is_for_owner_and_group_alone(sensor: DnsSensor, door: Path) -> None:
    assert stat.S_IMODE(door.stat().st_mode) == 0o660
    sensor.stop()
    assert not door.exists()


def test_without_a_user_for_the_unit_there_is_no_door(tmp_path: Path, door: Path) -> None:
    sensor = DnsSensor(DnsSettings(), HostRoot(tmp_path), FakeClock(), (door, None))

    sensor.start(b"")

    assert "no user" in sensor.health().reason
    assert sensor.descriptors() == ()
    assert sensor.poll(0) == []
    assert not door.exists()
    sensor.stop()


def test_a_door_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120) / "dns.sock"
    sensor = DnsSensor(DnsSettings(), HostRoot(tmp_path), FakeClock(), (path, os.geteuid()))

    sensor.start(b"")

    assert "too long" in sensor.health().reason
    sensor.stop()
    sensor.stop()


def test_only_the_unit_is_a_reason_to_wake(
    sensor: DnsSensor, knock: Callable[[], Unit], clock: FakeClock
) -> None:
    assert sensor.due() is None
    assert len(sensor.descriptors()) == 1
    knock()
    drain(sensor, clock)
    assert len(sensor.descriptors()) == 2
    assert sensor.cursor() == b""
