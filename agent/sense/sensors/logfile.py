"""One open log file, read line by line from an offset; knows when it is no longer the same file.

A file is named by its inode, a hash of its first bytes and one of the last bytes before the place
up to which it was read: inodes are given again, and a file may begin as the one before it did. A
line is taken only with its end; a line longer than the cap is cut, its rest skipped without being
kept, so that no line costs more memory than the cap. Zeros where a line would begin are the hole
that a writer without O_APPEND leaves in a file truncated under it: no line, and skipped.
"""

import contextlib
import hashlib
import os
from typing import Final

from msgspec import Struct

HEAD_BYTES_MAX: Final = 256
LAST_BYTES_MAX: Final = 128
LINE_BYTES_MAX: Final = 64 * 1024
CHUNK_BYTES: Final = 256 * 1024
CUT_MARK: Final = b" [cut]"
_CHUNKS_MAX: Final = 16  # read in one `take`: a gigabyte without a line end must not block us


class Position(Struct, frozen=True, array_like=True):
    """How far a file has been read, and enough to know it again.

    ``head`` is the SHA-256 of the first ``head_bytes``, ``last`` of the ``last_bytes`` before the
    offset. ``is_skipping``: the rest of a line that was cut, or of the one we began in, is still to
    be passed over. ``written`` is when the file was last written to, as far as we saw.
    ``is_spent``: it was rotated away and then quiet, so nothing is missed where it is gone.
    """

    dev: int
    inode: int
    head: bytes
    head_bytes: int
    offset: int
    is_skipping: bool = False
    last: bytes = b""
    last_bytes: int = 0
    written: int = 0
    is_spent: bool = False


class Line(Struct, frozen=True):
    """A line without its end, where it begins, and whether it was cut."""

    offset: int
    text: bytes
    is_cut: bool = False


