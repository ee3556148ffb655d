"""What the loop of `sense` asks of a sensor and of a probe, and nothing more.

The loop is one thread over one selector. A sensor never blocks, never sleeps and never starts a
thread: long work (a sweep, hashing a tree) is cut into slices that end when the deadline given to
`poll` has passed. Sensors yield facts and decide nothing; a process that vanished is normal.
"""

import enum
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from proto.model import Drop, Evidence, Finding, HealthState, InventoryItem, Observation

# Sensors yield facts; the posture sensor, which judges what it reads, findings with their evidence.
Sighting = Observation | InventoryItem | Drop | Evidence | Finding

POLL_SIGHTINGS_MAX = 512


class SensorSpec(Struct, frozen=True):
    """What a sensor declares before it runs; printed by ``doctor`` and in the reference."""

    name: str
    source: str
    coverage: str
    misses: str
    privilege: str
    cost: str


class SensorHealth(Struct, frozen=True):
    """What a sensor can say of itself now; times in nanoseconds UTC, ``dropped`` since start."""

    state: HealthState
    rung: str
    reason: str
    last_success: int
    dropped: int


class Sensor(Protocol):
    """A local reader of one kind of thing."""

    spec: SensorSpec

    def start(self, cursor: bytes) -> None:
        """Open the sources. What cannot be opened shows in `health`; nothing is raised for it.

        Args:
            cursor: what `cursor` returned before the newest sealed batch; empty at first.
        """
        ...

    def descriptors(self) -> Sequence[int]:
        """Return the descriptors that, when readable, are a reason to call `poll`."""
        ...

    def due(self) -> int | None:
        """Return the boot-clock nanoseconds at which `poll` is wanted; None to wait for data."""
        ...

    def poll(self, deadline: int) -> Sequence[Sighting]:
        """Return what is new, at most `POLL_SIGHTINGS_MAX`, in the order it happened.

        Args:
            deadline: boot-clock nanoseconds by which to return; work left over is due at once.
        """
        ...

    def cursor(self) -> bytes:
        """Return where a re-readable source stands after the last `poll`; empty for others."""
        ...

    def health(self) -> SensorHealth:
        """Return what the sensor sees and misses now."""
        ...

    def stop(self) -> None:
        """Close the sources; harmless when repeated or never started."""
        ...


@runtime_checkable
class Restating(Protocol):
    """A sensor that keeps an inventory and can state all of it again."""

    def restate(self) -> None:
        """State everything again with the next polls, unless that was done not long ago."""
        ...


class Ease(enum.IntEnum):
    """How much is given up because sensing costs too much; each step includes those before it."""

    NORMAL = 0
    SLOWER = 1
    NO_HASHING = 2
    NO_ENRICHMENT = 3
    HEARTBEAT = 4


@runtime_checkable
class Easing(Protocol):
    """A sensor that can cost less by itself. The loop paces every sensor, this one or not."""

    def ease(self, level: Ease) -> None:
        """Give up as much as a level says, or take it up again; health says what is given up.

        From `Ease.SLOWER` on sweep less often, from `Ease.NO_HASHING` on hash nothing new, from
        `Ease.NO_ENRICHMENT` on look up nothing beside the fact itself.
        """
        ...
