"""The frame of an index file: a header, a table of sections and the sections, little-endian.

A header of 128 bytes and the table are protected by a SHA-256 of their own, each section by a
CRC-32. Opening reads only header and table; the CRCs are for whoever suspects the disk, since
whoever accepts a file has compared the SHA-256 of all of it with signed metadata. Sections of
an unknown type are skipped: a later builder may add some.
"""

import hashlib
import struct
import sys
import zlib
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from proto.content.errors import ContentDamaged, ContentNewer, ContentTooLarge

MAGIC: Final = b"VDXINDEX"
FORMAT: Final = 2
SALT_BYTES: Final = 16
DIGEST_BYTES: Final = 32
SECTIONS_MAX: Final = 64
FILE_BYTES_MAX: Final = 4 * 1024**3
ALIGN_BYTES: Final = 8

EXACT: Final = 1
RANGES_V4: Final = 2
RANGES_V6: Final = 3
SETS: Final = 4
RECORDS: Final = 5
STRINGS: Final = 6
FILTER: Final = 7

# magic, format, sections, version, built at, count, salt, source digest, file size, own digest
_HEADER: Final = struct.Struct("<8sIIQqQ16s32sQ32s")
# type, code, CRC-32, offset, size, count, parameter
_ENTRY: Final = struct.Struct("<HHIQQII")


class Release(Struct, frozen=True):
    """What a file says of itself; ``built_at`` in nanoseconds UTC.

    ``source`` is the digest of what it was built from: feeds, lists and settings.
    """

    version: int
    built_at: int
    salt: bytes
    source: bytes


class Section(Struct, frozen=True):
    """One part of the file, named by its type and, among exact tables, the kind's code."""

    type: int
    code: int
    count: int
    parameter: int
    data: bytes | memoryview
    crc32: int = 0


class Layout(Struct, frozen=True):
    """A file taken apart; sections are views of it."""

    release: Release
    count: int
    sections: tuple[Section, ...]

    def find(self, kind: int, code: int = 0) -> Section | None:
        """Return the section of a type and code; None where the file has none."""
        for section in self.sections:
            if section.type == kind and section.code == code:
                return section
        return None


def pack_layout(release: Release, count: int, sections: Sequence[Section]) -> bytes:
    """Return the bytes of a file.

    Raises:
        ContentTooLarge: more sections or bytes than the format holds.
    """
    if len(sections) > SECTIONS_MAX:
        raise ContentTooLarge(f"an index has at most {SECTIONS_MAX} sections")
    offset = _HEADER.size + _ENTRY.size * len(sections)
    table, parts = bytearray(), []
    for section in sections:
        size = len(section.data)
        entry = (zlib.crc32(section.data), offset, size, section.count, section.parameter)
        table += _ENTRY.pack(section.type, section.code, *entry)
        parts += [section.data, bytes(-size % ALIGN_BYTES)]
        offset += size + -size % ALIGN_BYTES
    if offset > FILE_BYTES_MAX:
        raise ContentTooLarge(f"an index has at most {FILE_BYTES_MAX} bytes")
    header = _HEADER.pack(
        MAGIC,
        FORMAT,
        len(sections),
        release.version,
        release.built_at,
        count,
        release.salt,
        release.source,
        offset,
        bytes(DIGEST_BYTES),
    )[:-DIGEST_BYTES]
    return b"".join([header, hashlib.sha256(header + table).digest(), table, *parts])


def read_layout(data: memoryview) -> Layout:
    """Take a file apart without copying it.

    Args:
        data: the whole file, untrusted.

    Raises:
        ContentDamaged: not an index, cut short, or with a changed header.
        ContentNewer: of a later format.
    """
    if sys.byteorder != "little":
        raise ContentNewer("indexes are read on little-endian machines only")
    if len(data) < _HEADER.size or bytes(data[: len(MAGIC)]) != MAGIC:
        raise ContentDamaged("not an indicator index")
    _, edition, sections, version, built_at, count, salt, source, size, digest = (
        _HEADER.unpack_from(data)
    )
    if edition != FORMAT:
        raise ContentNewer(f"index format {edition}, this program reads {FORMAT}")
    table_end = _HEADER.size + _ENTRY.size * sections
    if sections > SECTIONS_MAX or size != len(data) or table_end > size:
        raise ContentDamaged("the index is cut short or padded")
    signed = bytes(data[: _HEADER.size - DIGEST_BYTES]) + data[_HEADER.size : table_end]
    if hashlib.sha256(signed).digest() != digest:
        raise ContentDamaged("the index header changed after it was built")
    release = Release(version=version, built_at=built_at, salt=salt, source=source)
    return Layout(release, count, tuple(_read_sections(data, sections, table_end)))


def check_sections(layout: Layout) -> None:
    """Return if no section changed since it was built; reads the whole file.

    Raises:
        ContentDamaged: a section's CRC does not fit.
    """
    for section in layout.sections:
        if zlib.crc32(section.data) != section.crc32:
            raise ContentDamaged(f"section {section.type} of the index changed")


def _read_sections(data: memoryview, sections: int, table_end: int) -> list[Section]:
    found, end = [], table_end
    for place in range(sections):
        kind, code, crc32, offset, size, count, parameter = _ENTRY.unpack_from(
            data, _HEADER.size + _ENTRY.size * place
        )
        if offset < end or offset % ALIGN_BYTES or offset + size > len(data):
            raise ContentDamaged("a section lies outside the index")
        end = offset + size
        view = data[offset:end]
        found.append(Section(kind, code, count, parameter, view, crc32))
    return found
