"""What of the files of a log is told: by name of the file where it has one, else by what is in it.

A file that is none of them is news and read from its beginning; one that holds more than was told
is read on from there. So nothing depends on the order of names or on anybody's clock.
"""

from collections.abc import Iterable
from typing import Final

from agent.sense.sensors.logfile import LogFile, Position

PLACES_MAX: Final = 32


class Places:
    """The places of files that are read no more, and what is known of compressed ones."""

    def __init__(self) -> None:
        self._told: dict[int, Position] = {}
        self._gone: list[int] = []
        self._packed: set[int] = set()

    def positions(self) -> list[Position]:
        """Return the places, the one noted last at the end."""
        return list(self._told.values())

    def note(self, file: LogFile) -> None:
        """Take note that a file is told as far as it has been read."""
        self._told.pop(file.inode, None)
        # What was inflated never had a name; that it was told is kept as of any other.
        if file.is_unlinked() and not file.is_inflated:
            self._gone = [*self._gone, file.written][-PLACES_MAX:]
            return
        self._told[file.inode] = file.position(is_spent=True)
        if len(self._told) > PLACES_MAX:
            del self._told[next(iter(self._told))]

    def note_packed(self, times: set[int]) -> None:
        """Take note of the compressed files that are there, by when they were written."""
        self._packed = set(times)

    def is_packed_unread(self, times: set[int], followed: Iterable[LogFile]) -> bool:
        """Tell whether there is a compressed file that is none of those we have read.

        Args:
            times: when those that are there now were last written to, which compressing keeps.
            followed: the files being read.
        """
        read = {file.written for file in followed} | {*self._gone}
        read |= {position.written for position in self._told.values()}
        # Some programs keep no more of a time than its second.
        seconds = {at // _NS_PER_S * _NS_PER_S for at in read}
        news = times - self._packed - read - seconds
        self._packed = set(times)
        return bool(news)


def place_in(file: LogFile, positions: Iterable[Position]) -> Position | None:
    """Return which of the places is in this file: its own, else the farthest it has a copy of."""
    found = [position for position in positions if _is_at(file, position)]
    own = [position for position in found if position.inode == file.inode]
    return max(own or found, key=lambda position: position.offset, default=None)


def _is_at(file: LogFile, position: Position) -> bool:
    try:
        return file.is_at(position)
    except OSError:
        return False


_NS_PER_S: Final = 1_000_000_000
