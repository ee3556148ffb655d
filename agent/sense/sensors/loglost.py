"""Places in a log that no file has any more: looked for in what its compressed rotations hold."""

import os
from collections.abc import Iterable, Sequence
from typing import Final

from agent.sense.sensors.logfile import LogFile, Position
from agent.sense.sensors.logplaces import place_in
from agent.sense.sensors.logunpack import Packed
from runtime.clock import NS_PER_S

TRUNCATED: Final = "truncated: what was written just before is lost"
GONE: Final = "a file that was read before is gone, compressed or rewritten"
UNREADABLE: Final = "a rotation that was compressed cannot be read"
UNENDED: Final = "a rotation was compressed while it was written to"
PACKED_MAX: Final = 16


class LostPlaces:
    """The places, what is to be inflated for them, and what was found in it.

    Args:
        places: that are in no file.
        current: inode of the log itself, or None: a place in it was lost by truncation.
        gzipped: path and time of writing of compressed rotations, oldest first.
        told_until: when the newest of all that was told was written; what is later is unread.
    """

    def __init__(
        self,
        places: Sequence[Position] = (),
        current: int | None = None,
        gzipped: Iterable[tuple[bytes, int]] = (),
        told_until: int = 0,
    ) -> None:
        self._places = places
        self._said = [place for place in places if place.inode == current]
        self._found: list[Position] = []
        self._is_unreadable = False
        self._is_unended = False
        self._told_until = told_until
        # Some programs keep no more of a time than its second.
        since = min((place.written for place in places), default=0) // NS_PER_S * NS_PER_S
        wanted = [Packed(path, at) for path, at in gzipped if at >= since]
        self.packed = wanted[-PACKED_MAX:] if since else []
        self.files: list[LogFile] = []

    def take(self, fd: int) -> None:
        """Take what the next of `packed` holds: read on from a place, or all that came after one.

        Args:
            fd: an open file, ours now; -1 where it cannot be had.
        """
        packed = self.packed.pop(0)
        is_later = packed.written > self._told_until
        if fd < 0:
            self._is_unreadable = self._is_unreadable or is_later
            return
        # It was written when its original was, however often that is asked from now on.
        os.utime(fd, ns=(packed.written, packed.written))
        file = LogFile(fd)
        file.is_inflated = True
        place = place_in(file, self._places)
        if place is not None:
            file.go_to(place)
            self._found.append(place)
        if place is not None or is_later:
            self.files.append(file)
            self._is_unended = self._is_unended or not file.has_its_end()
        else:
            file.close()

    def gaps(self) -> list[str]:
        """Return, each in a clause, what may be missing when nothing is waited for any more."""
        known = self._found + self._said
        gone = [GONE for place in self._places if place not in known]
        unreadable = [UNREADABLE] if self._is_unreadable and not gone else []
        unended = [UNENDED] if self._is_unended else []
        return [TRUNCATED] * len(self._said) + gone + unreadable + unended

    def close(self) -> None:
        """Close what was found and not taken over."""
        for file in self.files:
            file.close()
        self.files, self.packed = [], []