class LogFile:
    """A regular file being followed.

    Args:
        fd: open for reading; closed by `close`.
    """

    def __init__(self, fd: int) -> None:
        seen = os.fstat(fd)
        self.fd = fd
        self.dev = seen.st_dev
        self.inode = seen.st_ino
        self._offset = 0
        self._is_skipping = False
        self._head_bytes = 0
        self._head = b""
        self._chunk = b""
        self._at = 0
        self._before = b""  # what stands right before the chunk, as it was when we read it
        self._seen_as: tuple[int, int] | None = None
        self._is_other = False
        self.written = seen.st_mtime_ns
        self.is_inflated = False  # out of a compressed rotation: a file without a name
        self.is_at_end = False
        self._learn_head(seen.st_size)

    def position(self, *, is_spent: bool = False) -> Position:
        """Return where the next `take` begins."""
        last = self._last()
        return Position(
            dev=self.dev,
            inode=self.inode,
            head=self._head,
            head_bytes=self._head_bytes,
            offset=self._offset,
            is_skipping=self._is_skipping,
            last=hashlib.sha256(last).digest(),
            last_bytes=len(last),
            written=self.written,
            is_spent=is_spent,
        )

    def behind(self) -> int:
        """Return how many bytes are there that no line was made of yet; 0 where nobody can tell."""
        try:
            return max(0, os.fstat(self.fd).st_size - self._offset)
        except OSError:
            return 0

    def has_its_end(self) -> bool:
        """Tell whether the last line has its end, or there is none; False where nobody can tell."""
        try:
            size = os.fstat(self.fd).st_size
            return size == 0 or os.pread(self.fd, 1, size - 1) == b"\n"
        except OSError:
            return False

    def is_unlinked(self) -> bool:
        """Tell whether the file has no name any more, or cannot be asked."""
        try:
            return os.fstat(self.fd).st_nlink == 0
        except OSError:
            return True

    def is_at(self, position: Position) -> bool:
        """Tell whether the position is one in this file: same inode, or a copy or rename of it.

        Raises:
            OSError: it cannot be read.
        """
        size = os.fstat(self.fd).st_size
        if size < position.offset or size < position.head_bytes:
            return False
        if self._head_of(position.head_bytes) != position.head:
            return False
        count = min(position.last_bytes, position.offset)
        last = os.pread(self.fd, count, position.offset - count) if count > 0 else b""
        if position.last_bytes and hashlib.sha256(last).digest() != position.last:
            return False
        is_telling = position.offset > 0 or position.head_bytes >= HEAD_BYTES_MAX // 4
        return self.inode == position.inode or is_telling

    def was_emptied(self, position: Position) -> bool:
        """Tell whether it was empty at a position, is again, and was written to in between."""
        return not self._head_bytes and self.written != (position.written or self.written)

    def go_to(self, position: Position) -> None:
        """Continue where a position in this file says, as `is_at` has found."""
        self._forget_chunk()
        self._offset = position.offset
        self._is_skipping = position.is_skipping
        count = max(0, min(position.last_bytes, position.offset, LAST_BYTES_MAX))
        with contextlib.suppress(OSError):  # reading on will say so
            self._before = os.pread(self.fd, count, position.offset - count)
        self.is_at_end = False

    def go_to_start(self) -> None:
        """Read the file as a new one: it was truncated."""
        self._offset, self._is_skipping = 0, False
        self._head, self._head_bytes = b"", 0
        self._forget_chunk()
        self.is_at_end = False
        with contextlib.suppress(OSError):
            self.written = os.fstat(self.fd).st_mtime_ns

    def leave_out_all_but(self, count: int) -> None:
        """Begin ``count`` bytes before the end, with the first line that begins there."""
        size = os.fstat(self.fd).st_size
        if size > count:
            self._offset, self._is_skipping = size - count - 1, True

    def skip_all(self) -> None:
        """Take all that is in it for read."""
        self._forget_chunk()
        with contextlib.suppress(OSError):  # reading on will say so
            self._offset = os.fstat(self.fd).st_size
            count = min(self._offset, LAST_BYTES_MAX)
            self._before = os.pread(self.fd, count, self._offset - count)
        self._is_skipping = not self._before.endswith(b"\n")

    def is_rewritten(self) -> bool:
        """Tell whether the file has been cut short, or is not what we have read any more.

        Raises:
            OSError: it cannot be read.
        """
        if self._at < len(self._chunk):
            return False  # what is at hand comes first
        seen = os.fstat(self.fd)
        if self._is_other or seen.st_size < max(self._offset, self._head_bytes):
            return True
        if not seen.st_size and seen.st_mtime_ns != self.written:
            return True  # it was empty and is again: something may have come and gone
        before = len(self._before)
        if before and os.pread(self.fd, before, self._offset - before) != self._before:
            return True
        return self._head_of(self._head_bytes) != self._head

    def is_no_longer_empty(self) -> bool:
        """Tell whether there is something in a file that had nothing whenever we looked.

        Raises:
            OSError: it cannot be read.
        """
        return not self._head_bytes and os.fstat(self.fd).st_size > 0

    def learn(self) -> None:
        """Take the file for the one we follow, as it is now.

        Raises:
            OSError: it cannot be read.
        """
        self._learn_head(os.fstat(self.fd).st_size)
        self.is_at_end = False

    def take(self, count_max: int) -> list[Line]:
        """Return the next lines, at most ``count_max``; `is_at_end` tells whether more may wait.

        Raises:
            OSError: it cannot be read.
        """
        lines: list[Line] = []
        chunks = 0
        self.is_at_end = False
        while len(lines) < count_max and chunks < _CHUNKS_MAX and not self.is_at_end:
            if self._at >= len(self._chunk):
                chunks += 1
                self.is_at_end = not self._refill()
            elif self._is_skipping:
                self._skip()
            else:
                self._take_from_chunk(lines, count_max)
        return lines

    def take_rest(self) -> list[Line]:
        """Return the last line of a file that nobody will finish; none where it has its end.

        Raises:
            OSError: it cannot be read.
        """
        self._seen_as = None
        if self._is_skipping or not self._refill() or b"\n" in self._chunk:
            self._drop_chunk()
            return []
        line = self._line(self._chunk)
        self._move(len(self._chunk))
        return [line]

    def close(self) -> None:
        """Close the descriptor; harmless when repeated."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _refill(self) -> bool:
        """Read the next chunk; False where nothing was added since the last time."""
        seen = os.fstat(self.fd)
        seen_as = (seen.st_size, seen.st_mtime_ns)
        if seen_as == self._seen_as:
            return False
        if not self._learn_head(seen.st_size):
            self._is_other = True
            return False
        # One call for both, so that what follows is known to follow what we have read.
        before = len(self._before)
        data = os.pread(self.fd, before + CHUNK_BYTES, self._offset - before)
        if data[:before] != self._before:
            self._is_other = True
            return False
        self.written = seen.st_mtime_ns
        self._chunk, self._at = data[before:], 0
        if not self._chunk:
            self._seen_as = seen_as
        return bool(self._chunk)

    def _take_from_chunk(self, lines: list[Line], count_max: int) -> None:
        """Move whole lines from the chunk, and deal with a last piece that has no end."""
        chunk = self._chunk
        while len(lines) < count_max and self._at < len(self._chunk):
            if chunk[self._at] == 0:
                self._pass_hole()
                return
            end = chunk.find(b"\n", self._at)
            if end < 0:
                self._without_end(lines)
                return
            lines.append(self._line(chunk[self._at : end]))
            self._move(end + 1 - self._at)

    def _without_end(self, lines: list[Line]) -> None:
        """Cut a piece that is too long already; else read on, or wait for its end."""
        left = len(self._chunk) - self._at
        if left > LINE_BYTES_MAX:
            lines.append(self._line(self._chunk[self._at :]))
            self._is_skipping = True
            self._move(left)
            return
        self._drop_chunk()
        seen = os.fstat(self.fd)
        self.is_at_end = self._offset + left >= seen.st_size
        self._seen_as = (seen.st_size, seen.st_mtime_ns) if self.is_at_end else None

    def _skip(self) -> None:
        end = self._chunk.find(b"\n", self._at)
        self._is_skipping = end < 0
        self._move((len(self._chunk) if end < 0 else end + 1) - self._at)

    def _pass_hole(self) -> None:
        """Pass over the zeros at hand; the rest of a hole that is none on disk costs no reading."""
        left = len(self._chunk) - self._at
        zeros = left - len(self._chunk[self._at :].lstrip(b"\0"))
        self._move(zeros)
        if zeros < left:
            return
        with contextlib.suppress(OSError):  # ENXIO: nothing but the hole; or not known here
            data = os.lseek(self.fd, self._offset, os.SEEK_DATA)
            if data > self._offset:
                self._forget_chunk()
                self._offset = data

    def _move(self, count: int) -> None:
        self._at += count
        self._offset += count
        if self._at >= len(self._chunk):
            self._drop_chunk()

    def _last(self) -> bytes:
        """Return the bytes before the offset, as we read them."""
        if self._at >= LAST_BYTES_MAX:
            return self._chunk[self._at - LAST_BYTES_MAX : self._at]
        return (self._before + self._chunk[: self._at])[-LAST_BYTES_MAX:]

    def _drop_chunk(self) -> None:
        """Let the chunk go and read on from the offset."""
        self._before = self._last()
        self._chunk, self._at, self._seen_as = b"", 0, None

    def _forget_chunk(self) -> None:
        """Let go of all that was known of the place we were at."""
        self._chunk, self._at, self._seen_as, self._before = b"", 0, None, b""
        self._is_other = False

    def _line(self, raw: bytes) -> Line:
        text = raw.removesuffix(b"\r")
        if len(text) <= LINE_BYTES_MAX:
            return Line(self._offset, text)
        return Line(self._offset, text[: LINE_BYTES_MAX - len(CUT_MARK)] + CUT_MARK, is_cut=True)

    def _learn_head(self, size: int) -> bool:
        """Hash more of the beginning while the file is short; False where it has changed."""
        if self._head_bytes < HEAD_BYTES_MAX and size > self._head_bytes:
            if self._head_of(self._head_bytes) != self._head:
                return False
            self._head_bytes = min(size, HEAD_BYTES_MAX)
            self._head = self._head_of(self._head_bytes)
        return True

    def _head_of(self, count: int) -> bytes:
        return hashlib.sha256(os.pread(self.fd, count, 0)).digest() if count else b""
