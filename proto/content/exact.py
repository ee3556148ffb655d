"""Fingerprints of exact values: sorted, found by a radix table and a short bisection.

A fingerprint has 96 bits. The first 64 are the sort key; the other 32 confirm a hit, so that
nobody crafts a harmless value that meets a listed one: that would take 2**96 tries divided by the
number of indicators. Digests are their own fingerprint, texts are hashed with the file's salt.

One indicator costs 8 bytes of key, 4 of confirmation and 4 of record id, and the radix table under
one byte. The table is chosen so that a bucket holds about 16 keys, at most 2**20 buckets.

Section: radix u32 x (2**bits + 1), padded to 8; keys u64 x n; u64 x n of confirmation << 32
| record, side by side because a hit needs both.
"""

import struct
from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from hashlib import blake2s
from typing import Final, NamedTuple

from proto.content.errors import ContentDamaged, ContentTooLarge

RADIX_BITS_MAX: Final = 20
ENTRIES_MAX: Final = 2**32 - 1
_BUCKET_BITS: Final = 4
_KEY_BITS: Final = 64
_U32: Final = 0xFFFFFFFF
_FINGERPRINT: Final = struct.Struct(">QI")
_RECORD: Final = struct.Struct(">I")
FINGERPRINT_BYTES: Final = 12
_ENTRY_BYTES: Final = 16
_fingerprint = _FINGERPRINT.unpack_from


def digest_fingerprint(digest: bytes) -> tuple[int, int]:
    """Return (key, confirmation) of a digest, or of a text's hash, of 12 bytes or more."""
    found: tuple[int, int] = _fingerprint(digest)
    return found


def text_bytes(text: str) -> bytes:
    """Return the bytes of a text that are fingerprinted; what no encoding has stands too."""
    return text.encode("utf-8", "surrogatepass")


def text_fingerprint(text: str, salt: bytes) -> tuple[int, int]:
    """Return (key, confirmation) of a text under the file's salt."""
    found: tuple[int, int] = _fingerprint(text_hash(text_bytes(text), keyed(salt)))
    return found


def keyed(salt: bytes) -> blake2s:
    """Return the hash that a salt begins; copied for each text, since the key costs a block."""
    return blake2s(digest_size=FINGERPRINT_BYTES, key=salt)


def text_hash(data: bytes, base: blake2s) -> bytes:
    """Return the 12 bytes of a text's fingerprint."""
    hashed = base.copy()
    hashed.update(data)
    return hashed.digest()


class ExactPool:
    """Takes the fingerprints of one kind in any order and packs them.

    They lie in 256 rows by their first byte, 16 bytes each, so that sorting is many short sorts of
    texts of one byte a character: nothing that Python sorts goes faster.
    """

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows = [bytearray() for _ in range(256)]

    def add(self, fingerprint: bytes, record: int) -> None:
        """Add one entry; the same twice counts once.

        Args:
            fingerprint: 12 bytes.
            record: what it leads to.
        """
        row = self._rows[fingerprint[0]]
        row += fingerprint
        row += _RECORD.pack(record)

    def pack(self) -> tuple[bytes, int, int]:
        """Return the section's bytes, how many entries it holds and its radix bits.

        Raises:
            ContentTooLarge: more entries than ids.
        """
        pairs = array("Q")
        for row in self._rows:
            pairs.frombytes(_sorted_entries(row))
        pairs.byteswap()
        count = len(pairs) // 2
        if count > ENTRIES_MAX:
            raise ContentTooLarge(f"a kind holds at most {ENTRIES_MAX} indicators")
        keys = pairs[0::2]
        bits = min(RADIX_BITS_MAX, max(0, count.bit_length() - _BUCKET_BITS))
        shift = _KEY_BITS - bits
        radix = array("I", [bisect_left(keys, slot << shift) for slot in range(1 << bits)])
        radix.append(count)
        parts = (radix, bytes(-len(radix) * 4 % 8), keys, pairs[1::2])
        return b"".join(parts), count, bits


def _sorted_entries(row: bytearray) -> bytes:
    text = row.decode("latin-1")
    entries = {text[at : at + _ENTRY_BYTES] for at in range(0, len(text), _ENTRY_BYTES)}
    return "".join(sorted(entries)).encode("latin-1")


class ExactTable:
    """The fingerprints of one kind.

    Args:
        data: the section, untrusted.
        count: how many entries it holds.
        bits: width of the radix.

    Raises:
        ContentDamaged: the numbers do not fit the size of the section.
    """

    __slots__ = ("records_of",)

    records_of: Callable[[bytes], Sequence[int]]
    """Return the record ids of a fingerprint (or a digest, which begins with its own); empty for
    nearly all that is asked.

    Raises:
        ContentDamaged: the radix points outside the table.
    """

    def __init__(self, data: memoryview, count: int, bits: int) -> None:
        if bits > RADIX_BITS_MAX:
            raise ContentDamaged("an exact table has an impossible radix")
        slots = (1 << bits) + 1
        keys_at = slots * 4 + -slots * 4 % 8
        rest_at = keys_at + 8 * count
        if len(data) != rest_at + 8 * count:
            raise ContentDamaged("an exact table has an impossible size")
        columns = _Columns(
            radix=data[: slots * 4].cast("I"),
            keys=data[keys_at:rest_at].cast("Q"),
            rest=data[rest_at:].cast("Q"),
            shift=_KEY_BITS - bits,
        )
        self.records_of = _finder(columns)

    def find(self, key: int, confirmation: int) -> Sequence[int]:
        """Return the record ids of a fingerprint that is given as two numbers.

        Raises:
            ContentDamaged: the radix points outside the table.
        """
        return self.records_of(_FINGERPRINT.pack(key, confirmation))


class _Columns(NamedTuple):
    radix: memoryview
    keys: memoryview
    rest: memoryview
    shift: int


def _finder(columns: _Columns) -> Callable[[bytes], Sequence[int]]:
    """Return what finds a fingerprint, with all that it needs in local names: the hottest place."""
    radix, keys, rest, shift = columns

    def find(fingerprint: bytes) -> Sequence[int]:
        key, confirmation = _fingerprint(fingerprint)
        slot = key >> shift
        try:
            end = radix[slot + 1]
            place = bisect_left(keys, key, radix[slot], end)
            if place >= end or keys[place] != key:
                return ()
            after = place + 1
            if after >= end or keys[after] != key:
                found = rest[place]
                return (found & _U32,) if found >> 32 == confirmation else ()
            return _confirmed(columns, range(place, end), key, confirmation)
        except IndexError as error:
            raise ContentDamaged("the radix of an exact table points outside it") from error

    return find


def _confirmed(columns: _Columns, places: range, key: int, confirmation: int) -> list[int]:
    found = []
    for place in places:
        if columns.keys[place] != key:
            break
        if columns.rest[place] >> 32 == confirmation:
            found.append(columns.rest[place] & _U32)
    return found
