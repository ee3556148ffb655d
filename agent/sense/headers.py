"""The header log: what was sealed, where it lies, what is receipted, and the sources' cursors.

One append-only file of checked notes. A commit is one note: every batch it seals and every cursor
that goes with them become durable together or not at all. The file is what `sense` believes after
a crash; segments are only where bodies lie.

Note on disk: length u32 | CRC-32 of the length u32 | CRC-32 of the payload u32 | payload
(MessagePack, tagged). The first check tells a note cut short by a crash, which never counted, from
one that was damaged, whose batches have to be looked for.
"""

import contextlib
import mmap
import os
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from agent.errors import OutboxFailed
from agent.segments import SegmentId
from proto.model import DroppedRange, Hash32, Id16, Priority
from runtime.files import fsync_dir, write_atomic

_PREFIX = struct.Struct(">III")
# A commit after a long refusal of the disk holds the headers of everything that waited.
NOTE_BYTES_MAX = 16 * 1024 * 1024
_NO_LENGTH = bytes(4)
_WRITE_BYTES = 256 * 1024
_NOT_ZERO = re.compile(rb"[^\0]")


class Sealed(Struct, frozen=True, array_like=True):
    """One batch: its name in the chain, its signed header and where the whole envelope lies."""

    epoch: Id16
    seq: int
    hash: Hash32
    segment: SegmentId
    offset: int
    length: int
    records: int
    header: bytes
    signature: bytes


class Opened(Struct, frozen=True, tag=1, array_like=True):
    """An epoch was begun by a daemon with this process's boot."""

    epoch: Id16
    boot_id: Id16
    boot_clock: int


class Committed(Struct, frozen=True, tag=2, array_like=True):
    """These batches are durable, and their sources have been read up to these cursors."""

    batches: tuple[Sealed, ...]
    cursors: dict[str, bytes]
    boot_clock: int


class Receipted(Struct, frozen=True, tag=3, array_like=True):
    """The collector vouched for an epoch up to ``seq``; the receipt as it was signed."""

    epoch: Id16
    seq: int
    ahead: tuple[int, ...]
    archived_seq: int
    payload: bytes
    signature: bytes


class Freed(Struct, frozen=True, tag=4, array_like=True):
    """A segment is about to be removed; ``dropped`` names what in it was never receipted."""

    segment: SegmentId
    dropped: tuple[DroppedRange, ...]


class Declared(Struct, frozen=True, tag=5, array_like=True):
    """The header of this batch, which is durable, states these dropped ranges."""

    epoch: Id16
    seq: int
    dropped: tuple[DroppedRange, ...]


class Stopped(Struct, frozen=True, tag=6, array_like=True):
    """The daemon sealed everything it held and ended."""

    cursors: Annotated[dict[str, bytes], Meta(max_length=64)]


# In `Freed`: what was dropped did not lie in a segment.
NO_SEGMENT = SegmentId(0, Priority.LOW)

# A file as it is mapped, or a copy of it.
Bytes = bytes | mmap.mmap
Note = Opened | Committed | Receipted | Freed | Declared | Stopped

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Note)


def encode_note(note: Note) -> bytes:
    """Return the note as it stands on disk."""
    payload = _encoder.encode(note)
    return _prefix(len(payload), zlib.crc32(payload)) + payload


def _prefix(length: int, crc: int) -> bytes:
    return _PREFIX.pack(length, zlib.crc32(length.to_bytes(4, "big")), crc)


def _is_torn(data: Bytes, at: int) -> bool:
    """Return whether from here on there is nothing, or the begin of a note without its end."""
    if _NOT_ZERO.search(data, at) is None or len(data) - at < _PREFIX.size:
        return True
    length = _length_at(data, at)
    return length is not None and len(data) < at + _PREFIX.size + length


def decode_notes(data: Bytes) -> Iterator[tuple[int, int, Note]]:
    """Yield each whole note between the offsets of its begin and end, looking past damage."""
    at: int | None = 0
    while at is not None:
        end, note = _note_at(data, at)
        if note is not None:
            yield at, end, note
            at = end
        else:
            at = _next_prefix(data, max(end, at + 1))


def _note_at(data: Bytes, at: int) -> tuple[int, Note | None]:
    """Return the note at an offset, if it is whole, and where it ends or would have ended."""
    length = _length_at(data, at)
    if length is None:
        return at, None
    begin, end = at + _PREFIX.size, at + _PREFIX.size + length
    payload = data[begin:end]
    if len(payload) < length or zlib.crc32(payload) != _PREFIX.unpack_from(data, at)[2]:
        return end, None
    try:
        return end, _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return end, None


def _length_at(data: Bytes, at: int) -> int | None:
    """Return the length that a sound prefix at an offset gives, or None where there is none."""
    if at + _PREFIX.size > len(data):
        return None
    length, check, _ = _PREFIX.unpack_from(data, at)
    is_sound = check == zlib.crc32(data[at : at + 4]) and 0 < length <= NOTE_BYTES_MAX
    return int(length) if is_sound else None


