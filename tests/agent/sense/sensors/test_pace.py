"""Many execs are read together, few at once, and it does not flicker."""

from agent.sense.sensors.pace import CALM_WINDOWS, READ_EVERY_MS, Pace
from runtime.clock import NS_PER_MS
from tests.fakes.clock import FakeClock


def test_more_than_the_limit_in_a_second_is_read_together_from_then_on() -> None:
    pace = Pace(FakeClock(), 200)

    pace.note(200)
    before = pace.is_coalescing
    pace.note(1)

    assert not before
    assert pace.is_coalescing


def test_the_limit_counts_by_the_second() -> None:
    clock = FakeClock()
    pace = Pace(clock, 200)

    for _ in range(10):
        clock.forward(1)
        pace.note(150)

    assert not pace.is_coalescing


def test_it_ends_after_some_calm_seconds_and_not_before() -> None:
    clock = FakeClock()
    pace = Pace(clock, 200)
    pace.note(500)
    states = []

    for _ in range(CALM_WINDOWS + 1):
        clock.forward(1)
        pace.note(10)
        states.append(pace.is_coalescing)

    assert states == [True] * CALM_WINDOWS + [False]


def test_reads_are_due_at_whole_intervals() -> None:
    clock = FakeClock()

    pace = Pace(clock, 200)
    pace.note(1)
    due = pace.due()
    clock.forward(1)

    assert pace.due() == due
    clock.forward(-1)
    assert due % (READ_EVERY_MS * NS_PER_MS) == 0
    assert 0 < due - clock.boot_ns() <= READ_EVERY_MS * NS_PER_MS
