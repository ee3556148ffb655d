"""The segment files of the outbox: written and removed by `sense`, read by `ship`."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from agent.errors import OutboxFailed, OutboxFull, SegmentDamaged
from agent.segments import (
    FRAME_BYTES,
    SEGMENT_BYTES,
    Entry,
    SegmentId,
    encode_entry,
    find_next,
    read_frame,
    read_payload,
)
from proto.model import Priority
from runtime.files import fsync_dir

SEGMENT_BYTES_MIN = 256 * 1024
# Left free by a new segment: a batch counts only when the header log has room for its note.
SPARE_BYTES = 256 * 1024
_ZEROS = bytes(256 * 1024)
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


class Segment:
    """One file: how large it is, how far it is filled, and how far that is durable."""

    def __init__(self, segment: SegmentId, path: Path, size: int, epoch: bytes) -> None:
        self.id = segment
        self.path = path
        self.size = size
        self.epoch = epoch
        self.filled = 0
        self.durable = 0
        self.fd = -1

    @property
    def is_open(self) -> bool:
        """Whether more may be written."""
        return self.fd >= 0

    def has_room(self, payload_bytes: int) -> bool:
        """Return whether an entry of this payload fits behind what is written."""
        return self.is_open and self.filled + FRAME_BYTES + payload_bytes <= self.size

    def close(self) -> None:
        """Write no more; harmless when repeated."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class SegmentStore:
    """The directory of segments.

    Args:
        path: readable by `ship`, writable by `sense` alone.
        group: numeric group that may read the files; None leaves them as they are made.
        segment_bytes: size of a new file where the disk has room for it.
    """

    def __init__(self, path: Path, group: int | None, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._path = path
        self._group = group
        self._segment_bytes = segment_bytes

    def present(self) -> Iterator[tuple[SegmentId, int]]:
        """Yield the id and size of every segment file there is; other names are not ours."""
        for entry in sorted(os.scandir(self._path), key=lambda entry: entry.name):
            try:
                segment = SegmentId.parse(entry.name)
            except SegmentDamaged:
                continue
            if entry.is_file(follow_symlinks=False):
                yield segment, entry.stat(follow_symlinks=False).st_size

    def disk_bytes(self) -> int:
        """Return the size of the file system, all of it; a very large one where it is not told."""
        try:
            told = os.statvfs(self._path)
        except OSError:
            return 1 << 62
        return told.f_blocks * told.f_frsize

    def existing(self, segment: SegmentId, size: int, epoch: bytes) -> Segment:
        """Return a segment of an earlier run, closed for writing."""
        return Segment(segment, self._path / str(segment), size, epoch)

    def create(self, number: int, priority: Priority, epoch: bytes, *, needed: int) -> Segment:
        """Make a new file, written with zeros to its full size so that a commit moves no metadata.

        On a disk too small for the usual size the file is made smaller, down to what is needed;
        `SPARE_BYTES` of the disk stay free.

        Raises:
            OutboxFull: not even that fits.
            OutboxFailed: the disk answers with another error.
        """
        size = max(self._segment_bytes, needed)
        while True:
            try:
                return self._create(number, priority, epoch, size)
            except OutboxFull:
                if size <= max(needed, SEGMENT_BYTES_MIN):
                    raise
                size = max(size // 2, needed, SEGMENT_BYTES_MIN)

    def _create(self, number: int, priority: Priority, epoch: bytes, size: int) -> Segment:
        segment_id = SegmentId(number, priority)
        segment = Segment(segment_id, self._path / str(segment_id), size, epoch)
        try:
            segment.fd = os.open(
                segment.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640
            )
            self._prewrite(segment)
        except OSError as error:
            if segment.is_open:
                segment.close()
                with contextlib.suppress(OSError):
                    segment.path.unlink()
            if error.errno in _NO_SPACE:
                raise OutboxFull(f"no room for a segment of {size} bytes") from error
            raise OutboxFailed(f"segment: {error.strerror}") from error
        return segment

    def _prewrite(self, segment: Segment) -> None:
        os.fchmod(segment.fd, 0o640)
        if self._group is not None:
            os.fchown(segment.fd, -1, self._group)
        for offset in range(0, segment.size, len(_ZEROS)):
            _write_all(segment.fd, _ZEROS[: segment.size - offset], offset)
        os.fsync(segment.fd)
        fsync_dir(self._path)
        rest = os.fstatvfs(segment.fd)
        if rest.f_bavail * rest.f_frsize < SPARE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(self, segment: Segment, seq: int, payload: bytes) -> int:
        """Write an entry behind the others, not yet durable; return its offset.

        Raises:
            OutboxFull: the disk is full.
            OutboxFailed: the write failed.
        """
        offset = segment.filled
        data = encode_entry(segment.id, offset, seq, payload)
        try:
            _write_all(segment.fd, data, offset)
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise OutboxFull("no room for a batch") from error
            raise OutboxFailed(f"segment: {error.strerror}") from error
        segment.filled = offset + len(data)
        return offset

    def sync(self, segment: Segment) -> None:
        """Make everything written durable.

        Raises:
            OutboxFailed: it is not; the file is closed and never written again.
        """
        try:
            os.fdatasync(segment.fd)
        except OSError as error:
            segment.close()
            raise OutboxFailed(f"segment: {error.strerror}") from error

    def remove(self, segment: Segment) -> None:
        """Give the space back, even while a reader holds the file open.

        Raises:
            OutboxFailed: the file system refuses.
        """
        segment.close()
        try:
            os.truncate(segment.path, 0)
            segment.path.unlink()
            fsync_dir(self._path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutboxFailed(f"segment: {error.strerror}") from error

    def reader(self, segment: SegmentId) -> "SegmentReader":
        """Open a segment for reading.

        Raises:
            OSError: it is not there.
        """
        return SegmentReader(segment, self._path / str(segment))


class SegmentReader:
    """A segment opened for reading; use as a context manager."""

    def __init__(self, segment: SegmentId, path: Path) -> None:
        self._id = segment
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def _read_at(self, offset: int, size: int) -> bytes:
        return os.pread(self._fd, size, offset)

    def payload_at(self, offset: int) -> bytes:
        """Return the payload of the entry at an offset.

        Raises:
            SegmentDamaged: there is no whole entry.
        """
        entry = read_frame(self._id, offset, self._read_at)
        if entry is None:
            raise SegmentDamaged(f"nothing at {offset}")
        return read_payload(entry, self._read_at)

    def salvage(self) -> Iterator[tuple[Entry, bytes]]:
        """Yield every whole entry, looking past damage for the next."""
        size = os.fstat(self._fd).st_size
        data = os.pread(self._fd, size, 0)
        read_at: Callable[[int, int], bytes] = lambda o, n: data[o : o + n]  # noqa: E731
        at: int | None = 0
        while at is not None and at < size:
            try:
                entry = read_frame(self._id, at, read_at)
                if entry is None:
                    return
                payload = read_payload(entry, read_at)
            except SegmentDamaged:
                at = find_next(self._id, at + 1, data)
                continue
            yield entry, payload
            at = entry.end


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        offset += done
        view = view[done:]
