"""How many descriptors this process may still open.

An event that carries a file is lost when there is none left for it, so nobody reads more events
than there is room for. Counting costs a listing, so it is done now and then, and at once when there
is little left.
"""

import os
import resource
from typing import Final

from runtime.clock import NS_PER_S, Clock

RESERVED: Final = 24  # for everything else we do
COUNT_EVERY_S: Final = 1
LIMIT_UNKNOWN: Final = 1024

_OPEN: Final = "/proc/self/fd"
_PLENTY: Final = 64


class Descriptors:
    """The limit of this process, and what it has open."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._free = 0
        self._limit = 0
        self._counted_at = -COUNT_EVERY_S * NS_PER_S

    def free(self) -> int:
        """Return how many may be opened and closed again now; 0 when there are none to spare."""
        now = self._clock.boot_ns()
        limit = _limit()
        is_old = limit != self._limit or now - self._counted_at >= COUNT_EVERY_S * NS_PER_S
        if is_old or self._free < _PLENTY:
            self._free = _counted(limit)
            self._limit = limit
            self._counted_at = now
        return self._free


def _limit() -> int:
    try:
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except OSError:
        return LIMIT_UNKNOWN  # a filter of system calls does not let us ask


def _counted(limit: int) -> int:
    try:
        used = len(os.listdir(_OPEN))  # noqa: PTH208  (ours, not the host's)
    except OSError:
        return 0
    return max(limit - used - RESERVED, 0)
