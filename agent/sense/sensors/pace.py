"""When execs come so fast that reading each at once costs too much, they are read together.

Above the limit the source is read every 20 ms and no more: a third of the cost, at the price of
what /proc has forgotten by then. It is said while it lasts, and it ends when the rate has been well
below the limit for a while.
"""

from typing import Final

from runtime.clock import NS_PER_MS, NS_PER_S, Clock

READ_EVERY_MS: Final = 20
WINDOW_S: Final = 1
CALM_WINDOWS: Final = 5

_CALM_PART: Final = 0.75


class Pace:
    """Counts execs by the second.

    Args:
        clock: measures the seconds.
        per_s_max: above it reads are put together.
    """

    def __init__(self, clock: Clock, per_s_max: int) -> None:
        self._clock = clock
        self._per_window_max = per_s_max * WINDOW_S
        self._since = clock.boot_ns()
        self._count = 0
        self._calm = 0
        self._due = 0
        self.is_coalescing = False

    def note(self, count: int) -> None:
        """Count execs that were read now; the next reading is due an interval from now."""
        now = self._clock.boot_ns()
        interval = READ_EVERY_MS * NS_PER_MS
        self._due = (now // interval + 1) * interval
        self._count += count
        if self._count > self._per_window_max:
            self.is_coalescing = True
            self._calm = 0
        if now - self._since < WINDOW_S * NS_PER_S:
            return
        if self._count < self._per_window_max * _CALM_PART:
            self._calm += 1
            if self._calm >= CALM_WINDOWS:
                self.is_coalescing = False
        else:
            self._calm = 0
        self._since = now
        self._count = 0

    def due(self) -> int:
        """Return when the source is to be read next while reads are put together."""
        return self._due