def _next_prefix(data: Bytes, start: int) -> int | None:
    at = start
    while at + _PREFIX.size <= len(data):
        if _length_at(data, at) is not None:
            return at
        at += 1
        if data[at : at + 4] == _NO_LENGTH:
            # A hole: the first note behind it begins at most three zeros before what is none.
            found = _NOT_ZERO.search(data, at)
            at = len(data) if found is None else found.start() - 3
    return None


class HeaderLog:
    """The file, opened for appending.

    Args:
        path: in a directory that only `sense` may enter.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._size = 0
        self._failed = False

    @property
    def size_bytes(self) -> int:
        """How much of the file counts."""
        return self._size

    def open(self) -> bool:
        """Look over what is there and make it ready for appending. Never fails over its content.

        Returns:
            Whether there are other bytes between or behind the notes. A torn last note is ordinary
            after a crash and is cut off; anything else is damage, left for `mend`.

        Raises:
            OSError: the file system refuses the file altogether.
        """
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._fd).st_size
        with _mapped(self._fd, size) as data:
            end, is_damaged = 0, False
            for begin, behind, _ in decode_notes(data):
                is_damaged = is_damaged or begin > end
                end = behind
            is_damaged = is_damaged or not _is_torn(data, end)
        self._size = size if is_damaged else end
        if self._size < size:
            os.ftruncate(self._fd, self._size)
            os.fsync(self._fd)
        fsync_dir(self._path.parent)
        return is_damaged

    def mend(self, notes: Iterable[Note]) -> None:
        """Keep the file as it is under ``.damaged`` and go on in one that holds these notes.

        Raises:
            OutboxFailed: there is no room. The old file stays in use, and its notes are found
                between its damage again at the next start.
        """
        with contextlib.suppress(OSError):
            write_atomic(self._path.with_suffix(".damaged"), self._path.read_bytes())
        self.rewrite(notes)

    def append(self, notes: Iterable[Note]) -> None:
        """Make notes durable, all or none.

        Raises:
            OutboxFailed: they are not, and the file is as it was before.
        """
        data = b"".join(encode_note(note) for note in notes)
        if self._failed:
            self.rewrite(self.notes())
        try:
            _write_at(self._fd, data, self._size)
        except OSError as error:
            self._cut()
            raise OutboxFailed(f"header log: {error.strerror}") from error
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            # After a failed sync the kernel may call the same pages clean: the descriptor is
            # never trusted again, and the file is written anew before the next attempt.
            self._cut()
            self._failed = True
            raise OutboxFailed(f"header log: {error.strerror}") from error
        self._size += len(data)

    def _cut(self) -> None:
        """Take back what did not become durable, lest a crash makes it count after all."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._failed = True

    def notes(self) -> Iterator[Note]:
        """Yield what the file holds, without holding all of it.

        Raises:
            OutboxFailed: it cannot be read.
        """
        try:
            with _mapped(self._fd, self._size) as data:
                for *_, note in decode_notes(data):
                    yield note
        except OSError as error:
            raise OutboxFailed(f"header log: {error.strerror}") from error

    def rewrite(self, notes: Iterable[Note]) -> None:
        """Replace the file by these notes, in one step.

        Args:
            notes: may come from `notes` as they are written.

        Raises:
            OutboxFailed: the old file stands, or the new one that says the same.
        """
        partial = self._path.with_suffix(".new")
        fd = -1
        try:
            fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            size = _write_notes(fd, notes)
            os.fsync(fd)
            partial.rename(self._path)
        except (OSError, OutboxFailed) as error:
            _discard(fd, partial)
            raise OutboxFailed(f"header log: {error}") from error
        os.close(self._fd)
        self._fd, self._size = fd, size
        try:
            fsync_dir(self._path.parent)
        except OSError as error:
            # Which of the two files a crash would leave is open: neither is added to.
            self._failed = True
            raise OutboxFailed(f"header log: {error.strerror}") from error
        self._failed = False

    def close(self) -> None:
        """Let go of the file; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@contextlib.contextmanager
def _mapped(fd: int, size: int) -> Iterator[Bytes]:
    """The first bytes of a file; its pages are the kernel's to take back."""
    if not size:
        yield b""
        return
    with mmap.mmap(fd, size, prot=mmap.PROT_READ) as data:
        yield data


def _write_notes(fd: int, notes: Iterable[Note]) -> int:
    """Write notes from the begin of a file; return where they end."""
    size, pending = 0, bytearray()
    for note in notes:
        pending += encode_note(note)
        if len(pending) >= _WRITE_BYTES:
            _write_at(fd, bytes(pending), size)
            size += len(pending)
            pending.clear()
    _write_at(fd, bytes(pending), size)
    return size + len(pending)


def _write_at(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        offset += done
        view = view[done:]


def _discard(fd: int, path: Path) -> None:
    if fd >= 0:
        os.close(fd)
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
