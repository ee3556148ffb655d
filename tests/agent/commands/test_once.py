from agent.commands.once import NOBODY, SLICE_MS, once
from proto.model import Observation
from runtime.clock import NS_PER_MS, NS_PER_S
from tests.fakes.clock import FakeClock
from tests.fakes.sensor import FakeSensor
from tests.proto.builders import an_observation


def a_row(count: int) -> list[Observation]:
    return [an_observation(event_time=number) for number in range(count)]


def test_a_pass_ends_when_nothing_is_due_and_stops_the_sensor() -> None:
    clock = FakeClock()
    source = a_row(25)
    sensor = FakeSensor(clock, list(source), batch=10)

    seen = list(once(sensor, clock, clock.boot_ns() + NS_PER_S))

    assert seen == source
    assert sensor.polls == 3
    assert not sensor.is_open


def test_a_pass_ends_at_its_time_however_much_is_left() -> None:
    clock = FakeClock()
    sensor = FakeSensor(clock, list(a_row(100)), batch=1)
    sensor.takes_all_its_time = True

    seen = list(once(sensor, clock, clock.boot_ns() + 3 * SLICE_MS * NS_PER_MS))

    assert len(seen) == 3
    assert not sensor.is_open


def test_a_slice_is_short_enough_to_show_progress() -> None:
    clock = FakeClock()
    sensor = FakeSensor(clock, list(a_row(5)), batch=1)

    list(once(sensor, clock, clock.boot_ns() + NS_PER_S))

    assert set(sensor.deadlines) == {SLICE_MS * NS_PER_MS}


def test_a_reader_that_leaves_early_stops_the_sensor() -> None:
    clock = FakeClock()
    sensor = FakeSensor(clock, list(a_row(5)), batch=1)
    passing = once(sensor, clock, clock.boot_ns() + NS_PER_S)

    next(passing)
    passing.close()  # type: ignore[attr-defined]

    assert not sensor.is_open


def test_a_later_look_is_not_waited_for() -> None:
    clock = FakeClock()
    sensor = FakeSensor(clock, [])
    sensor.interval_s = 60

    assert list(once(sensor, clock, clock.boot_ns() + 1000 * NS_PER_S)) == []
    assert sensor.polls == 1


def test_what_is_not_enrolled_belongs_to_nobody() -> None:
    assert NOBODY.tenant.bytes == NOBODY.agent.bytes == bytes(16)
