"""Networks of both IP versions as sorted ranges that never overlap.

Where networks overlap they are cut at every border, so each address lies in at most one range and
one bisection finds all that covers it. A range names a *set*: the records, ports and prefix lengths
that hold there. Sets are shared, so a list of a hundred thousand single addresses has one.

Ranges v4: starts, ends, sets, each u32 x n. Ranges v6: starts high, starts low, ends high, ends
low, each u64 x n; sets u32 x n. Sets: offsets u32 x (n + 1), padded to 8; entries of 8 bytes.
"""

import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from proto.content.addresses import Network
from proto.content.errors import ContentDamaged, ContentTooLarge

SET_ENTRIES_MAX: Final = 4_000_000
ROWS_MAX: Final = 64

# record, port (0 for any), prefix length
_ENTRY: Final = struct.Struct("<IHBx")
_U64: Final = 0xFFFFFFFFFFFFFFFF

Entry = tuple[int, int, int]


class Range(Struct, frozen=True):
    """Addresses, both ends included, and what holds for all of them."""

    first: int
    last: int
    entries: tuple[Entry, ...]


def split(networks: Iterable[tuple[Network, int]]) -> Iterator[Range]:
    """Cut networks of one IP version at every border.

    Args:
        networks: each with its record id; the same one twice counts once.

    Yields:
        Ranges in order; neighbours that hold the same are joined.
    """
    borders: list[tuple[int, int, Entry]] = []
    for network, record in set(networks):
        entry = (record, network.port, network.prefix)
        borders.append((network.first, 1, entry))
        borders.append((network.last + 1, -1, entry))
    borders.sort()
    # Networks of equal prefix, port and record never overlap: each entry is active at most once.
    active: set[Entry] = set()
    pending: Range | None = None
    for place, (at, step, entry) in enumerate(borders):
        if step > 0:
            active.add(entry)
        else:
            active.remove(entry)
        end = borders[place + 1][0] if place + 1 < len(borders) else at
        if end == at or not active:
            continue
        found = Range(at, end - 1, tuple(sorted(active)))
        if pending and pending.last + 1 == at and pending.entries == found.entries:
            pending = Range(pending.first, found.last, found.entries)
            continue
        if pending:
            yield pending
        pending = found
    if pending:
        yield pending


class SetPool:
    """Gives each different set of entries an id, and packs them."""

    def __init__(self) -> None:
        self._ids: dict[tuple[Entry, ...], int] = {}
        self._entries = 0

    def id_of(self, entries: tuple[Entry, ...]) -> int:
        """Return the id of a set.

        Raises:
            ContentTooLarge: overlapping networks with many ports or records multiply.
        """
        found = self._ids.get(entries)
        if found is None:
            found = self._ids[entries] = len(self._ids)
            self._entries += len(entries)
            if self._entries > SET_ENTRIES_MAX:
                raise ContentTooLarge(
                    "overlapping networks make too many combinations",
                    hint="take wide networks with ports, or the feed that lists them, out",
                )
        return found

    def pack(self) -> tuple[bytes, int]:
        """Return the section's bytes and how many sets it holds."""
        offsets, total = array("I", [0]), 0
        for entries in self._ids:
            total += len(entries)
            offsets.append(total)
        body = b"".join(_ENTRY.pack(*entry) for entries in self._ids for entry in entries)
        return offsets.tobytes() + bytes(-len(offsets) * 4 % 8) + body, len(self._ids)


def pack_v4(ranges: Sequence[Range], sets: SetPool) -> bytes:
    """Return the bytes of a section of IPv4 ranges.

    Raises:
        ContentTooLarge: too many different sets.
    """
    starts = array("I", [found.first for found in ranges])
    ends = array("I", [found.last for found in ranges])
    ids = array("I", [sets.id_of(found.entries) for found in ranges])
    return starts.tobytes() + ends.tobytes() + ids.tobytes()


