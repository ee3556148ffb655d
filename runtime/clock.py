"""Time as an argument: the only place that reads a clock.

Three clocks, all in nanoseconds: ``wall_ns`` (UTC, may jump; for stamps only), ``monotonic_ns``
(for waiting; stops in suspend) and ``boot_ns`` (for ages; counts suspend). Order never comes from
the wall clock.
"""

import time
from pathlib import Path
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Clock(Protocol):
    """A source of time that a test can replace."""

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970-01-01 UTC."""
        ...

    def monotonic_ns(self) -> int:
        """Return nanoseconds of a clock that never goes back and stops in suspend."""
        ...

    def boot_ns(self) -> int:
        """Return nanoseconds since boot, suspend included."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def wall_ns(self) -> int:
        """Return CLOCK_REALTIME."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def boot_ns(self) -> int:
        """Return CLOCK_BOOTTIME."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def boot_id(path: Path = Path("/proc/sys/kernel/random/boot_id")) -> bytes:
    """Return the kernel's 16-byte id of this boot, or 16 zero bytes where there is none."""
    try:
        return bytes.fromhex(path.read_text("ascii").strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)
