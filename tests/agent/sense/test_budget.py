"""The laws of the budget: over a ceiling one step up, well below it for long one step down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.budget import (
    MEANINGS,
    QUIET_WINDOWS,
    Budget,
    BudgetSettings,
    OwnMeter,
    anonymous_bytes,
)
from agent.sense.ports import Ease
from proto.model import Health, HealthState
from tests.fakes.clock import FakeClock
from tests.fakes.meter import FakeMeter

TEN = BudgetSettings(cpu_percent_max=10, memory_mib_max=100, window_s=60)


class Case:
    def __init__(self, settings: BudgetSettings = TEN) -> None:
        self.clock = FakeClock()
        self.meter = FakeMeter(self.clock)
        self.budget = Budget(settings, self.meter)
        self.budget.start(self.clock.boot_ns())

    def window(self, cpu_percent: float, mib: int = 0) -> Health | None:
        self.meter.cpu_percent, self.meter.memory = cpu_percent, mib * 1024 * 1024
        self.clock.forward(60)
        return self.budget.tick(self.clock.boot_ns(), self.clock.wall_ns())


def test_each_window_over_the_ceiling_is_one_step_up_and_is_said() -> None:
    case = Case()

    told = [case.window(30) for _ in range(6)]

    levels = [health.rung for health in told if health]
    assert levels == ["slower", "no hashing", "no enrichment", "heartbeat"]
    assert told[4:] == [None, None]
    assert all(h.subject == "budget" for h in told if h)
    assert [h.state for h in told if h] == [HealthState.DEGRADED] * 3 + [HealthState.BLIND]
    assert told[0] is not None
    assert told[0].reason.startswith("30 % of a core, at most 10 allowed: ")


def test_it_takes_three_quiet_windows_to_go_back_one_step() -> None:
    case = Case()
    case.window(30)
    case.window(30)

    told = [case.window(1) for _ in range(2 * QUIET_WINDOWS)]

    rungs = [health and health.rung for health in told]
    assert rungs == [None, None, "slower", None, None, "normal"]
    assert told[-1] is not None
    assert (told[-1].state, told[-1].reason) == (HealthState.OK, "")
    assert [case.window(1) for _ in range(9)] == [None] * 9


def test_whoever_makes_sensing_dear_now_and_then_does_not_keep_it_blind() -> None:
    case = Case()
    for _ in range(20):
        while case.budget.level is not Ease.HEARTBEAT:
            case.window(30)

        told = [case.window(0) for _ in range(QUIET_WINDOWS)]

        assert [health and health.rung for health in told] == [None, None, "no enrichment"]


def test_just_below_the_ceiling_nothing_moves() -> None:
    case = Case()
    case.window(30)

    assert [case.window(9) for _ in range(20)] == [None] * 20
    assert case.budget.level is Ease.SLOWER


def test_a_window_that_is_not_quiet_starts_the_count_anew() -> None:
    case = Case()
    case.window(30)

    told = [case.window(cpu) for cpu in (1, 1, 9, 1, 1, 1)]

    assert [bool(health) for health in told] == [False] * 5 + [True]


def test_what_was_given_back_too_early_is_given_back_later_the_next_time() -> None:
    case = Case()
    case.window(30)
    waited = []
    for _ in range(8):
        count = 1
        while case.window(1) is None:
            count += 1
        waited.append(count)
        # Given back, and at once too dear again.
        assert case.window(30) is not None

    assert waited == [3, 6, 12, 24, 48, 96, 96, 96]


def test_too_much_memory_is_as_bad_as_too_much_cpu() -> None:
    case = Case()

    told = case.window(0, mib=101)

    assert told is not None
    assert told.reason.startswith("101 MiB of memory, at most 100 allowed: ")


def test_a_burst_within_a_window_is_no_state() -> None:
    case = Case()
    case.meter.charge(4_000_000_000)

    assert case.window(0) is None


def test_without_ceilings_nothing_is_ever_given_up() -> None:
    case = Case(BudgetSettings(cpu_percent_max=0, memory_mib_max=0, window_s=60))

    assert [case.window(1000, mib=100_000) for _ in range(5)] == [None] * 5


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 200)), max_size=60))
def test_the_level_moves_by_single_steps_and_every_step_is_told(
    windows: list[tuple[int, int]],
) -> None:
    case = Case()
    for cpu, mib in windows:
        before = case.budget.level
        told = case.window(cpu, mib)
        after = case.budget.level
        assert abs(after - before) <= 1
        assert (told is not None) == (after is not before)
        assert told is None or told.rung == after.name.lower().replace("_", " ")


def test_every_level_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Ease)


def test_this_process_is_measured() -> None:
    meter = OwnMeter()
    before = meter.cpu_ns()
    sum(range(2_000_000))

    assert meter.cpu_ns() > before
    assert 1024 * 1024 < meter.memory_bytes() < 1 << 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"Rss: 9 kB\nAnonymous: 5 kB\nPss_Anon: 4 kB\n", 4096),
        (b"Rss: 9 kB\nAnonymous: 5 kB\n", 5120),
        (b"Rss: 9 kB\n", 0),
        (b"", 0),
        (b"Pss_Anon:\n", 0),
    ],
)
def test_anonymous_memory_is_what_the_kernel_says_it_is(text: bytes, expected: int) -> None:
    assert anonymous_bytes(text) == expected


@given(st.binary())
def test_any_account_of_memory_is_a_number(text: bytes) -> None:
    assert anonymous_bytes(text) >= 0
