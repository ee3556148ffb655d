"""A log under one path, through its rotations: every line once, and a gap said where one is.

    rename   the old file is read on while it is the newest of the rotated and has a name, for its
             writer may be told late to reopen; the new one is read from its beginning; files
             rotated in between are found beside it, oldest first
    truncate begin again at 0; a copy beside it that begins like ours is read to its end first, and
             the copies made after it
    restart  the positions are looked for among the file and its rotated, uncompressed brothers

What cannot be found again is declared: a compressed or deleted rotation, a truncation.
"""

import enum
import os
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from agent.hostroot import HostFileError, HostFileMissing, HostRoot
from agent.sense.sensors.logfamily import SIBLINGS_MAX, compressed_since, open_log, open_rotated
from agent.sense.sensors.logfile import Line, LogFile, Position
from runtime.clock import NS_PER_S

FILES_MAX: Final = SIBLINGS_MAX + 1
LINGER_NS: Final = 30 * NS_PER_S
TRUNCATED: Final = "truncated: what was written just before is lost"

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Annotated[tuple[Position, ...], Meta(max_length=2 * FILES_MAX)])


class Taken(Struct, frozen=True):
    """Lines in the order of the log; ``gaps`` says, each in a clause, what may be missing."""

    lines: list[Line]
    gaps: list[str]
    is_at_end: bool


