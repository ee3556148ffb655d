"""A log under one path, through its rotations: every line once, and a gap said where one is.

    rename   the old file is read on while it is the newest of the rotated and has a name, for its
             writer may be told late to reopen; the new one is read from its beginning; what was
             rotated in between is found beside it: whatever is in no file we know
    truncate begin again at 0; a copy beside it is read on from our place first
    restart  the places are looked for among the file and its rotated brothers; those that gzip has
             compressed are inflated by whoever calls, see `packed`

What cannot be found again is declared: a rotation that is deleted or not to be inflated, and what
was compressed before we saw it, a truncation.
"""

import enum
import os
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from agent.hostroot import HostFileError, HostFileMissing, HostRoot
from agent.sense.sensors.logfamily import SIBLINGS_MAX, compressed, gzipped, open_log, open_rotated
from agent.sense.sensors.logfile import Line, LogFile, Position
from agent.sense.sensors.loglost import TRUNCATED, LostPlaces
from agent.sense.sensors.logplaces import PLACES_MAX, Places, place_in
from agent.sense.sensors.logunpack import Packed
from runtime.clock import NS_PER_S

FILES_MAX: Final = SIBLINGS_MAX + 1
LINGER_NS: Final = 30 * NS_PER_S

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(
    Annotated[tuple[Position, ...], Meta(max_length=PLACES_MAX + FILES_MAX + SIBLINGS_MAX)]
)


class Taken(Struct, frozen=True):
    """Lines in the order of the log; ``gaps`` says, each in a clause, what may be missing."""

    lines: list[Line]
    gaps: list[str]
    is_at_end: bool


class _Part(enum.Enum):
    LOG = "log"
    ROTATED = "rotated"


