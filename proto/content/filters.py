"""A first look at a text that says of most that they are not listed, in a tenth of a lookup.

One bit in eight for each entry of a table, named by the CRC-32 of the text. A bit that is not set
means that the text is not listed; one that is set means nothing. Whoever crafts texts whose bits
are set gets the whole lookup that there would be without a filter, and nothing else.

Section: one bit for each slot, the lowest of a byte first.
"""

from array import array
from typing import Final
from zlib import crc32

from proto.content.errors import ContentDamaged

SLOTS_EACH: Final = 8
_CRC_BITS: Final = 32
_NO_FILTER: Final = memoryview(b"\xff")


class FilterPool:
    """Takes texts and packs their bits."""

    __slots__ = ("_sums",)

    def __init__(self) -> None:
        self._sums = array("I")

    def add(self, data: bytes) -> None:
        """Add the bytes of one text."""
        self._sums.append(crc32(data))

    def pack(self, entries: int) -> tuple[bytes, int]:
        """Return the section's bytes and how many slots it has.

        Args:
            entries: how many the table has; texts that were added twice are one there.
        """
        slots = SLOTS_EACH * entries
        bits = bytearray(entries)
        for found in self._sums:
            slot = found * slots >> _CRC_BITS
            bits[slot >> 3] |= 1 << (slot & 7)
        return bytes(bits), slots


class Filter:
    """Reads the bits of one kind; callers of many texts read ``bits`` and ``slots`` themselves.

    Args:
        data: the section, untrusted; None where the file has none, which lets everything by.
        slots: how many slots it has.

    Raises:
        ContentDamaged: the number does not fit the size.
    """

    __slots__ = ("bits", "slots")

    def __init__(self, data: memoryview | None, slots: int) -> None:
        if data is not None and (not slots or slots != len(data) * 8):
            raise ContentDamaged("a filter of the index has an impossible size")
        self.bits = _NO_FILTER if data is None else data
        self.slots = slots if data is not None else 0

    def may_hold(self, data: bytes) -> bool:
        """Return False where the text of these bytes is not listed."""
        slot = crc32(data) * self.slots >> _CRC_BITS
        return bool(self.bits[slot >> 3] >> (slot & 7) & 1)