class _Part(enum.Enum):
    LOG = "log"
    ROTATED = "rotated"
    COPY = "copy"


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
        self._told: dict[int, Position] = {}  # by inode: let go, and still there under some name
        self._gone: list[int] = []  # when those were written that have no name any more
        self._gaps: list[str] = []
        self._resumed_from = b""
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
        elif current is not None:
            if positions is None:
                current.leave_out_all_but(self._history_bytes_max)
            self._followed.append(_Followed(current))

    def files(self) -> list[LogFile]:
        """Return the files being read, oldest first."""
        return [followed.file for followed in self._followed]

    def due(self) -> int | None:
        """Return the boot time at which a rotated file is looked at again; None for never."""
        times = [f.until for f in self._followed if f.until is not None]
        return min(times, default=None)

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
        if self._gaps:
            return self._resumed_from  # what is missing has to be said before it is passed over
        places = [f.file.position(is_spent=f.is_spent) for f in self._followed]
        return _encoder.encode([*self._told.values(), *places])

    def close(self) -> None:
        """Close the files; harmless when repeated."""
        for followed in self._followed:
            followed.file.close()
        self._followed = []
        self._told = {}
        self._gone = []
        self._gaps = []

    # ----------------------------------------------------------------------------- reading

    def _take_from(self, followed: _Followed, count_max: int, now: int) -> list[Line]:
        file = followed.file
        try:
            if file.is_rewritten():
                self._begin_again(followed)
                return []
            if file.is_no_longer_empty():
                self._begin(followed)
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

    def _begin_again(self, followed: _Followed) -> None:
        """The file was truncated: read what copies of it still hold, then begin at 0."""
        self._gaps.append(TRUNCATED)
        self._read_first(followed, self._copies_of(followed))
        followed.file.go_to_start()

    def _begin(self, followed: _Followed) -> None:
        """The file was empty and is not: it may have held something else in between."""
        copies = self._copies_of(followed)
        if copies:
            self._gaps.append(TRUNCATED)
            self._read_first(followed, copies)
        followed.file.learn()

    def _read_first(self, followed: _Followed, copies: list[LogFile]) -> None:
        at = self._followed.index(followed)
        self._followed[at:at] = [_Followed(copy, _Part.COPY, until=0) for copy in copies]

    def _copies_of(self, followed: _Followed) -> list[LogFile]:
        """Open what was rotated away since we looked, copies of this file at our place in it."""
        file, position = followed.file, followed.file.position()
        if followed.part is not _Part.LOG:
            return []  # what was rotated away is not copied any more
        brothers = open_rotated(self._host, self._path)
        inodes = [brother.inode for brother in brothers]
        # What was rotated after this very file is no copy of it; nor is anything known to be one
        # when the file itself has gone: what came after it is found when it is given up.
        end = len(brothers) if self._is_still(file) else 0
        if file.inode in inodes:
            end = inodes.index(file.inode)
        copies: list[LogFile] = []
        for at, brother in enumerate(brothers):
            if at >= end or self._is_known(brother) or not _is_news(brother, position):
                brother.close()
            else:
                copies.append(brother)
        return copies

    def _let_go(self, followed: _Followed) -> None:
        file = followed.file
        self._told.pop(file.inode, None)
        if file.is_unlinked():
            self._gone = [*self._gone, file.written][-FILES_MAX:]
        else:
            self._told[file.inode] = file.position(is_spent=True)
            if len(self._told) > FILES_MAX:
                del self._told[next(iter(self._told))]
        file.close()
        self._followed.remove(followed)

    def _is_known(self, file: LogFile) -> bool:
        """Tell whether a file is followed, or was; an inode that is given again is not known."""
        if self._followed_as(file) is not None:
            return True
        told = self._told.get(file.inode)
        return told is not None and _is_at(file, told)

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
        newer = self._rotated_after(old.file if old else None, current)
        if old is not None:
            old.part, old.until = _Part.ROTATED, now + LINGER_NS
        if again is not None:  # it has got its name back: we are at our place in it
            self._followed.remove(again)
            again.part, again.until = _Part.LOG, None
        self._follow(newer, again or _Followed(current), now)
        return True

    def _followed_as(self, file: LogFile) -> _Followed | None:
        same = (f for f in self._followed if (f.file.dev, f.file.inode) == (file.dev, file.inode))
        return next(same, None)

    def _is_still(self, file: LogFile) -> bool:
        try:
            seen = self._host.stat(self._path)
        except HostFileError:
            return False
        return (file.dev, file.inode) == (seen.st_dev, seen.st_ino)

    def _rotated_after(self, old: LogFile | None, current: LogFile) -> list[LogFile]:
        """Open what was rotated between the file we read and the one that is there now."""
        if old is None:
            return []
        brothers = open_rotated(self._host, self._path)
        inodes = [brother.inode for brother in brothers]
        if old.inode in inodes:
            after = brothers[inodes.index(old.inode) + 1 :]
        else:  # compressed, moved away or deleted, and perhaps others with it
            after = [brother for brother in brothers if brother.written >= old.written]
        newer = [b for b in after if b.inode != current.inode and not self._is_known(b)]
        for brother in brothers:
            if brother not in newer:
                brother.close()
        if self._was_compressed_since(old):
            self._gaps.append("a rotation was compressed before it was read")
        return newer

    def _was_compressed_since(self, old: LogFile) -> bool:
        """Tell whether there is a compressed file, written to after this one, that we never saw."""
        seen = {f.file.written for f in self._followed} | {*self._gone}
        seen |= {position.written for position in self._told.values()}
        return bool(compressed_since(self._host, self._path, old.written) - seen)

    def _follow(self, newer: list[LogFile], log: _Followed, now: int) -> None:
        """Follow these too, oldest first, and then the log itself."""
        for file in newer:
            self._followed.append(_Followed(file, _Part.ROTATED, until=now + LINGER_NS))
        self._followed.append(log)
        while len(self._followed) > FILES_MAX:
            if not self._followed[0].is_spent:
                self._gaps.append("more rotations than are followed at once")
            self._let_go(self._followed[0])

    def _resume(self, positions: tuple[Position, ...], current: LogFile | None, now: int) -> None:
        """Continue from the oldest position that is found, through everything after it."""
        family = open_rotated(self._host, self._path)
        if current is not None:
            family = [file for file in family if file.inode != current.inode] + [current]
        first = len(family) - (current is not None)
        found = [_match(family, position) for position in positions]
        matched: dict[int, Position] = {}
        for position, match in zip(positions, found, strict=True):
            later = _later(position, family, set(found))
            if match is None or match in matched:
                if not position.is_spent:
                    self._gaps.append(
                        "a file that was read before is gone, compressed or rewritten"
                    )
                    first = min(first, later)
                continue
            family[match].go_to(position)
            matched[match] = position
            if position.is_spent:
                continue
            # One that was empty, and an older one was written to since: a copy of what it held.
            is_copied = not position.head_bytes and later < match
            is_emptied = not position.head_bytes and family[match].was_emptied(position)
            if is_copied or is_emptied or family[match].inode != position.inode:
                self._gaps.append(TRUNCATED)
            first = min(first, later if is_copied else match)
        for at, file in enumerate(family):
            if file is current:
                self._followed.append(_Followed(file))
            elif at >= first or at in matched:
                # One that was told before is looked into: a writer may have had it open.
                is_spent = at in matched and matched[at].is_spent
                until = now + (0 if is_spent else LINGER_NS)
                self._followed.append(_Followed(file, _Part.ROTATED, until))
            else:
                file.close()


def _later(place: Position, family: list[LogFile], known: set[int | None]) -> int:
    """Return the first unknown file that was written to after a place was; else the end."""
    later = (
        at
        for at, file in enumerate(family)
        if place.written and file.written > place.written and at not in known
    )
    return min(later, default=len(family))


def _is_news(file: LogFile, position: Position) -> bool:
    """Tell whether there is more in a file than up to a place: go there, or read all of it."""
    if position.head_bytes and _is_at(file, position):
        file.go_to(position)
        return True
    return file.written > position.written


def _match(family: list[LogFile], position: Position) -> int | None:
    """Return which file a position is in: that of its inode, else a copy of it."""
    found = [at for at, file in enumerate(family) if _is_at(file, position)]
    same = [at for at in found if family[at].inode == position.inode]
    return next(iter(same or found), None)


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
