"""A log under one path, through its rotations: every line once, and a gap said where one is.

    rename   the old file is read on until nobody has written to it for a while, the new one from
             its beginning; files rotated in between are found beside it, oldest first
    truncate begin again at 0; a copy beside it that begins like ours is read to its end first
    restart  the positions are looked for among the file and its rotated, uncompressed brothers

What cannot be found again is declared: a compressed or deleted rotation, a truncation.
"""

import os
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from agent.hostroot import HostFileError, HostFileMissing, HostRoot
from agent.sense.sensors.logfamily import SIBLINGS_MAX, open_log, open_rotated
from agent.sense.sensors.logfile import Line, LogFile, Position
from runtime.clock import NS_PER_S

FILES_MAX: Final = SIBLINGS_MAX + 1
LINGER_NS: Final = 30 * NS_PER_S

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Annotated[tuple[Position, ...], Meta(max_length=FILES_MAX)])


class Taken(Struct, frozen=True):
    """Lines in the order of the log; ``gaps`` says, each in a clause, what may be missing."""

    lines: list[Line]
    gaps: list[str]
    is_at_end: bool


class _Followed(Struct):
    """A file being read; a rotated one only ``until`` that boot time, or while it grows."""

    file: LogFile
    until: int | None = None


class Tail:
    """Follows one path.

    Args:
        host: the only way to its files.
        path: absolute, as the host sees it.
        history_bytes_max: how much of a file that was there before us is read at the first start.
    """

    MISSING: Final = "no such file"

    def __init__(self, host: HostRoot, path: str, history_bytes_max: int) -> None:
        self._host = host
        self._path = os.fsencode(path)
        self._history_bytes_max = history_bytes_max
        self._followed: list[_Followed] = []
        self._gaps: list[str] = []
        self.problem = ""

    def start(self, cursor: bytes, now: int) -> None:
        """Find the places a cursor names; never fails.

        Args:
            cursor: from `cursor`; empty at the first start.
            now: boot-clock nanoseconds.
        """
        self.close()
        current = self._open_current()
        positions = _parsed(cursor)
        if positions:
            self._resume(positions, current, now)
        elif current is not None:
            if positions is None:
                current.leave_out_all_but(self._history_bytes_max)
            self._followed.append(_Followed(current))

    def files(self) -> list[LogFile]:
        """Return the files being read, oldest first."""
        return [followed.file for followed in self._followed]

    def due(self) -> int | None:
        """Return the boot time at which a rotated file is let go; None while there is none."""
        times = [f.until for f in self._followed if f.until is not None]
        return min(times, default=None)

    def take(self, count_max: int, now: int) -> Taken:
        """Return the next lines, at most ``count_max``.

        Args:
            count_max: lines wanted.
            now: boot-clock nanoseconds.
        """
        lines: list[Line] = []
        for followed in list(self._followed):
            lines += self._take_from(followed, count_max - len(lines), now)
            if len(lines) >= count_max or not followed.file.is_at_end:
                break
        else:
            is_at_end = not self._turn(now)
            return Taken(lines, self._take_gaps(), is_at_end)
        return Taken(lines, self._take_gaps(), is_at_end=False)

    def cursor(self) -> bytes:
        """Return the places up to which lines were taken."""
        return _encoder.encode([followed.file.position() for followed in self._followed])

    def close(self) -> None:
        """Close the files; harmless when repeated."""
        for followed in self._followed:
            followed.file.close()
        self._followed = []
        self._gaps = []

    # ----------------------------------------------------------------------------- reading

    def _take_from(self, followed: _Followed, count_max: int, now: int) -> list[Line]:
        file = followed.file
        try:
            if file.is_rewritten():
                self._begin_again(followed)
                return []
            lines = file.take(count_max)
            self.problem = ""
            if followed.until is None or not file.is_at_end:
                return lines
            if lines:
                followed.until = max(followed.until, now + LINGER_NS)
            elif now >= followed.until:
                lines = file.take_rest()
                self._let_go(followed)
        except OSError as error:
            self._cannot_read(followed, error)
            return []
        return lines

    def _cannot_read(self, followed: _Followed, error: OSError) -> None:
        """Give a rotated file up; the log itself is tried again with every poll."""
        self.problem = f"cannot be read: {os.strerror(error.errno or 0)}"
        followed.file.is_at_end = True
        if followed.until is not None:
            self._gaps.append("a rotated file cannot be read on")
            self._let_go(followed)

    def _begin_again(self, followed: _Followed) -> None:
        """The file was truncated: read what a copy of it still holds, then begin at 0."""
        self._gaps.append("truncated: what was written just before is lost")
        position = followed.file.position()
        at = self._followed.index(followed)
        copy = None
        for brother in open_rotated(self._host, self._path):
            if copy is None and brother.inode != position.inode and _is_at(brother, position):
                brother.go_to(position)
                copy = brother
            else:
                brother.close()
        if copy is not None:
            self._followed.insert(at, _Followed(copy, until=0))
        followed.file.go_to_start()

    def _let_go(self, followed: _Followed) -> None:
        followed.file.close()
        self._followed.remove(followed)

    def _take_gaps(self) -> list[str]:
        gaps, self._gaps = self._gaps, []
        return gaps

    # ----------------------------------------------------------------------------- following

    def _open_current(self) -> LogFile | None:
        try:
            current = open_log(self._host, self._path)
        except HostFileMissing:
            self.problem = self.MISSING
        except HostFileError as error:
            self.problem = error.message
        else:
            self.problem = ""
            return current
        return None

    def _turn(self, now: int) -> bool:
        """Follow what the path names now, if that is another file; True where there is more."""
        old = next((f for f in self._followed if f.until is None), None)
        if old is not None and self._is_still(old.file):
            return False
        current = self._open_current()
        if current is None:
            return False  # renamed, and not there again yet: the old one is still being written
        if old is not None and (current.dev, current.inode) == (old.file.dev, old.file.inode):
            current.close()
            return False
        newer = [*self._rotated_after(old.file if old else None, current), current]
        if old is not None:
            old.until = now + LINGER_NS
        self._follow(newer, now)
        return True

    def _is_still(self, file: LogFile) -> bool:
        try:
            seen = self._host.stat(self._path)
        except HostFileError:
            return False
        return (file.dev, file.inode) == (seen.st_dev, seen.st_ino)

    def _rotated_after(self, old: LogFile | None, current: LogFile) -> list[LogFile]:
        """Open what was rotated between the file we read and the one that is there now."""
        brothers = open_rotated(self._host, self._path)
        inodes = [brother.inode for brother in brothers]
        first = len(brothers)
        if old is not None and old.inode in inodes:
            first = inodes.index(old.inode) + 1
        newer = [b for b in brothers[first:] if b.inode != current.inode]
        for brother in brothers:
            if brother not in newer:
                brother.close()
        return newer

    def _follow(self, newer: list[LogFile], now: int) -> None:
        """Follow these too, oldest first; the last one is the log itself."""
        for file in newer[:-1]:
            self._followed.append(_Followed(file, until=now + LINGER_NS))
        self._followed.append(_Followed(newer[-1]))
        while len(self._followed) > FILES_MAX:
            self._gaps.append("more rotations than are followed at once")
            self._let_go(self._followed[0])

    def _resume(self, positions: tuple[Position, ...], current: LogFile | None, now: int) -> None:
        """Continue from the oldest position that is found, through everything after it."""
        family = open_rotated(self._host, self._path)
        if current is not None:
            family = [file for file in family if file.inode != current.inode] + [current]
        first = len(family) - (current is not None)
        matched: set[int] = set()
        for position in positions:
            match = next((n for n, f in enumerate(family) if _is_at(f, position)), None)
            if match is None or match in matched:
                self._gaps.append("a file that was read before is gone, compressed or rewritten")
                continue
            if family[match].inode != position.inode:
                self._gaps.append("truncated: what was written just before is lost")
            family[match].go_to(position)
            matched.add(match)
            first = min(first, match)
        for file in family[:first]:
            file.close()
        for file in family[first:]:
            until = None if file is current else now + LINGER_NS
            self._followed.append(_Followed(file, until))


def _parsed(cursor: bytes) -> tuple[Position, ...] | None:
    """Return the positions; None where there never were any."""
    if not cursor:
        return None
    try:
        positions: tuple[Position, ...] = _decoder.decode(cursor)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return positions


def _is_at(file: LogFile, position: Position) -> bool:
    try:
        return file.is_at(position)
    except OSError:
        return False
