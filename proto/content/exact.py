"""Fingerprints of exact values: sorted, found by a radix table and a short bisection.

A fingerprint has 96 bits. The first 64 are the sort key; the other 32 confirm a hit, so that
nobody crafts a harmless value that meets a listed one: that would take 2**96 tries divided by the
number of indicators. Digests are their own fingerprint, texts are hashed with the file's salt.

One indicator costs 8 bytes of key, 4 of confirmation and 4 of record id, and the radix table under
one byte. The table is chosen so that a bucket holds about 16 keys, at most 2**16 buckets.

Section: radix u32 x (2**bits + 1), padded to 8; keys u64 x n; confirmations u32 x n; records
u32 x n.
"""

import struct
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from proto.content.errors import ContentDamaged, ContentTooLarge

RADIX_BITS_MAX: Final = 16
ENTRIES_MAX: Final = 2**32 - 1
_BUCKET_BITS: Final = 4
_KEY_BITS: Final = 64
_U32: Final = 0xFFFFFFFF
_FINGERPRINT: Final = struct.Struct(">QI")
_fingerprint = _FINGERPRINT.unpack_from


def digest_fingerprint(digest: bytes) -> tuple[int, int]:
    """Return (key, confirmation) of a digest of 12 bytes or more."""
    found: tuple[int, int] = _fingerprint(digest)
    return found


def text_fingerprint(text: str, salt: bytes) -> tuple[int, int]:
    """Return (key, confirmation) of a text under the file's salt."""
    data = text.encode("utf-8", "surrogatepass")
    found: tuple[int, int] = _fingerprint(blake2b(data, digest_size=12, key=salt).digest())
    return found


def pack_exact(entries: Sequence[int]) -> tuple[bytes, int]:
    """Return the section's bytes and its radix bits.

    Args:
        entries: ``key << 64 | confirmation << 32 | record``, sorted, each once.

    Raises:
        ContentTooLarge: more entries than ids.
    """
    if len(entries) > ENTRIES_MAX:
        raise ContentTooLarge(f"a kind holds at most {ENTRIES_MAX} indicators")
    bits = min(RADIX_BITS_MAX, max(0, len(entries).bit_length() - _BUCKET_BITS))
    keys = array("Q", [entry >> 64 for entry in entries])
    shift = _KEY_BITS - bits
    radix = array("I", [bisect_left(keys, slot << shift) for slot in range(1 << bits)])
    radix.append(len(entries))
    parts = [
        radix.tobytes(),
        bytes(-len(radix) * 4 % 8),
        keys.tobytes(),
        array("I", [entry >> 32 & _U32 for entry in entries]).tobytes(),
        array("I", [entry & _U32 for entry in entries]).tobytes(),
    ]
    return b"".join(parts), bits


class ExactTable:
    """The fingerprints of one kind.

    Args:
        data: the section, untrusted.
        count: how many entries it holds.
        bits: width of the radix.

    Raises:
        ContentDamaged: the numbers do not fit the size of the section.
    """

    __slots__ = ("_confirm", "_keys", "_radix", "_records", "_shift")

    def __init__(self, data: memoryview, count: int, bits: int) -> None:
        if bits > RADIX_BITS_MAX:
            raise ContentDamaged("an exact table has an impossible radix")
        slots = (1 << bits) + 1
        keys_at = slots * 4 + -slots * 4 % 8
        confirm_at = keys_at + 8 * count
        records_at = confirm_at + 4 * count
        if len(data) != records_at + 4 * count:
            raise ContentDamaged("an exact table has an impossible size")
        self._radix = data[: slots * 4].cast("I")
        self._keys = data[keys_at:confirm_at].cast("Q")
        self._confirm = data[confirm_at:records_at].cast("I")
        self._records = data[records_at:].cast("I")
        self._shift = _KEY_BITS - bits

    def find(self, key: int, confirmation: int) -> Sequence[int]:
        """Return the record ids of a fingerprint; empty for nearly all that is asked.

        Raises:
            ContentDamaged: the radix points outside the table.
        """
        slot = key >> self._shift
        keys = self._keys
        try:
            end = self._radix[slot + 1]
            place = bisect_left(keys, key, self._radix[slot], end)
            if place >= end or keys[place] != key:
                return ()
            return self._confirmed(key, confirmation, place, end)
        except IndexError as error:
            raise ContentDamaged("the radix of an exact table points outside it") from error

    def _confirmed(self, key: int, confirmation: int, place: int, end: int) -> list[int]:
        found = []
        while place < end and self._keys[place] == key:
            if self._confirm[place] == confirmation:
                found.append(self._records[place])
            place += 1
        return found
