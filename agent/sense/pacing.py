"""Pacing: when a source is read, at each step of the budget's ladder. Pure.

A source that is eased is not read again before a pause, longer the more is given up; its
descriptors are not waited on meanwhile, so a flood of events costs one look and not one each.
"""

from typing import Final

from agent.sense.ports import Ease
from runtime.clock import NS_PER_MS, NS_PER_S

# Between two looks at a source that would be read at once.
PAUSES_NS: Final = {
    Ease.SLOWER: 100 * NS_PER_MS,
    Ease.NO_HASHING: 200 * NS_PER_MS,
    Ease.NO_ENRICHMENT: 400 * NS_PER_MS,
}
# And so much longer are the intervals of those that are read now and then, within bounds: what
# sweeps for long eases itself.
STRETCH: Final = 4
STRETCH_NS_MAX: Final = 60 * NS_PER_S


class Pace:
    """When each source was read last; every time is a boot-clock time."""

    def __init__(self) -> None:
        self.level = Ease.NORMAL
        self._read_at: dict[str, int] = {}
        # Since when a source wants to be read: one that says "now" says so every time.
        self._wanted_at: dict[str, int] = {}

    def was_read(self, name: str, now: int) -> None:
        """Note that a source has just been read."""
        self._read_at[name] = now
        self._wanted_at.pop(name, None)

    def rests(self, name: str, now: int) -> bool:
        """Return whether a source is left alone for now, whatever it has to tell."""
        if self.level is Ease.NORMAL:
            return False
        return self.level is Ease.HEARTBEAT or now < self._rested_at(name)

    def due(self, name: str, due: int | None, now: int, *, has_events: bool) -> int | None:
        """Return when a source is to be looked at next; None for not before an event.

        Args:
            name: of the source.
            due: when it would like to be read.
            now: the time.
            has_events: whether it has a descriptor that cannot be waited on while it rests.
        """
        if self.level is Ease.NORMAL:
            return due
        if self.level is Ease.HEARTBEAT:
            return None
        rested = self._rested_at(name)
        wake = rested if has_events and now < rested else None
        if due is None:
            return wake
        wanted = self._wanted_at[name] = min(due, self._wanted_at.get(name, due))
        waited = max(0, wanted - self._read_at.get(name, wanted))
        later = max(rested, wanted + min((STRETCH - 1) * waited, STRETCH_NS_MAX))
        return later if wake is None else min(later, wake)

    def _rested_at(self, name: str) -> int:
        last = self._read_at.get(name)
        return 0 if last is None else last + PAUSES_NS.get(self.level, 0)
