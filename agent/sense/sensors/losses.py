"""What a sensor lost, gathered until the next poll and then told as records.

A thousand losses of one kind within one poll are one record: a flood must not become a second one.
"""

from typing import Final

from msgspec import Struct

from proto.model import Drop, DropReason
from runtime.clock import Clock

KINDS_MAX: Final = 8  # no sensor has more kinds of loss than this

_UNKNOWN: Final = -1


class _Loss(Struct):
    """Losses of one kind since the last poll; ``count`` is negative where nobody counted."""

    first: int
    first_boot: int
    count: int


class Losses:
    """The losses of one sensor; ``total`` counts since the start, an uncounted one as one."""

    def __init__(self, sensor: str, clock: Clock) -> None:
        self._sensor = sensor
        self._clock = clock
        self._open: dict[tuple[DropReason, str], _Loss] = {}
        self._whole = (clock.wall_ns(), clock.boot_ns())
        self.total = 0

    def gap(self, detail: str) -> None:
        """Note that the source lost an unknown number of events since `nothing_lost_until_now`."""
        self._note(DropReason.SOURCE_GAP, detail, _UNKNOWN)
        self.total += 1

    def overflow(self, detail: str, count: int) -> None:
        """Note that we left out ``count`` things for want of room; none for zero."""
        if count:
            self._note(DropReason.OVERFLOW, detail, count)
            self.total += count

    def nothing_lost_until_now(self) -> None:
        """Note that everything up to now has been taken, so that a later gap begins here."""
        self._whole = (self._clock.wall_ns(), self._clock.boot_ns())

    def take(self) -> list[Drop]:
        """Return what was noted since the last call."""
        if not self._open:
            return []
        last, last_boot = self._clock.wall_ns(), self._clock.boot_ns()
        drops = [
            Drop(
                reason=reason,
                sensor=self._sensor,
                count=None if loss.count < 0 else loss.count,
                first=loss.first,
                last=last,
                first_boot=loss.first_boot,
                last_boot=last_boot,
                detail=detail,
            )
            for (reason, detail), loss in self._open.items()
        ]
        self._open.clear()
        return drops

    def _note(self, reason: DropReason, detail: str, count: int) -> None:
        first, first_boot = self._whole
        loss = self._open.setdefault((reason, detail), _Loss(first, first_boot, 0))
        loss.count = _UNKNOWN if count < 0 else loss.count + count
