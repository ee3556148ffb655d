"""One sensor's fault is one sensor's blindness, said and for a while."""

import sqlite3
import struct
from collections.abc import Sequence

import pytest

from agent.sense.guarded import RETRY_S_MAX, Guarded
from agent.sense.ports import Ease, SensorHealth, SensorSpec, Sighting
from proto.model import Drop, DropReason, HealthState, Observation
from tests.fakes.clock import FakeClock
from tests.proto.builders import an_observation


class Frail:
    """A sensor that tells one thing a poll, and fails when told to."""

    spec = SensorSpec("frail", "a test", "all", "nothing", "none", "0")

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.where = "poll"
        self.starts: list[bytes] = []
        self.stops = 0
        self.place = 0
        self.eased: list[Ease] = []
        self.restated = 0

    def start(self, cursor: bytes) -> None:
        self._maybe("start")
        self.starts.append(cursor)
        self.place = int(cursor or b"0")

    def descriptors(self) -> Sequence[int]:
        self._maybe("descriptors")
        return (0,)

    def due(self) -> int | None:
        self._maybe("due")
        return 5

    def poll(self, deadline: int) -> Sequence[Sighting]:
        del deadline
        self.place += 1
        self._maybe("poll")
        return (an_observation(),)

    def cursor(self) -> bytes:
        self._maybe("cursor")
        return b"%d" % self.place

    def health(self) -> SensorHealth:
        self._maybe("health")
        return SensorHealth(HealthState.OK, "best", "", 1, 0)

    def stop(self) -> None:
        self.stops += 1
        self._maybe("stop")

    def ease(self, level: Ease) -> None:
        self.eased.append(level)

    def restate(self) -> None:
        self.restated += 1

    def _maybe(self, where: str) -> None:
        if self.fault is not None and where == self.where:
            raise self.fault


class Case:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.frail = Frail()
        self.sensor = Guarded("frail", self.frail, self.clock)
        self.sensor.start(b"")

    def poll(self) -> list[Sighting]:
        return list(self.sensor.poll(self.clock.boot_ns()))


@pytest.mark.parametrize(
    "fault", [IndexError("x"), struct.error("x"), sqlite3.OperationalError("x"), OSError(5, "x")]
)
def test_a_fault_blinds_the_sensor_says_so_and_is_over_after_a_while(fault: Exception) -> None:
    case = Case()
    case.poll()
    case.clock.forward(7)
    case.frail.fault = fault

    during = case.poll()
    blind = case.sensor.health()
    waiting = (case.sensor.descriptors(), case.sensor.due())
    case.frail.fault = None
    early = case.poll()
    case.clock.forward(1)
    gap, seen = case.poll()

    assert (during, early) == ([], [])
    assert (blind.state, blind.dropped) == (HealthState.BLIND, 1)
    assert type(fault).__name__ in blind.reason
    assert waiting == ((), case.clock.boot)
    assert isinstance(gap, Drop)
    assert (gap.reason, gap.sensor) == (DropReason.SOURCE_GAP, "frail")
    assert gap.last_boot == case.clock.boot
    assert gap.first_boot == case.clock.boot - 8 * 10**9
    assert isinstance(seen, Observation)
    assert case.sensor.health().state is HealthState.OK
    assert case.frail.stops == 1


def test_it_begins_again_where_the_last_good_poll_ended() -> None:
    case = Case()
    case.poll()
    case.poll()
    case.frail.fault = ValueError()
    case.poll()
    cursor = case.sensor.cursor()
    case.frail.fault = None
    case.clock.forward(1)

    case.poll()

    assert cursor == b"2"
    assert case.frail.starts == [b"", b"2"]


@pytest.mark.parametrize("where", ["start", "descriptors", "due", "cursor", "health", "stop"])
def test_a_fault_anywhere_ends_nothing(where: str) -> None:
    case = Case()
    case.frail.where, case.frail.fault = where, KeyError("x")

    for _ in range(20):
        case.sensor.descriptors()
        case.sensor.due()
        case.poll()
        case.sensor.cursor()
        case.sensor.health()
        case.clock.forward(RETRY_S_MAX)
    case.sensor.stop()

    assert case.frail.stops > 0


def test_trials_come_later_and_later_up_to_a_bound() -> None:
    case = Case()
    case.frail.fault = ValueError()
    waits = []
    for _ in range(12):
        case.poll()
        due = case.sensor.due()
        assert due is not None
        waits.append((due - case.clock.boot) // 10**9)
        case.clock.boot = due

    assert waits[:4] == [1, 2, 4, 8]
    assert waits[-1] == RETRY_S_MAX


def test_what_the_loop_asks_besides_is_passed_on_and_kept_over_a_new_start() -> None:
    case = Case()
    case.sensor.restate()
    case.sensor.ease(Ease.NO_HASHING)
    case.frail.fault = ValueError()
    case.poll()
    case.frail.fault = None
    case.clock.forward(1)
    case.poll()

    assert case.frail.restated == 1
    assert case.frail.eased == [Ease.NO_HASHING, Ease.NO_HASHING]


def test_running_out_of_memory_is_not_hidden() -> None:
    case = Case()
    case.frail.fault = MemoryError()

    with pytest.raises(MemoryError):
        case.poll()