def pack_v6(ranges: Sequence[Range], sets: SetPool) -> bytes:
    """Return the bytes of a section of IPv6 ranges.

    Raises:
        ContentTooLarge: too many different sets.
    """
    columns = (
        array("Q", [found.first >> 64 for found in ranges]),
        array("Q", [found.first & _U64 for found in ranges]),
        array("Q", [found.last >> 64 for found in ranges]),
        array("Q", [found.last & _U64 for found in ranges]),
        array("I", [sets.id_of(found.entries) for found in ranges]),
    )
    return b"".join(column.tobytes() for column in columns)


class RangesV4:
    """IPv4 ranges.

    Args:
        data: the section, untrusted.
        count: how many ranges it holds.

    Raises:
        ContentDamaged: the count does not fit the size.
    """

    __slots__ = ("_ends", "_sets", "_starts")

    def __init__(self, data: memoryview, count: int) -> None:
        if len(data) != 12 * count:
            raise ContentDamaged("the IPv4 ranges have an impossible size")
        self._starts = data[: 4 * count].cast("I")
        self._ends = data[4 * count : 8 * count].cast("I")
        self._sets = data[8 * count :].cast("I")

    def find(self, number: int) -> int:
        """Return the set of the range around an address; -1 where there is none."""
        place = bisect_right(self._starts, number) - 1
        if place < 0 or self._ends[place] < number:
            return -1
        return self._sets[place]


class RangesV6:
    """IPv6 ranges.

    Args:
        data: the section, untrusted.
        count: how many ranges it holds.

    Raises:
        ContentDamaged: the count does not fit the size.
    """

    __slots__ = ("_ends_high", "_ends_low", "_sets", "_starts_high", "_starts_low")

    def __init__(self, data: memoryview, count: int) -> None:
        if len(data) != 36 * count:
            raise ContentDamaged("the IPv6 ranges have an impossible size")
        column = 8 * count
        self._starts_high = data[:column].cast("Q")
        self._starts_low = data[column : 2 * column].cast("Q")
        self._ends_high = data[2 * column : 3 * column].cast("Q")
        self._ends_low = data[3 * column : 4 * column].cast("Q")
        self._sets = data[4 * column :].cast("I")

    def find(self, number: int) -> int:
        """Return the set of the range around an address; -1 where there is none."""
        high, low = number >> 64, number & _U64
        from_here = bisect_left(self._starts_high, high)
        to_here = bisect_right(self._starts_high, high, from_here)
        place = bisect_right(self._starts_low, low, from_here, to_here) - 1
        if place < 0 or (self._ends_high[place], self._ends_low[place]) < (high, low):
            return -1
        return self._sets[place]


class SetTable:
    """Reads what holds in a range.

    Args:
        data: the section, untrusted.
        count: how many sets it holds.

    Raises:
        ContentDamaged: the count does not fit the size.
    """

    __slots__ = ("_entries", "_offsets")

    def __init__(self, data: memoryview, count: int) -> None:
        offsets_size = 4 * (count + 1)
        entries_at = offsets_size + -offsets_size % 8
        if len(data) < entries_at:
            raise ContentDamaged("the sets of the index have an impossible size")
        self._offsets = data[:offsets_size].cast("I")
        self._entries = data[entries_at:]

    def get(self, number: int, port: int | None = None) -> list[Entry]:
        """Return the entries of a set.

        Args:
            number: the set.
            port: the port seen, for those that hold there and at most `ROWS_MAX`; 0 where none was
                seen, which only entries for any port allow; None for all.

        Raises:
            ContentDamaged: there is no such set, or it lies outside the section.
        """
        if number + 1 >= len(self._offsets):
            raise ContentDamaged("a range names a set that does not exist")
        start, end = self._offsets[number], self._offsets[number + 1]
        if not start <= end <= len(self._entries) // _ENTRY.size:
            raise ContentDamaged("a set lies outside the index")
        view = self._entries[start * _ENTRY.size : end * _ENTRY.size]
        if port is None:
            return list(_ENTRY.iter_unpack(view))
        found = [entry for entry in _ENTRY.iter_unpack(view) if entry[1] in {0, port}]
        return found[:ROWS_MAX]