class _Followed(Struct):
    """A file being read; one that is not the log itself is looked at again at ``until``.

    A rotated one that has been quiet until then has no such time: all of it is told.
    """

    file: LogFile
    part: _Part = _Part.LOG
    until: int | None = None

    @property
    def is_spent(self) -> bool:
        return self.part is not _Part.LOG and self.until is None


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
        self._places = Places()
        self._gaps: list[str] = []
        self._resumed_from = b""
        self._lost = LostPlaces()
        self.problem = ""
        self.was_read = 0  # boot-clock nanoseconds, for whoever reads several in turn

    def start(self, cursor: bytes, now: int) -> None:
        """Find the places a cursor names; never fails.

        Args:
            cursor: from `cursor`; empty at the first start.
            now: boot-clock nanoseconds.
        """
        self.close()
        self._resumed_from = cursor
        current = self._open_current()
        positions = _parsed(cursor)
        if positions:
            self._resume(positions, current, now)
        else:
            self._begin_here(current)

    def files(self) -> list[LogFile]:
        """Return the files being read, oldest first."""
        return [followed.file for followed in self._followed]

    def due(self) -> int | None:
        """Return the boot time at which a rotated file is looked at again; None for never."""
        times = [f.until for f in self._followed if f.until is not None]
        return min(times, default=None)

    @property
    def packed(self) -> Sequence[Packed]:
        """Return the compressed rotations that are to be inflated before anything else is read."""
        return self._lost.packed

    def behind(self) -> int:
        """Return how many bytes are there that no line was made of yet."""
        return sum(followed.file.behind() for followed in self._followed)

    def take(self, count_max: int, now: int) -> Taken:
        """Return the next lines, at most ``count_max``.

        Args:
            count_max: lines wanted.
            now: boot-clock nanoseconds.
        """
        lines: list[Line] = []
        if self.packed:
            return Taken([], self._take_gaps(), is_at_end=True)
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
        if self._gaps or self.packed:
            return self._resumed_from  # what is missing has to be said before it is passed over
        places = [f.file.position(is_spent=f.is_spent) for f in self._followed]
        return _encoder.encode([*self._places.positions(), *places])

    def close(self) -> None:
        """Close the files; harmless when repeated."""
        for followed in self._followed:
            followed.file.close()
        self._lost.close()
        self._followed = []
        self._places = Places()
        self._gaps = []

    # ----------------------------------------------------------------------------- reading

    def _take_from(self, followed: _Followed, count_max: int, now: int) -> list[Line]:
        file = followed.file
        try:
            if file.is_rewritten():
                self._begin_again(followed, now)
                return []
            if file.is_no_longer_empty():
                self._begin(followed, now)
                return []
            lines = file.take(count_max)
            self.problem = ""
            if followed.part is _Part.LOG or not file.is_at_end:
                return lines
            if lines:
                followed.until = max(followed.until or 0, now + LINGER_NS)
            elif self._is_to_be_kept(followed):
                if followed.until is not None and now >= followed.until:
                    followed.until = None
            elif followed.until is None or now >= followed.until:
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
        if followed.part is not _Part.LOG:
            self._gaps.append("a rotated file cannot be read on")
            self._let_go(followed)

    def _is_to_be_kept(self, followed: _Followed) -> bool:
        """Tell whether a writer may still have this rotated file open: the newest that is there."""
        rotated = [f for f in self._followed if f.part is _Part.ROTATED]
        return followed in rotated[-1:] and not followed.file.is_unlinked()

    def _begin_again(self, followed: _Followed, now: int) -> None:
        """The file was truncated: read what copies of it still hold, then begin at 0."""
        self._gaps.append(TRUNCATED)
        if followed.part is _Part.LOG:
            self._read_first(followed, self._news(followed), now)
        followed.file.go_to_start()

    def _begin(self, followed: _Followed, now: int) -> None:
        """The file was empty and is not: it may have held something else in between."""
        if followed.part is _Part.LOG and self._is_still(followed.file):
            news = self._news(None)
            if news:
                self._gaps.append(TRUNCATED)
                self._read_first(followed, news, now)
        followed.file.learn()

    def _read_first(self, followed: _Followed, news: list[LogFile], now: int) -> None:
        at = self._followed.index(followed)
        until = now + LINGER_NS
        self._followed[at:at] = [_Followed(file, _Part.ROTATED, until) for file in news]

    def _let_go(self, followed: _Followed) -> None:
        self._places.note(followed.file)
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
        old = next((f for f in self._followed if f.part is _Part.LOG), None)
        if old is not None and self._is_still(old.file):
            return False
        current = self._open_current()
        if current is None:
            return False  # renamed, and not there again yet: the old one is still being written
        again = self._followed_as(current)
        if again is not None:
            current.close()
        if again is not None and again is old:
            return False
        log = again or _Followed(current)
        news = [file for file in self._news(None) if not self._is_same(file, log.file)]
        packed = compressed(self._host, self._path)
        if self._places.is_packed_unread(packed, self.files()):
            self._gaps.append("a rotation was compressed before it was read")
        if old is not None:
            old.part, old.until = _Part.ROTATED, now + LINGER_NS
        if again is not None:  # it has got its name back: we are at our place in it
            self._followed.remove(again)
            again.part, again.until = _Part.LOG, None
        self._follow(news, log, now)
        return True

    def _news(self, truncated: _Followed | None) -> list[LogFile]:
        """Open what was rotated away and is not read yet, each at its place, oldest first.

        Args:
            truncated: the file whose copies are wanted at its place; copies of others are not.
        """
        own = [f.file.position() for f in self._followed if f is truncated]
        others = [f.file.position() for f in self._followed if f is not truncated]
        told = self._places.positions()
        news: list[LogFile] = []
        for file in open_rotated(self._host, self._path):
            if self._followed_as(file) is not None:
                file.close()
                continue
            place = place_in(file, [*own, *others, *told])
            if place in others:
                file.skip_all()
            elif place is not None:
                file.go_to(place)
            if place is None or file.behind():
                news.append(file)
            else:
                self._places.note(file)
                file.close()
        return news

    @staticmethod
    def _is_same(file: LogFile, other: LogFile) -> bool:
        """Tell whether a file is another; then it was renamed while we looked, and is closed."""
        is_same = (file.dev, file.inode) == (other.dev, other.inode)
        if is_same:
            file.close()
        return is_same

    def _followed_as(self, file: LogFile) -> _Followed | None:
        same = (f for f in self._followed if (f.file.dev, f.file.inode) == (file.dev, file.inode))
        return next(same, None)

    def _is_still(self, file: LogFile) -> bool:
        try:
            seen = self._host.stat(self._path)
        except HostFileError:
            return False
        return (file.dev, file.inode) == (seen.st_dev, seen.st_ino)

    def _follow(self, news: list[LogFile], log: _Followed, now: int) -> None:
        """Follow these too, oldest first, and then the log itself."""
        for file in news:
            self._followed.append(_Followed(file, _Part.ROTATED, until=now + LINGER_NS))
        self._followed.append(log)
        while len(self._followed) > FILES_MAX:
            if not self._followed[0].is_spent:
                self._gaps.append("more rotations than are followed at once")
            self._let_go(self._followed[0])

    def _begin_here(self, current: LogFile | None) -> None:
        """Begin with the end of the log; what was rotated away before is history."""
        for file in open_rotated(self._host, self._path):
            file.skip_all()
            self._places.note(file)
            file.close()
        self._places.note_packed(compressed(self._host, self._path))
        if current is not None:
            current.leave_out_all_but(self._history_bytes_max)
            self._followed.append(_Followed(current))

    def _resume(self, positions: tuple[Position, ...], current: LogFile | None, now: int) -> None:
        """Continue from the places that are found, and read all that is in none of them."""
        self._places.note_packed(compressed(self._host, self._path))
        family = open_rotated(self._host, self._path)
        if current is not None:
            family = [f for f in family if not self._is_same(f, current)] + [current]
        places = [place_in(file, positions) for file in family]
        own = {p.inode for f, p in zip(family, places, strict=True) if p and p.inode == f.inode}
        news = False
        for file, place in zip(family, places, strict=True):
            if place is None:
                news = True
            elif self._go_on(file, place, own, has_news=news) and file not in family[-2:]:
                self._places.note(file)
                file.close()
                continue
            if file is current:
                self._followed.append(_Followed(file))
            else:
                self._followed.append(_Followed(file, _Part.ROTATED, now + LINGER_NS))
        lost = [p for p in positions if p not in places and not p.is_spent]
        packed = gzipped(self._host, self._path) if lost else []
        told_until = max((p.written for p in positions), default=0)
        self._lost = LostPlaces(lost, current.inode if current else None, packed, told_until)
        self._end_unpacking()

    def take_unpacked(self, fd: int) -> None:
        """Take what the next of `packed` holds; see `Unpacker`.

        Args:
            fd: an open file, ours now; -1 where it cannot be had.
        """
        self._lost.take(fd)
        self._end_unpacking()

    def _end_unpacking(self) -> None:
        """When nothing is waited for, read first what was inflated, and say what is missing."""
        if self._lost.packed:
            return
        self._followed[:0] = [_Followed(f, _Part.ROTATED, until=0) for f in self._lost.files]
        self._gaps += self._lost.gaps()
        self._lost = LostPlaces()

    def _go_on(self, file: LogFile, place: Position, own: set[int], *, has_news: bool) -> bool:
        """Go to a place, and tell whether all of the file was told and nobody writes to it.

        Args:
            file: that has it.
            place: in this file, or in one of which this is a copy.
            own: the inodes whose files still have their own places.
            has_news: whether an older file is none that we know.
        """
        if file.inode != place.inode and place.inode in own:
            file.skip_all()  # a copy of a file that is here too
            return True
        file.go_to(place)
        if place.is_spent:
            return not file.behind()
        # One that was empty: an older one that is news is a copy of what it held.
        is_copied = not place.head_bytes and (has_news or file.was_emptied(place))
        if is_copied or place.inode not in own:
            self._gaps.append(TRUNCATED)
        return False


def _parsed(cursor: bytes) -> tuple[Position, ...] | None:
    """Return the positions; None where there never were any."""
    if not cursor:
        return None
    try:
        positions: tuple[Position, ...] = _decoder.decode(cursor)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return positions
