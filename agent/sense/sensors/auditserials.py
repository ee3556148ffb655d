"""Which audit events never came: the kernel numbers them all, so a hole in the numbers is a loss.

Events of several processors arrive a little out of order, so a hole is a loss only after a while.
"""

from typing import Final

from msgspec import Struct

from runtime.clock import NS_PER_S

LATE_NS_MAX: Final = 2 * NS_PER_S
HOLES_MAX: Final = 64

_NUMBERS: Final = 1 << 32
_FAR: Final = 1 << 31


class _Hole(Struct):
    """Numbers from ``first`` up to before ``end`` that have not come."""

    first: int
    end: int
    since: int


class Serials:
    """Follows the numbers of events; they start anywhere and begin again at 2**32."""

    def __init__(self) -> None:
        self._newest: int | None = None
        self._holes: list[_Hole] = []

    def take(self, serial: int, now: int) -> None:
        """Note that a part of this event came at ``now``."""
        if self._newest is None:
            self._newest = serial
            return
        ahead = (serial - self._newest) % _NUMBERS
        if 0 < ahead < _FAR:
            if ahead > 1:
                self._holes.append(_Hole((self._newest + 1) % _NUMBERS, serial, now))
            self._newest = serial
        elif ahead and self._holes:
            self._fill(serial)

    def lost(self, now: int) -> int:
        """Return how many events are given up now, and forget them."""
        count = 0
        while self._holes and (
            len(self._holes) > HOLES_MAX or now - self._holes[0].since >= LATE_NS_MAX
        ):
            hole = self._holes.pop(0)
            count += (hole.end - hole.first) % _NUMBERS
        return count

    def forget(self) -> None:
        """Begin anew: the kernel has said itself that it lost some."""
        self._newest = None
        self._holes.clear()

    def _fill(self, serial: int) -> None:
        for at, hole in enumerate(self._holes):
            size = (hole.end - hole.first) % _NUMBERS
            into = (serial - hole.first) % _NUMBERS
            if into >= size:
                continue
            after = _Hole((serial + 1) % _NUMBERS, hole.end, hole.since)
            before = _Hole(hole.first, serial, hole.since)
            self._holes[at : at + 1] = [part for part in (before, after) if part.first != part.end]
            return
