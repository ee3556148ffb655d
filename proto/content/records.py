"""Where indicators come from, once for all that share it: feed, family, confidence, times.

Times are kept so that many indicators share a record: first seen as the day it lies in, expiry as
the end of its hour. Full context stays at the collector.

Records: 28 bytes each. Strings: offsets u32 x (n + 1), then UTF-8; string 0 is the empty one.
"""

import struct
from array import array
from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct

from proto.content.errors import ContentDamaged, ContentTooLarge
from proto.content.kinds import IndicatorKind
from proto.model import Label, Tlp

NS_PER_HOUR: Final = 3_600 * 10**9
_HOURS_PER_DAY: Final = 24
_HOURS_MAX: Final = 2**32 - 1
_STRINGS_BYTES_MAX: Final = 2**32 - 1
_RECORDS_MAX: Final = 2**32 - 1
_CACHED_MAX: Final = 4096
_LABEL_BYTES_MAX: Final = 4 * 256

# feed, family, attack, warning, first seen (hours), expires (hours), confidence, tlp
_RECORD: Final = struct.Struct("<IIIIIIBBxx")
_TLPS: Final = tuple(Tlp)


class Provenance(Struct, frozen=True, gc=False):
    """What is known of an indicator beyond its value; times in nanoseconds UTC.

    ``attack`` names ATT&CK techniques, separated by spaces. ``warning`` names the list of harmless
    values that holds the indicator too.
    """

    feed: Label
    family: Label = ""
    confidence: Annotated[int, Meta(ge=0, le=100)] = 0
    tlp: Tlp = Tlp.UNSPECIFIED
    first_seen: int | None = None
    expires: int | None = None
    attack: Label = ""
    warning: Label = ""


class IndicatorRow(Struct, frozen=True, gc=False):
    """An indicator: a value in its one spelling, and where it comes from."""

    kind: IndicatorKind
    value: str
    provenance: Provenance


class RecordPool:
    """Gives each different provenance an id, and packs them."""

    def __init__(self) -> None:
        self._ids: dict[Provenance, int] = {}
        self._packed: dict[bytes, int] = {}
        self._strings: dict[str, int] = {"": 0}

    def id_of(self, provenance: Provenance) -> int:
        """Return the record id of a provenance, the same for all that are kept alike."""
        found = self._ids.get(provenance)
        if found is None:
            packed = self._pack(provenance)
            found = self._packed.setdefault(packed, len(self._packed))
            self._ids[provenance] = found
        return found

    def pack_records(self) -> tuple[bytes, int]:
        """Return the records section and how many it holds.

        Raises:
            ContentTooLarge: more records than ids.
        """
        if len(self._packed) > _RECORDS_MAX:
            raise ContentTooLarge("too many different records")
        return b"".join(self._packed), len(self._packed)

    def pack_strings(self) -> tuple[bytes, int]:
        """Return the strings section and how many it holds.

        Raises:
            ContentTooLarge: more bytes than offsets reach.
        """
        parts = [text.encode("utf-8", "replace") for text in self._strings]
        offsets, total = array("I", [0]), 0
        for part in parts:
            total += len(part)
            if total > _STRINGS_BYTES_MAX:
                raise ContentTooLarge("too much text in records")
            offsets.append(total)
        return offsets.tobytes() + b"".join(parts), len(parts)

    def _pack(self, provenance: Provenance) -> bytes:
        texts = (provenance.feed, provenance.family, provenance.attack, provenance.warning)
        numbers = [self._strings.setdefault(text, len(self._strings)) for text in texts]
        return _RECORD.pack(
            *numbers,
            _day(provenance.first_seen),
            _hour_end(provenance.expires),
            provenance.confidence,
            _TLPS.index(provenance.tlp),
        )


class RecordTable:
    """Reads provenances by id; the few that hits ask for again and again are kept.

    Args:
        records: the records section, untrusted.
        strings: the strings section, untrusted.
        string_count: how many strings it holds.

    Raises:
        ContentDamaged: the numbers do not fit the sizes of the sections.
    """

    __slots__ = ("_cache", "_count", "_offsets", "_records", "_text")

    def __init__(self, records: memoryview, strings: memoryview, string_count: int) -> None:
        offsets_size = 4 * (string_count + 1)
        if len(records) % _RECORD.size or len(strings) < offsets_size:
            raise ContentDamaged("the records have an impossible size")
        self._records = records
        self._count = len(records) // _RECORD.size
        self._offsets = strings[:offsets_size].cast("I")
        self._text = strings[offsets_size:]
        self._cache: dict[int, Provenance] = {}

    def __len__(self) -> int:
        return self._count

    def get(self, number: int) -> Provenance:
        """Return the provenance with an id.

        Raises:
            ContentDamaged: there is no such record, or it names a string that does not exist.
        """
        found = self._cache.get(number)
        if found is None:
            found = self._read(number)
            if len(self._cache) >= _CACHED_MAX:
                self._cache.clear()
            self._cache[number] = found
        return found

    def _read(self, number: int) -> Provenance:
        if number >= self._count:
            raise ContentDamaged("an indicator names a record that does not exist")
        *texts, first_seen, expires, confidence, tlp = _RECORD.unpack_from(
            self._records, number * _RECORD.size
        )
        if confidence > 100 or tlp >= len(_TLPS):
            raise ContentDamaged("a record holds an impossible value")
        feed, family, attack, warning = self._strings(texts)
        return Provenance(
            feed=feed,
            family=family,
            confidence=confidence,
            tlp=_TLPS[tlp],
            first_seen=first_seen * NS_PER_HOUR or None,
            expires=expires * NS_PER_HOUR or None,
            attack=attack,
            warning=warning,
        )

    def _strings(self, numbers: Sequence[int]) -> list[str]:
        texts = []
        for number in numbers:
            if number + 1 >= len(self._offsets):
                raise ContentDamaged("a record names a string that does not exist")
            start, end = self._offsets[number], self._offsets[number + 1]
            if not start <= end <= len(self._text) or end - start > _LABEL_BYTES_MAX:
                raise ContentDamaged("a string lies outside the index")
            try:
                texts.append(str(self._text[start:end], "utf-8"))
            except UnicodeDecodeError as error:
                raise ContentDamaged("a string of the index is not UTF-8") from error
        return texts


def _day(time: int | None) -> int:
    if time is None:
        return 0
    hours = time // NS_PER_HOUR
    return min(max(0, hours - hours % _HOURS_PER_DAY), _HOURS_MAX)


def _hour_end(time: int | None) -> int:
    """Hours, rounded up and at least one: zero would mean that it never expires."""
    return 0 if time is None else min(max(1, -(-time // NS_PER_HOUR)), _HOURS_MAX)
