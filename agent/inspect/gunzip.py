"""Inflates a gzip file piece by piece, from any offset of what it holds.

What a file of a few kilobytes may blow up to is bounded, in bytes and in proportion, and nothing is
held but one piece. A file may have several members, and zeros at its end, as tapes leave them.

Source: RFC 1952.
"""

import os
import zlib
from collections.abc import Generator
from typing import Final

from agent.errors import FailReason, InspectionFailed
from agent.inspectframes import CHUNK_BYTES, Data, Done, Gunzip

_READ_BYTES: Final = 64 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS
# Below this a file may be as dense as it likes: a short one of one letter is no attack.
_DENSE_BYTES_MAX: Final = 16 * 1024 * 1024


def gunzip(fd: int, wanted: Gunzip) -> Generator[Data, None, Done]:
    """Yield what the file holds from the offset on, in pieces of `CHUNK_BYTES` but for the last.

    Raises:
        InspectionFailed: it is no gzip file, is damaged, ends early or holds too much; what came
            before that has been yielded, but for less than a piece.
        OSError: it cannot be read.
    """
    at, left = wanted.offset, wanted.size_bytes_max
    held, passed = bytearray(), 0
    for piece in _inflated(fd, wanted):
        skip = max(0, min(wanted.offset - passed, len(piece)))
        passed += len(piece)
        held += piece[skip:]
        while len(held) >= CHUNK_BYTES and left >= CHUNK_BYTES:
            yield Data(at, bytes(held[:CHUNK_BYTES]))
            del held[:CHUNK_BYTES]
            at, left = at + CHUNK_BYTES, left - CHUNK_BYTES
        if len(held) > left:
            if left:
                yield Data(at, bytes(held[:left]))
            return Done(is_end=False)
    if held:
        yield Data(at, bytes(held))
    return Done(is_end=True)


def _inflated(fd: int, bounds: Gunzip) -> Generator[bytes, None, None]:
    taken, given = 0, 0
    inflater, is_inside, data = zlib.decompressobj(_GZIP), False, b""
    while data or (data := os.pread(fd, _READ_BYTES, taken)):
        if not is_inside and data[:1] == b"\0" and taken:
            only_zeros(fd, taken)
            return
        is_inside = True
        try:
            piece = inflater.decompress(data, CHUNK_BYTES)
        except zlib.error as error:
            raise InspectionFailed("not a gzip file, or damaged", FailReason.CORRUPT) from error
        rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        taken, data = taken + len(data) - len(rest), rest
        given += len(piece)
        if given > bounds.inflated_bytes_max:
            raise InspectionFailed("holds more than is inflated", FailReason.TOO_LARGE)
        if given > _DENSE_BYTES_MAX and given > taken * bounds.ratio_max:
            raise InspectionFailed("holds far more than its size tells", FailReason.TOO_LARGE)
        if piece:
            yield piece
        if inflater.eof:
            inflater, is_inside = zlib.decompressobj(_GZIP), False
    if is_inside or not taken:
        raise InspectionFailed("ends before what it holds does", FailReason.ENDS_EARLY)


def only_zeros(fd: int, at: int) -> None:
    """Read on to the end of the file.

    Raises:
        InspectionFailed: there is anything but zeros.
        OSError: it cannot be read.
    """
    while data := os.pread(fd, _READ_BYTES, at):
        if data.strip(b"\0"):
            raise InspectionFailed("something else follows the gzip file", FailReason.CORRUPT)
        at += len(data)
