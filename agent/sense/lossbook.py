"""Losses of one kind that come again before anything is sealed: one record, not one a poll. Pure.

A sensor tells a loss with the poll that meets it, and whoever keeps it losing could fill the outbox
with records of that. The first of a kind is a record at once; what follows it until the next commit
is a second one.
"""

from typing import Final

from msgspec import structs

from proto.model import Drop, DropReason

_OF_SOURCES: Final = frozenset({DropReason.OVERFLOW, DropReason.SOURCE_GAP})

_Key = tuple[DropReason, str, str]


class LossBook:
    """The losses since the last commit."""

    def __init__(self) -> None:
        # By kind what followed its first; None for nothing yet.
        self._kinds: dict[_Key, Drop | None] = {}

    def admits(self, drop: Drop) -> bool:
        """Return whether a drop is a record of its own; one that is not is kept for `take`."""
        if drop.reason not in _OF_SOURCES or drop.epoch is not None or drop.values:
            return True
        key = drop.reason, drop.sensor, drop.detail
        if key not in self._kinds:
            self._kinds[key] = None
            return True
        held = self._kinds[key]
        self._kinds[key] = drop if held is None else _both(held, drop)
        return False

    def take(self) -> list[Drop]:
        """Return what was kept, and begin anew."""
        held = [drop for drop in self._kinds.values() if drop is not None]
        self._kinds.clear()
        return held


def _both(one: Drop, other: Drop) -> Drop:
    """Return one record of two losses: all of the time of both, and an unknown count stays so."""
    count = None if one.count is None or other.count is None else one.count + other.count
    return structs.replace(
        one,
        count=count,
        first=_first(one.first, other.first),
        last=_last(one.last, other.last),
        first_boot=_first(one.first_boot, other.first_boot),
        last_boot=_last(one.last_boot, other.last_boot),
    )


def _first(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else min(one, other)


def _last(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)
