"""The header log: what was sealed, where it lies, what is receipted, and the sources' cursors.

One append-only file of checked notes. A commit is one note: every batch it seals and every cursor
that goes with them become durable together or not at all. The file is what `sense` believes after
a crash; segments are only where bodies lie.

Note on disk: length u32 | CRC-32 of the length u32 | CRC-32 of the payload u32 | payload
(MessagePack, tagged). The first check tells a note cut short by a crash, which never counted, from
one that was damaged, whose batches have to be looked for.
"""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from agent.errors import OutboxFailed
from agent.segments import SegmentId
from proto.model import DroppedRange, Hash32, Id16
from runtime.files import fsync_dir

_PREFIX = struct.Struct(">III")
NOTE_BYTES_MAX = 4 * 1024 * 1024


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
    """Dropped ranges up to this count have been stated in a sealed header."""

    ranges: int


class Stopped(Struct, frozen=True, tag=6, array_like=True):
    """The daemon sealed everything it held and ended."""

    cursors: Annotated[dict[str, bytes], Meta(max_length=64)]


Note = Opened | Committed | Receipted | Freed | Declared | Stopped

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Note)


def encode_note(note: Note) -> bytes:
    """Return the note as it stands on disk."""
    payload = _encoder.encode(note)
    return _prefix(len(payload), zlib.crc32(payload)) + payload


def _prefix(length: int, crc: int) -> bytes:
    return _PREFIX.pack(length, zlib.crc32(length.to_bytes(4, "big")), crc)


def _is_torn(rest: bytes) -> bool:
    """Return whether this is the beginning of a note that was never written to its end."""
    if len(rest) < _PREFIX.size:
        return True
    length, check, _ = _PREFIX.unpack_from(rest)
    is_prefix = bool(check == zlib.crc32(length.to_bytes(4, "big")))
    return is_prefix and len(rest) < _PREFIX.size + int(length)


def decode_notes(data: bytes) -> Iterator[tuple[int, Note]]:
    """Yield each whole note with the offset behind it, and end at the first that is not whole."""
    at = 0
    while at + _PREFIX.size <= len(data):
        length, _, crc = _PREFIX.unpack_from(data, at)
        payload = data[at + _PREFIX.size : at + _PREFIX.size + length]
        if not 0 < length <= NOTE_BYTES_MAX or len(payload) < length or zlib.crc32(payload) != crc:
            return
        try:
            note = _decoder.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        at += _PREFIX.size + length
        yield at, note


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

    def open(self) -> tuple[list[Note], bool]:
        """Read what is there and make it ready for appending. Never fails over its content.

        Returns:
            The notes, and whether bytes behind the last whole note had to be set aside. A torn
            last note is ordinary after a crash; anything else is damage, kept as ``.damaged``.

        Raises:
            OSError: the file system refuses the file altogether.
        """
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        data = self._path.read_bytes()
        notes, end = [], 0
        for behind, note in decode_notes(data):
            notes.append(note)
            end = behind
        rest = data[end:]
        is_damaged = bool(rest.strip(b"\0")) and not _is_torn(rest)
        if is_damaged:
            self._path.with_suffix(".damaged").write_bytes(data[end:])
        if end < len(data):
            os.ftruncate(self._fd, end)
            os.fsync(self._fd)
        fsync_dir(self._path.parent)
        self._size = end
        return notes, is_damaged

    def append(self, notes: Iterable[Note]) -> None:
        """Make notes durable, all or none.

        Raises:
            OutboxFailed: they are not, and the file is as it was before.
        """
        data = b"".join(encode_note(note) for note in notes)
        if self._failed:
            self._reopen()
        try:
            _write_at(self._fd, data, self._size)
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            raise OutboxFailed(f"header log: {error.strerror}") from error
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            # After a failed sync the kernel may call the same pages clean: the descriptor is
            # never trusted again, and the file is written anew before the next attempt.
            self._failed = True
            raise OutboxFailed(f"header log: {error.strerror}") from error
        self._size += len(data)

    def notes(self) -> list[Note]:
        """Return what the file holds."""
        return [note for _, note in decode_notes(self._path.read_bytes()[: self._size])]

    def rewrite(self, notes: Sequence[Note]) -> None:
        """Replace the file by these notes, in one step.

        Raises:
            OutboxFailed: the old file stands.
            OSError: never; it becomes OutboxFailed.
        """
        data = b"".join(encode_note(note) for note in notes)
        partial = self._path.with_suffix(".new")
        try:
            fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                _write_at(fd, data, 0)
                os.fsync(fd)
                partial.rename(self._path)
                fsync_dir(self._path.parent)
            except OSError:
                os.close(fd)
                raise
        except OSError as error:
            raise OutboxFailed(f"header log: {error.strerror}") from error
        os.close(self._fd)
        self._fd, self._size, self._failed = fd, len(data), False

    def close(self) -> None:
        """Let go of the file; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _reopen(self) -> None:
        try:
            keep = self.notes()
        except OSError as error:
            raise OutboxFailed(f"header log: {error.strerror}") from error
        self.rewrite(keep)


def _write_at(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        offset += done
        view = view[done:]
