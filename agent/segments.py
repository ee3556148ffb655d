"""The format of an outbox segment: the one thing `sense` writes and `ship` reads.

A segment is a file of one priority and one epoch, prewritten with zeros to its full size, then
filled from the front with entries:

    magic "VSE1" | length u32 | seq u64 | CRC-32 of (segment id, offset, length, seq) u32
    | CRC-32 of the payload u32 | payload

All integers are big-endian; the payload is a serialised Envelope. The first check binds an entry
to its place, so bytes copied from elsewhere, or left over from another file, are not an entry. A
length of zero where a magic should be is the end of what was written.
"""

import struct
import zlib
from collections.abc import Callable
from pathlib import PurePath

from msgspec import Struct

from agent.errors import SegmentDamaged
from proto.model import MESSAGE_BYTES_MAX, Priority

SEGMENT_BYTES = 8 * 1024 * 1024
_FRAME = struct.Struct(">4sIQII")
_PLACE = struct.Struct(">QQIQ")
_MAGIC = b"VSE1"
FRAME_BYTES = _FRAME.size

ReadAt = Callable[[int, int], bytes]


class SegmentId(Struct, frozen=True, order=True):
    """A number that is never used twice, and the priority of everything in the file."""

    number: int
    priority: Priority

    def __str__(self) -> str:
        """The file's name."""
        return f"{self.number:016x}.{self.priority.value}.seg"

    @classmethod
    def parse(cls, name: str) -> "SegmentId":
        """Return the id a file name stands for.

        Raises:
            SegmentDamaged: not a segment's name.
        """
        stem = PurePath(name).name.split(".")
        try:
            number, priority = int(stem[0], 16), Priority(stem[1])
        except (ValueError, IndexError) as error:
            raise SegmentDamaged("not the name of a segment") from error
        found = cls(number, priority)
        if str(found) != name:
            raise SegmentDamaged("not the name of a segment")
        return found


class Entry(Struct, frozen=True):
    """Where an entry lies: ``offset`` of its frame, ``length`` of its payload."""

    seq: int
    offset: int
    length: int
    payload_crc: int

    @property
    def end(self) -> int:
        """The offset of whatever follows."""
        return self.offset + FRAME_BYTES + self.length


def encode_entry(segment: SegmentId, offset: int, seq: int, payload: bytes) -> bytes:
    """Return the bytes to write at ``offset`` of the segment."""
    place = zlib.crc32(_PLACE.pack(segment.number, offset, len(payload), seq))
    return _FRAME.pack(_MAGIC, len(payload), seq, place, zlib.crc32(payload)) + payload


def read_frame(segment: SegmentId, offset: int, read_at: ReadAt) -> Entry | None:
    """Return the entry that begins at ``offset``, or None at the end of what was written.

    Args:
        segment: the file the bytes come from.
        offset: where a frame should begin.
        read_at: returns up to n bytes at an offset.

    Raises:
        SegmentDamaged: neither an entry of this place nor untouched space.
    """
    raw = read_at(offset, FRAME_BYTES)
    if not raw.strip(b"\0"):
        return None
    if len(raw) < FRAME_BYTES:
        raise SegmentDamaged(f"entry cut short at {offset}")
    magic, length, seq, place, payload_crc = _FRAME.unpack(raw)
    expected = zlib.crc32(_PLACE.pack(segment.number, offset, length, seq))
    if magic != _MAGIC or place != expected or not 0 < length <= MESSAGE_BYTES_MAX:
        raise SegmentDamaged(f"no entry of this segment at {offset}")
    return Entry(seq=seq, offset=offset, length=length, payload_crc=payload_crc)


def read_payload(entry: Entry, read_at: ReadAt) -> bytes:
    """Return the payload of an entry.

    Raises:
        SegmentDamaged: cut short, or changed since it was written.
    """
    payload = read_at(entry.offset + FRAME_BYTES, entry.length)
    if len(payload) != entry.length or zlib.crc32(payload) != entry.payload_crc:
        raise SegmentDamaged(f"payload damaged at {entry.offset}")
    return payload


def find_next(segment: SegmentId, start: int, data: bytes) -> int | None:
    """Return the offset of the first frame at or after ``start`` that belongs to its place.

    For salvage after damage: ``data`` is the whole file. A hit is only a place to look; what lies
    there counts when its signature verifies.
    """
    at = data.find(_MAGIC, start)
    while at >= 0:
        try:
            if read_frame(segment, at, lambda o, n: data[o : o + n]) is not None:
                return at
        except SegmentDamaged:
            pass
        at = data.find(_MAGIC, at + 1)
    return None
