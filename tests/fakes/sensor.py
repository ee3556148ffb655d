"""Sensors that behave: one whose source can be read again, one whose events are gone once read."""

from collections.abc import Sequence

from agent.sense.ports import SensorHealth, SensorSpec, Sighting
from proto.model import HealthState
from runtime.clock import NS_PER_S
from tests.fakes.clock import FakeClock

SPEC = SensorSpec(
    name="fake", source="a list", coverage="all of it", misses="nothing", privilege="none", cost="0"
)


class FakeSensor:
    """Reads a list that outlives it, from its cursor on, so many sightings a poll.

    Args:
        clock: decides when it is due.
        source: what there is to see; a test appends to it.
        batch: how much one poll returns at most.
        is_rereadable: whether a cursor leads back to what was not sealed.
    """

    def __init__(
        self,
        clock: FakeClock,
        source: list[Sighting],
        batch: int = 100,
        *,
        is_rereadable: bool = True,
    ) -> None:
        self.spec = SPEC
        self.clock = clock
        self.source = source
        self.batch = batch
        self.is_rereadable = is_rereadable
        self.at = 0
        self.is_open = False
        self.polls = 0
        self.deadlines: list[int] = []
        self.interval_s: float | None = None
        self.state = HealthState.OK
        self.ready: list[int] = []
        # As a sweep over a large tree does.
        self.takes_all_its_time = False
        self._looked_at: int | None = None

    def start(self, cursor: bytes) -> None:
        self.is_open = True
        self.at = int(cursor or b"0") if self.is_rereadable else len(self.source)

    def descriptors(self) -> Sequence[int]:
        return self.ready

    def due(self) -> int | None:
        if not self.is_open:
            return None
        if self.at < len(self.source) or self._looked_at is None:
            return self.clock.boot_ns()
        if self.interval_s is not None:
            return self._looked_at + int(self.interval_s * NS_PER_S)
        return None

    def poll(self, deadline: int) -> Sequence[Sighting]:
        assert self.is_open
        self.polls += 1
        self.deadlines.append(deadline - self.clock.boot_ns())
        if self.takes_all_its_time:
            self.clock.forward(self.deadlines[-1] / NS_PER_S)
        self._looked_at = self.clock.boot_ns()
        seen = self.source[self.at : self.at + self.batch]
        self.at += len(seen)
        return seen

    def cursor(self) -> bytes:
        return str(self.at).encode() if self.is_rereadable else b""

    def health(self) -> SensorHealth:
        state = self.state if self.is_open else HealthState.BLIND
        return SensorHealth(state, "list", "" if self.is_open else "not started", 0, 0)

    def stop(self) -> None:
        self.is_open = False
